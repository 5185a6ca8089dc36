//! The commands other than serving: their output, the files they write, and what they refuse.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Scratch, Setup};

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cc-gateway"));
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    binary().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty());
    assert!(text(&help.stdout).contains("hash-password"));
    let version = run(&["--version"]);
    assert!(text(&version.stdout).starts_with("cc-gateway "));
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    let output = run(&["sevre"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("sevre") && text(&output.stderr).contains("--help"));
}

#[test]
fn hash_password_makes_a_value_that_lets_the_agent_in() {
    let mut child = binary()
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"pass word\n")
        .unwrap();
    let value = text(&child.wait_with_output().unwrap().stdout)
        .trim_end()
        .to_owned();
    assert!(value.starts_with("pbkdf2-sha256$"));
    let server = Setup::new().agents(&format!("777 = {value}\n")).start();
    let sign_in = |password: &str| {
        server
            .client()
            .put(
                "/onlineagent/777",
                None,
                &format!(r#"{{"password":"{password}"}}"#),
            )
            .code()
    };
    assert_eq!(sign_in("pass word "), "100-004");
    assert_eq!(sign_in("pass word"), "0");
}

#[test]
fn hash_password_refuses_the_empty_password() {
    let output = run(&["hash-password"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty() && !output.stderr.is_empty());
}

#[test]
fn certificate_writes_a_pair_with_a_private_key_and_never_over_one() {
    let scratch = Scratch::new();
    let directory = scratch.path().to_str().unwrap();
    let made = run(&[
        "certificate",
        "--out",
        directory,
        "--name",
        "gateway.example",
        "--name",
        "192.0.2.7",
    ]);
    assert!(made.status.success());
    assert!(
        text(&made.stdout).contains("TLS_CERTIFICATE = ")
            && text(&made.stdout).contains("gateway.example")
    );
    let mode = |name: &str| {
        fs::metadata(scratch.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    // A umask may only clear permission bits.
    assert_eq!(mode("private-key.pem") & !0o640, 0);
    assert_eq!(mode("certificate.pem") & !0o644, 0);
    let key = fs::read(scratch.path().join("private-key.pem")).unwrap();
    let again = run(&["certificate", "--out", directory]);
    assert_eq!(again.status.code(), Some(74));
    assert!(text(&again.stderr).contains("private-key.pem already exists, not overwritten"));
    assert_eq!(
        fs::read(scratch.path().join("private-key.pem")).unwrap(),
        key
    );
}

#[test]
fn the_certificate_is_valid_for_825_days_which_is_all_that_apple_takes() {
    let scratch = Scratch::new();
    assert!(
        run(&["certificate", "--out", scratch.path().to_str().unwrap()])
            .status
            .success()
    );
    let path = scratch.path().join("certificate.pem");
    let lasts = |days: u64| {
        let seconds = (days * 24 * 3600).to_string();
        let arguments = [
            "x509",
            "-noout",
            "-checkend",
            &seconds,
            "-in",
            path.to_str().unwrap(),
        ];
        Command::new("openssl")
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    // Its validity began yesterday.
    assert!(lasts(823) && !lasts(824));
}

#[test]
fn whatever_ends_hash_password_the_terminal_shows_what_is_typed_again() {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/hash-password-at-a-terminal"
    );
    let output = Command::new(script)
        .arg(env!("CARGO_BIN_EXE_cc-gateway"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn the_documented_way_from_a_java_key_store_works() {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(format!("{root}/tests/migration"))
        .args([
            env!("CARGO_BIN_EXE_cc-gateway"),
            &format!("{root}/docs/migration.md"),
        ])
        .output()
        .unwrap();
    eprintln!("{}", text(&output.stdout));
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn remarks_of_check_carry_their_priority_in_the_journal_each_once_and_quiet_has_none() {
    let setup = Setup::new()
        .set("MAXTIMES", "1")
        .set("MAXTIMEZ", "2")
        .set("OTHER", "3")
        .set("LISTEN", "[::1]:0,127.0.0.1:0");
    setup.write_files();
    let config = setup.directory().join("basic.properties");
    let key = setup.directory().join("private-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let check = |more: &[&str]| {
        let as_a_service = r#"JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$0" "$@""#;
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                as_a_service,
                env!("CARGO_BIN_EXE_cc-gateway"),
                "check",
                "--config",
            ])
            .arg(&config)
            .args(more);
        command.output().unwrap()
    };
    let output = check(&[]);
    let said = text(&output.stderr);
    for part in [
        "<4>", // the priority of a warning
        "MAXTIMES: is ignored; did you mean MAXTIME?",
        "MAXTIMEZ: is ignored; did you mean MAXTIME?",
        "TLS_PRIVATE_KEY: the private key is world-readable",
        "no password is asked of these agents, so anyone who reaches the gateway may sign in as them: 104; ",
    ] {
        assert!(
            said.lines()
                .any(|line| line.starts_with("<4>") && line.contains(part)),
            "{part}: {said}"
        );
    }
    assert!(
        said.lines()
            .any(|line| line.starts_with("<6>") && line.contains("1 key of other components")),
        "{said}"
    );
    let mut lines: Vec<_> = said.lines().collect();
    let all = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), all, "{said}");
    let quiet = check(&["--quiet"]);
    assert!(
        quiet.status.success() && quiet.stdout.is_empty() && quiet.stderr.is_empty(),
        "{}",
        text(&quiet.stderr)
    );
    fs::remove_file(&key).unwrap();
    let broken = check(&["--quiet"]);
    assert_eq!(broken.status.code(), Some(78));
    assert!(
        text(&broken.stderr).starts_with("<3>cc-gateway: ")
            && text(&broken.stderr).lines().count() == 1
    );
}

/// Runs the gateway with these arguments where /etc/passwd has the user cc-gateway with id 65534.
/// `None` where no mount namespace can be made.
fn with_service_user(scratch: &Scratch, arguments: &[&str]) -> Option<Output> {
    let mut passwd = fs::read_to_string("/etc/passwd").unwrap();
    passwd.push_str("cc-gateway:x:65534:65534::/:/usr/sbin/nologin\n");
    let passwd = scratch.file("passwd", passwd);
    let arrange = r#"mount --bind "$0" /etc/passwd && exec "$@""#;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", arrange])
        .arg(passwd)
        .arg(env!("CARGO_BIN_EXE_cc-gateway"))
        .args(arguments);
    let output = command.output().unwrap();
    (!text(&output.stderr).contains("mount: ") && !text(&output.stderr).contains("unshare: "))
        .then_some(output)
}

#[test]
fn check_by_root_says_what_the_user_of_the_service_may_not_read() {
    let setup = Setup::new();
    setup.write_files();
    let scratch = Scratch::new();
    let config = setup.directory().join("basic.properties");
    let arguments = ["check", "--config", config.to_str().unwrap()];
    let by_itself = run(&arguments);
    if !text(&by_itself.stdout).contains("root ran this check") {
        eprintln!("skipped: only root can check for another user");
        return;
    }
    let Some(output) = with_service_user(&scratch, &arguments) else {
        eprintln!("skipped: no mount namespace here");
        return;
    };
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let key = setup
        .directory()
        .join("private-key.pem")
        .display()
        .to_string();
    let told = format!(
        "{key}: is not readable for the user cc-gateway, so the service cannot start (Permission denied"
    );
    assert!(
        said.lines()
            .any(|line| line.starts_with(&told) && line.contains("chgrp cc-gateway")),
        "{said}"
    );
    assert!(
        !said.contains("basic.properties: is not readable"),
        "{said}"
    );
    assert!(
        text(&output.stdout).ends_with("files and mounts were checked as the user cc-gateway\n")
    );
}

#[test]
fn a_file_in_another_encoding_or_that_may_not_be_read_is_refused_for_that_reason() {
    let setup = Setup::new();
    setup.write_files();
    let config = setup.directory().join("basic.properties");
    let settings = fs::read_to_string(&config).unwrap();
    let units = || [0xfeff].into_iter().chain(settings.encode_utf16());
    let utf16: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
    let letters: Vec<u8> = settings
        .chars()
        .flat_map(|letter| u32::from(letter).to_be_bytes())
        .collect();
    let no_text = "is not text: it contains NUL bytes";
    for (content, reason) in [
        (utf16.clone(), "is UTF-16 text"),
        (utf16[2..].to_vec(), "is UTF-16 text"),
        (
            units().flat_map(u16::to_be_bytes).collect(),
            "is UTF-16 text",
        ),
        (letters, no_text),
        (vec![0; 4096], no_text),
    ] {
        for name in ["basic.properties", "agents.properties"] {
            let path = setup.directory().join(name);
            let good = fs::read(&path).unwrap();
            fs::write(&path, &content).unwrap();
            let output = run(&["check", "--config", config.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(78));
            let told = format!(
                "cc-gateway: {}: {reason}; save it as UTF-8 or ISO 8859-1\n",
                path.display()
            );
            assert_eq!(text(&output.stderr), told);
            fs::write(&path, good).unwrap();
        }
    }
}

#[test]
fn check_prints_the_settings_in_force_and_the_mounts() {
    let setup = Setup::new().set("MAXTIME", "90000");
    setup.write_files();
    let config = setup.directory().join("basic.properties");
    let output = run(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    for line in ["MAXTIME = 90000", "AUTHMODE = 2", "agents: 5 may sign in"] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
    assert!(printed.contains("is there"));
    assert!(
        text(&output.stderr).contains("104"),
        "the agent with the empty password must be named"
    );
}

#[test]
fn check_names_file_line_and_key_of_every_problem() {
    let setup = Setup::new()
        .set("GUIDTIMEOUT", "soon")
        .set("LISTEN", "gateway:8043")
        .agents("501 = plain\n");
    setup.write_files();
    let config = setup.directory().join("basic.properties");
    let config = config.to_str().unwrap();
    let output = run(&["check", "--config", config]);
    assert_eq!(output.status.code(), Some(78));
    let problems = text(&output.stderr);
    for key in ["GUIDTIMEOUT", "LISTEN"] {
        let line = fs::read_to_string(config)
            .unwrap()
            .lines()
            .position(|line| line.starts_with(key))
            .unwrap()
            + 1;
        assert!(
            problems.contains(&format!("{config}:{line}: {key}: ")),
            "{problems}"
        );
    }
}

#[test]
fn starting_with_a_wrong_file_says_what_to_do() {
    let missing = run(&["--config", "/nowhere/basic.properties"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(text(&missing.stderr).contains("/nowhere/basic.properties"));
    let setup = Setup::new().agents("501 = not-a-hash\n");
    setup.write_files();
    let config = setup.directory().join("basic.properties");
    let output = run(&["--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("501") && text(&output.stderr).contains("hash-password"));
    assert!(
        !text(&output.stderr).contains("not-a-hash"),
        "values of the agents file must not be shown"
    );
}

#[test]
fn no_value_of_the_agents_file_is_printed_where_it_stands_in_place_of_a_key() {
    let setup = Setup::new();
    setup.write_files();
    let agents = setup.directory().join("agents.properties");
    let config = setup.directory().join("basic.properties");
    let good = fs::read_to_string(&agents).unwrap();
    let (head, hash) = good.lines().next().unwrap().rsplit_once('$').unwrap();
    for (spoilt, line) in [
        ("hunter2 = 1001\n".to_owned(), 1),
        ("1001.hunter2 = inspector\n".to_owned(), 1),
        // A line that was wrapped when it was copied.
        (format!("{head}$\n{hash}\n"), 2),
        (format!("{}\n{}\n", head.replace('=', ""), hash), 2),
    ] {
        fs::write(&agents, spoilt).unwrap();
        for command in [&["--config"][..], &["check", "--config"]] {
            let output = binary().args(command).arg(&config).output().unwrap();
            assert_eq!(output.status.code(), Some(78));
            let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
            assert!(
                said.contains(&format!("{}:{line}: ", agents.display())),
                "{said}"
            );
            assert!(
                !said.contains("hunter2") && !said.contains(&hash[..8]),
                "{said}"
            );
        }
    }
}

#[test]
fn an_address_that_is_taken_is_unavailable() {
    let server = Setup::new().start();
    let setup = Setup::new().set("LISTEN", &server.address().to_string());
    setup.write_files();
    let config = setup.directory().join("basic.properties");
    let output = run(&["--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("LISTEN"));
}

#[test]
fn certificates_that_do_not_belong_together_stop_the_start() {
    let (one, other) = (Setup::new(), Setup::new());
    one.write_files();
    other.write_files();
    fs::copy(
        other.directory().join("private-key.pem"),
        one.directory().join("private-key.pem"),
    )
    .unwrap();
    let config = one.directory().join("basic.properties");
    for command in [&["--config"][..], &["check", "--config"]] {
        let output = binary().args(command).arg(&config).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        assert!(text(&output.stderr).contains("do not belong together"));
    }
}

#[test]
fn the_command_that_adds_an_agent_adds_nothing_when_it_fails() {
    for document in ["README.md", "packaging/man/cc-gateway.8"] {
        let text = crate::support::document(document);
        let mut lines = text
            .lines()
            .skip_while(|line| !line.contains("$(cc-gateway hash-password)"));
        let mut command = String::new();
        for line in lines.by_ref() {
            command.push_str(line);
            command.push('\n');
            if !line.ends_with("&&") {
                break;
            }
        }
        assert!(
            command.contains("/etc/cc-gateway/agents.properties"),
            "{document}: {command}"
        );
        for (hash, added) in [("exit 78", ""), ("echo pbkdf2", "1001 = pbkdf2\n")] {
            let scratch = Scratch::new();
            let agents = scratch.file("agents.properties", "");
            let command = command.replace(
                "/etc/cc-gateway/agents.properties",
                &agents.display().to_string(),
            );
            let script = format!("sudo() {{ \"$@\"; }}\ncc-gateway() {{ {hash}; }}\n{command}");
            Command::new("bash").args(["-c", &script]).status().unwrap();
            assert_eq!(
                fs::read_to_string(&agents).unwrap(),
                added,
                "{document}: {hash}"
            );
        }
    }
}

#[test]
fn the_samples_say_what_is_missing_and_work_with_a_mount_and_an_agent() {
    let scratch = Scratch::new();
    assert!(
        run(&["certificate", "--out", scratch.path().to_str().unwrap()])
            .status
            .success()
    );
    let etc = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc");
    let [settings, agents] = ["basic.properties", "agents.properties"]
        .map(|name| fs::read_to_string(etc.join(name)).unwrap());
    let config = scratch.file("basic.properties", &settings);
    scratch.file("agents.properties", &agents);
    let check = || run(&["check", "--config", config.to_str().unwrap()]);
    let start = || run(&["--config", config.to_str().unwrap()]);

    for output in [check(), start()] {
        assert_eq!(output.status.code(), Some(78));
        let said = text(&output.stderr);
        assert!(
            said.contains("basic.properties: MOUNT_DIR: is not set; name the directory"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    scratch.file(
        "basic.properties",
        settings.replace("#MOUNT_DIR = ", "MOUNT_DIR = "),
    );
    for output in [check(), start()] {
        assert_eq!(output.status.code(), Some(78));
        let said = text(&output.stderr);
        assert!(
            said.lines()
                .any(|line| line.contains("agents.properties: names no agent")),
            "{said}"
        );
        assert!(said.contains("`cc-gateway hash-password`"), "{said}");
    }
    scratch.file("agents.properties", agents.replace("#1002 = ", "1002 = "));
    let output = check();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("agents: 1 may sign in"));
}
