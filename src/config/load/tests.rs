//! Reading whole files: defaults, problems, warnings, and the lines in force.

use super::*;
use crate::config::{KEYS, MountPoint};
use crate::ops::fatal_error::Exit;
use log::Level;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::path::PathBuf;

const FILE: &str = "/etc/cc-gateway/basic.properties";
const PAIR: &str = "TLS_CERTIFICATE=c.pem\nTLS_PRIVATE_KEY=k.pem\n";

fn settings(text: &str) -> (Settings, Vec<Notice>) {
    from_text(&format!("{PAIR}{text}"), Path::new(FILE)).unwrap()
}

/// Line, key and text of each problem; the first line of `text` has number 3.
fn problems(text: &str) -> Vec<String> {
    let problems = from_text(&format!("{PAIR}{text}"), Path::new(FILE)).unwrap_err();
    problems
        .iter()
        .map(|problem| problem.to_string().replace(FILE, ""))
        .collect()
}

/// The lines in force as a file.
fn in_force(settings: &Settings) -> String {
    settings
        .lines
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect()
}

fn warnings(text: &str) -> Vec<String> {
    let warnings = settings(text)
        .1
        .into_iter()
        .filter(|notice| notice.level == Level::Warn);
    warnings
        .map(|notice| notice.to_string().replace(FILE, ""))
        .collect()
}

#[test]
fn a_file_that_sets_nothing_gives_the_defaults() {
    let (settings, notices) = settings("");
    assert_eq!(notices, []);
    assert!(
        !settings.video_download
            && !settings.support_video
            && !settings.pool_mode
            && settings.mount_check
    );
    assert_eq!(settings.auth_mode, AuthMode::Dynamic);
    assert_eq!(settings.guid_interval, Duration::from_secs(60));
    assert_eq!(settings.guid_timeout, Duration::from_secs(120));
    assert_eq!(settings.poll_wait, Some(Duration::from_secs(10)));
    assert_eq!(settings.idle_timeout, Some(Duration::from_secs(120)));
    assert_eq!(
        (settings.mapping_disk.to_string(), settings.mounts.len()),
        ("Y".to_owned(), 0)
    );
    assert_eq!(
        settings.video_suffixes,
        [
            "mp4", "m4v", "mov", "avi", "mkv", "webm", "flv", "ts", "3gp"
        ]
    );
    assert_eq!(settings.audio_suffixes, ["v3", "wav", "mp3", "vox", "au"]);
    assert_eq!(settings.record_scan_interval, Some(Duration::from_secs(2)));
    assert_eq!(settings.trusted_proxies, []);
    assert_eq!(settings.download_scope, DownloadScope::Own);
    assert_eq!((settings.agent_id_max, settings.node_index), (59_999, 0));
    assert_eq!(settings.server_name, "AgentGateway");
    assert_eq!(
        settings.agents_file,
        Path::new("/etc/cc-gateway/agents.properties")
    );
    assert_eq!(settings.tls_certificate, Path::new("/etc/cc-gateway/c.pem"));
    assert_eq!(settings.tls_private_key, Path::new("/etc/cc-gateway/k.pem"));
    assert_eq!(
        settings.listen,
        ["0.0.0.0:8043", "[::]:8043"].map(|one| one.parse::<SocketAddr>().unwrap())
    );
    assert_eq!(settings.worker_threads, 8);
    assert_eq!(
        (
            settings.max_connections,
            settings.max_connections_per_address
        ),
        (10_000, 5000)
    );
    assert_eq!(
        (settings.max_downloads, settings.max_downloads_per_agent),
        (128, 4)
    );
    assert_eq!(settings.cors_allow_origin, [""; 0]);
    assert_eq!(settings.drain_timeout, Duration::from_secs(30));
    assert_eq!(settings.log_level, LevelFilter::Info);
}

#[test]
fn the_limit_for_one_address_is_half_of_all_unless_it_is_set() {
    for (text, limits) in [
        ("MAX_CONNECTIONS=1", (1, 1)),
        ("MAX_CONNECTIONS=16384", (16_384, 8192)),
        ("MAX_CONNECTIONS_PER_ADDRESS=128", (10_000, 128)),
        (
            "MAX_CONNECTIONS_PER_ADDRESS=16384\nMAX_CONNECTIONS=7",
            (7, 16_384),
        ),
    ] {
        let (settings, _) = settings(text);
        assert_eq!(
            (
                settings.max_connections,
                settings.max_connections_per_address
            ),
            limits,
            "{text}"
        );
        let shown = settings
            .lines
            .iter()
            .find(|(key, _)| key == "MAX_CONNECTIONS_PER_ADDRESS")
            .unwrap();
        assert_eq!(shown.1, limits.1.to_string());
    }
    assert_eq!(
        problems("MAX_CONNECTIONS_PER_ADDRESS="),
        [
            ":3: MAX_CONNECTIONS_PER_ADDRESS: is empty; write a value or remove the line (the default is half of \
          MAX_CONNECTIONS)"
        ]
    );
}

#[test]
fn a_switched_off_time_is_no_time() {
    let (settings, _) = settings(
        "AGENT_POLL_WAIT_FLAG = off\nTIMEOUT_FLAG = Off\nAGENT_POLL_WAIT_TIMES = 600000\nRECORD_SCAN_INTERVAL=0",
    );
    let times = (
        settings.poll_wait,
        settings.idle_timeout,
        settings.record_scan_interval,
    );
    assert_eq!(times, (None, None, None));
}

#[test]
fn the_short_times_of_tests_are_in_order() {
    let text = "GUIDINTERVAL=50\nGUIDTIMEOUT=200\nAGENT_POLL_WAIT_INTERVAL=1\nAGENT_POLL_WAIT_TIMES=0\nMAXTIME=1\n\
        LISTEN=127.0.0.1:0\nDRAIN_TIMEOUT=0\nMAX_CONNECTIONS=1\nMAX_CONNECTIONS_PER_ADDRESS=2";
    let (settings, notices) = settings(text);
    assert_eq!(
        (settings.poll_wait, notices),
        (Some(Duration::ZERO), Vec::new())
    );
}

#[test]
fn blanks_around_a_value_do_not_matter_and_relative_files_start_at_the_folder() {
    let (settings, _) =
        settings("AGENTS_FILE = ../agents \t\nCTI_POOL_MODE = on\t \nTLS_PRIVATE_KEY=/k.pem");
    assert_eq!(settings.agents_file, Path::new("/etc/cc-gateway/../agents"));
    assert_eq!(settings.tls_private_key, Path::new("/k.pem"));
    assert!(settings.pool_mode);
}

#[test]
fn all_problems_are_told_in_the_order_of_the_file() {
    let text =
        "LISTEN = localhost:8043\nGUIDINTERVAL = abc\nX = \\u12\nAUTHMODE =\nMOUNT_DIR.1.YY = /a";
    assert_eq!(
        problems(text),
        [
            ":3: LISTEN: \"localhost:8043\" is not an address with a port; write for example 0.0.0.0:8043,[::]:8043 \
            (the default is 0.0.0.0:8043,[::]:8043)",
            ":4: GUIDINTERVAL: \"abc\" is not a number of milliseconds; write one from 1 to 86400000 (the default is 60000)",
            ":5: \\u is not followed by four hexadecimal digits; write for example \\u00e9, or two backslashes where one \
            is meant",
            ":6: AUTHMODE: is empty; write a value or remove the line (the default is 2)",
            ":7: MOUNT_DIR.1.YY: \"YY\" is not a drive letter; write one letter, for example Y",
        ]
    );
}

#[test]
fn a_missing_certificate_is_told_with_the_command_that_makes_one() {
    let problems =
        from_text("TLS_CERTIFCATE = c.pem\nTLS_PRIVATE_KEY =", Path::new(FILE)).unwrap_err();
    let text: Vec<_> = problems
        .iter()
        .map(|problem| problem.text.as_str())
        .collect();
    assert!(
        text.iter()
            .any(|text| text.contains("`cc-gateway certificate --out DIR`")),
        "{text:?}"
    );
    assert!(
        text.contains(&"is not set; is it the key of line 1?"),
        "{text:?}"
    );
    assert_eq!(
        problems
            .iter()
            .map(|problem| problem.line)
            .collect::<Vec<_>>(),
        [Some(2), None]
    );
}

#[test]
fn keys_that_contradict_each_other_are_a_problem() {
    for (text, told) in [
        (
            "GUIDINTERVAL=120000",
            ":3: GUIDINTERVAL: a Guid must be renewed before it expires",
        ),
        (
            "GUIDTIMEOUT=60000",
            ":3: GUIDTIMEOUT: a Guid must be renewed before it expires",
        ),
        (
            "AGENT_POLL_WAIT_TIMES=6001",
            ":3: AGENT_POLL_WAIT_TIMES: a poll waits 600100 ms",
        ),
        (
            "MOUNT_DIR=/a\nMOUNT_DIR.y=/b",
            ":4: MOUNT_DIR.y: stands for MOUNT_DIR.Y, and so does another key",
        ),
        (
            "MOUNT_DIR.7=/a\nMOUNT_DIR.07.Y=/b",
            ":4: MOUNT_DIR.07.Y: stands for MOUNT_DIR.7.Y, and so does",
        ),
    ] {
        let problems = problems(text);
        assert!(
            problems.len() == 1 && problems.iter().all(|problem| problem.starts_with(told)),
            "{problems:?}"
        );
    }
}

#[test]
fn a_refused_value_is_not_blamed_twice() {
    for text in [
        "GUIDTIMEOUT=x",
        "AGENT_POLL_WAIT_TIMES=x",
        "MAPPINGDISK=\nMOUNT_DIR=/a\nMOUNT_DIR.Y=/b",
    ] {
        assert_eq!(problems(text).len(), 1, "{text}");
    }
}

#[test]
fn videos_that_are_nowhere_are_a_problem() {
    let on = "VIDEO_DOWNLOAD_FLAG=ON\nIF_SUPPORT_VIDEO=ON\n";
    for (text, told) in [
        (
            "",
            ": MOUNT_DIR: is not set; name the directory where the recordings are mounted",
        ),
        (
            "MOUNT_DIR=",
            ":5: MOUNT_DIR: is not set; name the directory where the recordings are mounted",
        ),
        (
            "MOUNTDIR=/a",
            ": MOUNT_DIR: is not set; is it the key of line 5?",
        ),
        (
            "MOUNT_DIR.7=/a",
            ": MOUNT_DIR: names no directory without a locationId; add MOUNT_DIR = DIRECTORY",
        ),
        (
            "MOUNT_DIR=/a\nCTI_POOL_MODE=ON",
            ":5: MOUNT_DIR: CTI_POOL_MODE is ON, but no node has a directory",
        ),
        ("MOUNT_DIR=a", ":5: MOUNT_DIR: \"a\" "),
        ("MOUNT_DIR.7.Y=/a\nMAPPINGDISK=7", ":6: MAPPINGDISK: "),
    ] {
        let problems = problems(&format!("{on}{text}"));
        assert!(
            problems.len() == 1 && problems.iter().all(|problem| problem.starts_with(told)),
            "{problems:?}"
        );
    }
}

#[test]
fn what_is_probably_a_mistake_is_a_warning() {
    let mounts = "MOUNT_DIR=/a\nMOUNT_DIR.7=/b\n";
    for (text, told) in [
        (
            "GUIDINTREVAL=1",
            ":3: GUIDINTREVAL: is ignored; did you mean GUIDINTERVAL?",
        ),
        (
            "MAXTIME=1\nMAXTIME=20000",
            ":3: MAXTIME: is repeated in line 4, which is in force; remove one",
        ),
        (
            "AGENT_POLL_WAIT_TIMES=120",
            ":3: AGENT_POLL_WAIT_TIMES: a poll waits 12000 ms",
        ),
        (
            "MAXTIME=10000",
            ": AGENT_POLL_WAIT_TIMES: a poll waits 10000 ms (times AGENT_POLL_WAIT_INTERVAL), not less",
        ),
        (
            "IF_SUPPORT_VIDEO=ON",
            ":3: IF_SUPPORT_VIDEO: is ON, but no video can be downloaded until VIDEO_DOWNLOAD",
        ),
        (
            "TRUSTED_PROXIES=10.0.0.1,::/0",
            ":3: TRUSTED_PROXIES: trusts every client to name any address as its own",
        ),
        (
            "VIDEO_DOWNLOAD_FLAG=ON",
            ":3: VIDEO_DOWNLOAD_FLAG: is ON, but no video can be downloaded until IF_SUPP",
        ),
        (
            mounts,
            ":4: MOUNT_DIR.7: names a locationId, so it has no effect while CTI_POOL_MODE is OFF",
        ),
        (
            &format!("{mounts}CTI_POOL_MODE=ON"),
            ":3: MOUNT_DIR: names no locationId, so it has no effect while CTI_P",
        ),
    ] {
        let warnings = warnings(text);
        assert!(
            warnings.len() == 1 && warnings.iter().all(|warning| warning.starts_with(told)),
            "{warnings:?}"
        );
    }
}

#[test]
fn keys_of_other_components_are_counted_once_each() {
    for (text, told) in [
        (
            "RECORD_AUDIOENCODING=V3",
            "1 key of other components is ignored",
        ),
        ("A=1\nB=2\nA=3", "2 keys of other components are ignored"),
    ] {
        let notices = settings(text).1;
        let told_so = |notice: &Notice| notice.text == told && notice.level == Level::Info;
        assert!(
            notices.len() == 1 && notices.iter().all(told_so),
            "{notices:?}"
        );
    }
}

#[test]
fn mounts_are_found_under_location_and_drive() {
    let (settings, _) =
        settings("MAPPINGDISK=x\nMOUNT_DIR=/a/\nMOUNT_DIR.X=/a\nMOUNT_DIR.256.z=/b\nMOUNT_DIR.Q=");
    let point = |location, letter| MountPoint {
        location,
        drive: Drive::new(letter).unwrap(),
    };
    let mounts = [
        (point(None, 'X'), PathBuf::from("/a")),
        (point(Some(256), 'Z'), PathBuf::from("/b")),
    ];
    assert_eq!(settings.mounts, mounts.into());
}

#[test]
fn the_lines_in_force_follow_the_table_and_mean_the_same_when_read_again() {
    let text = "MOUNT_DIR.256=/a b\nMOUNT_DIR=/a\\\\b\nLOG_LEVEL=DEBUG\nTRUSTED_PROXIES=::ffff:10.0.0.0/104,fd00::/8\nMAX_CONNECTIONS=9\nCORS_ALLOW_ORIGIN=https://A.example:443\nMAXTIME=7";
    for text in ["", text] {
        let (first, _) = settings(text);
        let stems = first
            .lines
            .iter()
            .map(|(key, _)| key.split('.').next().unwrap());
        let mut names: Vec<_> = stems.collect();
        names.dedup();
        assert_eq!(
            names,
            KEYS.iter()
                .map(|key| key.name)
                .filter(|name| !name.contains('.'))
                .collect::<Vec<_>>()
        );
        assert_eq!(
            from_text(&in_force(&first), Path::new("/elsewhere/basic.properties"))
                .unwrap()
                .0,
            first
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_of_its_own_kind() {
    let folder = std::env::temp_dir();
    for (path, exit) in [
        (folder.join("no/such/basic.properties"), Exit::Config),
        (folder, Exit::Config),
    ] {
        assert_eq!(
            read(&path)
                .unwrap_err()
                .iter()
                .map(|problem| problem.exit)
                .collect::<Vec<_>>(),
            [exit]
        );
    }
}

proptest! {
    #[test]
    fn any_values_are_refused_or_mean_the_same_when_read_again(
        pairs in prop::collection::vec((0..KEYS.len(), "(?s)/?[ -~\\n\u{e9}]{0,12}"), 0..4),
    ) {
        let text: String = pairs.iter().map(|(key, value)| format!("{}={value}\n", KEYS[*key].name)).collect();
        match from_text(&format!("{PAIR}{text}"), Path::new(FILE)) {
            Ok((settings, _)) => prop_assert_eq!(&from_text(&in_force(&settings), Path::new(FILE)).unwrap().0, &settings),
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}

#[test]
fn a_file_of_a_mebibyte_is_read_and_a_larger_one_is_another_by_mistake() {
    let path = std::env::temp_dir().join(format!("cc-gateway-unit-{}-load", std::process::id()));
    for (size, fits) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        let mut text = PAIR.to_owned();
        text.extend(std::iter::repeat_n('#', size - PAIR.len()));
        std::fs::write(&path, &text).unwrap();
        let outcome = read(&path);
        match fits {
            true => assert_eq!(outcome, from_text(&text, &path)),
            false => assert!(outcome.unwrap_err()[0].to_string().contains("larger")),
        }
    }
    std::fs::remove_file(&path).unwrap();
}
