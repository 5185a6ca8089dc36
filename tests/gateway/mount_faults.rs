//! Tests file servers that fail or hang while recordings are downloaded or searched.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::support::{
    Agent, Client, Fuse, Hang, Opcode, Scratch, Server, Setup, Tree, eventually, recording_bytes,
    sha256,
};

const FOLDER: &str = "1/0/20201202/503";
const QUERY: &str = "recordId=Y:/1/0/20201202/503/a.mp4";
/// The same recording on the drive that is made to fail.
const HANGING: &str = "recordId=Z:/1/0/20201202/503/a.mp4";
/// More than the buffers between server and client hold, so that a download cannot end before the
/// client reads it.
const LENGTH: usize = 24 << 20;

/// Begins a download of [`LENGTH`] bytes, and applies `change` to the path of its file once the
/// client has the response head.
fn begun(change: impl FnOnce(&Path)) -> (Server, Client, Vec<u8>) {
    let video = recording_bytes(5, LENGTH);
    let server = Setup::new()
        .recording(&format!("{FOLDER}/a.mp4"), &video)
        .start();
    let (client, head) = server.agent(503).begin(QUERY, "");
    assert_eq!(head.length(), LENGTH);
    change(
        &server
            .scratch()
            .path()
            .join(format!("mount/{FOLDER}/a.mp4")),
    );
    (server, client, video)
}

fn assert_identical(mut client: Client, video: &[u8]) {
    assert_eq!(sha256(&client.bytes(video.len())), sha256(video));
    assert_eq!(
        client.get("/health", None).status,
        200,
        "the connection stays open"
    );
}

#[test]
fn a_file_that_shrinks_cuts_the_connection_and_nothing_else() {
    let (server, mut client, video) = begun(|path| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(LENGTH as u64 - 1)
            .unwrap();
    });
    let (got, in_order) = client.rest();
    assert!(!in_order, "a close_notify would mark the reply as complete");
    assert!(got.len() < LENGTH && video.starts_with(&got));
    server.metric_becomes("downloads_cut_total", 1);
    assert!(
        server
            .log_line("downloadVideoFileEx agent=503")
            .contains("cut=\"the file shrank while it was sent\"")
    );
    let agent = server.sign_in_again(503);
    let reply = server.download(503, &agent, "Y:/1/0/20201202/503/a.mp4");
    assert_eq!(
        (reply.status, reply.body.len()),
        (200, LENGTH - 1),
        "the next download sends the file as it is now"
    );
}

#[test]
fn a_file_that_is_overwritten_in_place_is_never_a_complete_answer() {
    // A change after the bytes sent so far, one before them, and zeros after a truncation.
    let changes: [fn(&File); 3] = [
        |file| file.write_all_at(b"another", LENGTH as u64 - 7).unwrap(),
        |file| file.write_all_at(b"another", 0).unwrap(),
        |file| {
            file.set_len(9000).unwrap();
            file.set_len(LENGTH as u64).unwrap();
        },
    ];
    for change in changes {
        let (server, mut client, _) =
            begun(|path| change(&File::options().write(true).open(path).unwrap()));
        let (got, in_order) = client.rest();
        assert!(
            !in_order && got.len() < LENGTH,
            "a close_notify would mark the reply as complete"
        );
        // "shrank" or "was changed", as the truncated file may be read while it is short.
        assert!(
            server
                .log_line("downloadVideoFileEx agent=503")
                .contains("cut=\"the file ")
        );
        server.metric_becomes("downloads_cut_total", 1);
        server.metric_becomes("downloads", 0);
    }
}

#[test]
fn a_part_of_a_changed_file_is_no_complete_answer_either() {
    let server = Setup::new()
        .recording(&format!("{FOLDER}/a.mp4"), recording_bytes(5, 2 * LENGTH))
        .start();
    let (mut client, head) = server
        .agent(503)
        .begin(QUERY, &format!("Range: bytes=0-{}\r\n", LENGTH - 1));
    assert_eq!((head.status, head.length()), (206, LENGTH));
    let path = server
        .scratch()
        .path()
        .join(format!("mount/{FOLDER}/a.mp4"));
    // The changed bytes are outside the part, but the server only sees that the file has changed,
    // not where.
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(b"another", LENGTH as u64)
        .unwrap();
    let (got, in_order) = client.rest();
    assert!(!in_order && got.len() < LENGTH);
}

/// The kernel caches size and times of files on a file server, and some file servers return zeros
/// for bytes that no longer exist.
#[test]
fn what_the_kernel_remembers_of_a_file_is_not_taken_for_the_file() {
    let path = format!("{FOLDER}/a.mp4");
    for (size, changed) in [
        (9000, 1_600_000_001),
        (LENGTH as u64, 1_600_000_001),
        (LENGTH as u64 - 1, 1_600_000_000),
    ] {
        let tree = Tree::new()
            .file(&path, recording_bytes(5, LENGTH))
            .remembered();
        let Some(faulty) = Faulty::start(tree) else {
            return;
        };
        let (mut client, head) = faulty.agent().begin(HANGING, "");
        assert_eq!((head.status, head.length()), (200, LENGTH));
        faulty.fuse.tell(&path, size, changed);
        let (got, in_order) = client.rest();
        assert!(!in_order && got.len() < LENGTH, "{size} {changed}");
        faulty.server.metric_becomes("downloads_cut_total", 1);
        // The next download announces the size that the file server now reports.
        let (_, head) = faulty.agent().begin(HANGING, "");
        assert_eq!(head.length() as u64, size);
    }
}

#[test]
fn a_file_that_grows_is_sent_as_it_was_announced() {
    let (_server, client, video) = begun(|path| {
        File::options()
            .append(true)
            .open(path)
            .unwrap()
            .write_all(&[7; 100_000])
            .unwrap();
    });
    assert_identical(client, &video);
}

#[test]
fn a_file_that_is_replaced_is_sent_as_it_was() {
    let (server, client, video) = begun(|path| {
        fs::write(path.with_extension("new"), "another").unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    });
    assert_identical(client, &video);
    drop(server);
}

#[test]
fn a_file_that_is_deleted_is_sent_to_its_end_and_is_gone_then() {
    let (server, client, video) = begun(|path| fs::remove_file(path).unwrap());
    assert_identical(client, &video);
    let guid = server.sign_in_again(503);
    assert_eq!(
        server
            .download(503, &guid, "Y:/1/0/20201202/503/a.mp4")
            .code(),
        "108-009"
    );
}

#[test]
fn a_mount_directory_that_disappears_is_told_and_one_that_comes_back_just_works() {
    let server = Setup::new()
        .recording(&format!("{FOLDER}/a.mp4"), "video")
        .expect_log(" is lost: ")
        .start();
    let (agent, mount) = (server.agent(503), server.scratch().path().join("mount"));
    let up = format!("mount_up{{directory=\"{}\"}}", mount.display());
    server.metric_becomes(&up, 1);
    assert_eq!(
        server.client().get("/health", None).outcome(),
        (200, "0".into())
    );
    fs::rename(&mount, mount.with_extension("away")).unwrap();
    assert_eq!(
        agent.code(QUERY),
        "108-012",
        "immediately, before the watch notices it"
    );
    eventually("503 from /health", || {
        server.client().get("/health", None).outcome() == (503, "108-012".into())
    });
    assert_eq!(
        server.client().request("HEAD", "/health", None, "").status,
        503
    );
    server.metric_becomes(&up, 0);
    assert!(
        server
            .log_line(" is lost: ")
            .contains(&format!("mount {} is lost: No such file", mount.display()))
    );
    fs::rename(mount.with_extension("away"), &mount).unwrap();
    assert_eq!(
        agent.ask(QUERY, "").body,
        b"video",
        "immediately, before the watch notices it"
    );
    eventually("200 from /health", || {
        server.client().get("/health", None).outcome() == (200, "0".into())
    });
    server.metric_becomes(&up, 1);
    server.log_line(&format!("mount {} is back", mount.display()));
    let told = server
        .log()
        .iter()
        .filter(|line| line.contains("is lost") || line.contains("is back"))
        .count();
    assert_eq!(told, 2, "each change is logged once");
}

/// A server whose drive Y is a plain directory and whose drive Z is a FUSE file system.
struct Faulty {
    agent_guid: String,
    directory: PathBuf,
    // Fields are dropped in this order: with the file system gone, no thread of the server can hang
    // on it when the server is stopped.
    fuse: Fuse,
    server: Server,
    _place: Scratch,
}

impl Faulty {
    fn start(tree: Tree) -> Option<Faulty> {
        Faulty::start_with(tree, |setup| setup)
    }

    fn start_with(tree: Tree, set: impl FnOnce(Setup) -> Setup) -> Option<Faulty> {
        let place = Scratch::new();
        let directory = place.path().join("fuse");
        let fuse = tree.mount(&directory)?;
        let setup = Setup::new()
            .recording(&format!("{FOLDER}/a.mp4"), "video")
            .expect_log(" is lost: ");
        let server = set(setup.set("MOUNT_DIR.Z", directory.to_str().unwrap())).start();
        let agent_guid = server.sign_in(503);
        Some(Faulty {
            agent_guid,
            directory,
            fuse,
            server,
            _place: place,
        })
    }

    fn agent(&self) -> Agent<'_> {
        self.server.agent_with(503, &self.agent_guid)
    }

    fn metric(&self, name: &str) -> String {
        format!("{name}{{directory=\"{}\"}}", self.directory.display())
    }

    /// Begins a download from drive Z, hangs the mount, and reads until the download blocks in a
    /// read of the file. Returns the connection and the bytes read.
    fn stalled(&self) -> (Client, Vec<u8>) {
        let (mut client, head) = self.agent().begin(HANGING, "");
        assert_eq!(head.status, 200);
        self.fuse.hang(Hang::Everything);
        let (mut got, reading) = (
            Vec::new(),
            format!("cc_gateway_{}", self.metric("mount_reading_threads")),
        );
        while self.server.metric(&reading) == 0 {
            got.extend(client.bytes(16 * 1024));
        }
        (client, got)
    }

    /// Asserts that the other mount, sign-in, polls and `/metrics` still work.
    fn assert_everything_else_works(&self) {
        assert_eq!(self.agent().ask(QUERY, "").body, b"video");
        let guid = self.server.sign_in_again(102);
        assert_eq!(
            self.server
                .client()
                .get("/agentevent/102", Some(&guid))
                .code(),
            "0"
        );
        assert_eq!(self.server.client().get("/metrics", None).status, 200);
    }

    /// Requests a file on drive Z from `clients` clients at once, and returns the result codes;
    /// `meanwhile` runs while all of them wait.
    fn ask_at_once(&self, clients: usize, name: &str, meanwhile: impl FnOnce()) -> Vec<String> {
        let query = format!("recordId=Z:/{FOLDER}/{name}");
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..clients)
                .map(|_| scope.spawn(|| self.agent().code(&query)))
                .collect();
            self.server
                .metric_becomes("requests_waiting", clients as u64);
            meanwhile();
            waiting
                .into_iter()
                .map(|client| client.join().unwrap())
                .collect()
        })
    }
}

#[test]
fn a_mount_that_hangs_ends_its_requests_and_holds_up_nothing_else() {
    let video = recording_bytes(6, LENGTH);
    let Some(faulty) = Faulty::start(Tree::new().file(&format!("{FOLDER}/a.mp4"), video.clone()))
    else {
        return;
    };
    let (server, agent) = (&faulty.server, faulty.agent());
    assert_eq!(sha256(&agent.ask(HANGING, "").body), sha256(&video));
    // The running download blocks in a read, which cannot be interrupted, and is counted in
    // `mount_reading_threads`.
    let (mut running, mut got) = faulty.stalled();
    let codes = faulty.ask_at_once(20, "a.mp4", || faulty.assert_everything_else_works());
    assert_eq!(codes, vec!["108-012"; 20]);
    // Eight threads that open, one that probes and one that scans for new recordings: no more can
    // hang, however many clients ask.
    server.metric_becomes(&faulty.metric("mount_hung_threads"), 10);
    eventually("503 from /health", || {
        server.client().get("/health", None).outcome() == (503, "108-012".into())
    });
    server.log_line(&format!(
        "mount {} is lost: no answer in time",
        faulty.directory.display()
    ));
    for _ in 0..20 {
        assert_eq!(agent.code(HANGING), "108-012");
        assert_eq!(agent.code("recordId=Z:/1/0/20201202/102/a.mp4"), "108-012");
    }
    assert_eq!(
        server.metric(&format!(
            "cc_gateway_{}",
            faulty.metric("mount_hung_threads")
        )),
        10
    );
    faulty.fuse.hang(Hang::Nothing);
    got.extend(running.bytes(LENGTH - got.len()));
    assert_eq!(
        sha256(&got),
        sha256(&video),
        "the download continues once the file server answers"
    );
    server.metric_becomes(&faulty.metric("mount_hung_threads"), 0);
    server.metric_becomes(&faulty.metric("mount_reading_threads"), 0);
    eventually("200 from /health", || {
        server.client().get("/health", None).status == 200
    });
    server.log_line(&format!("mount {} is back", faulty.directory.display()));
    assert_eq!(sha256(&agent.ask(HANGING, "").body), sha256(&video));
    server.metric_becomes("downloads", 0);
}

#[test]
fn downloads_that_hang_take_no_place_from_those_of_other_mounts() {
    let tree = Tree::new().file(&format!("{FOLDER}/a.mp4"), recording_bytes(6, LENGTH));
    let Some(faulty) = Faulty::start_with(tree, |setup| setup.set("MAX_DOWNLOADS", "1")) else {
        return;
    };
    let _stalled = faulty.stalled();
    faulty.server.log_line("is lost: no answer in time");
    assert_eq!(faulty.server.metric("cc_gateway_downloads"), 1);
    faulty.assert_everything_else_works();
}

#[test]
fn a_server_whose_mount_hangs_can_be_stopped() {
    let tree = Tree::new().file(&format!("{FOLDER}/a.mp4"), recording_bytes(6, LENGTH));
    let set = |setup: Setup| {
        setup
            .set("DRAIN_TIMEOUT", "100")
            .expect_log("downloads cut: 1")
    };
    let Some(mut faulty) = Faulty::start_with(tree, set) else {
        return;
    };
    let _stalled = faulty.stalled();
    faulty.server.signal("TERM");
    faulty.server.log_line("stopped; downloads cut: 1");
    // A process cannot end while one of its threads waits in the kernel for an answer from FUSE.
    faulty.fuse.hang(Hang::Nothing);
    assert_eq!(faulty.server.wait().code(), Some(0));
}

#[test]
fn a_mount_on_which_only_opening_hangs_is_lost_when_no_thread_is_left() {
    let Some(faulty) = Faulty::start(Tree::new().file(&format!("{FOLDER}/a.mp4"), "video")) else {
        return;
    };
    let threads = faulty.server.all_threads();
    faulty.fuse.hang(Hang::Opens);
    let codes = faulty.ask_at_once(8, "a.mp4", || faulty.assert_everything_else_works());
    assert_eq!(codes, vec!["108-012"; 8]);
    faulty
        .server
        .log_line("is lost: it answers, but every thread that opens recordings there hangs");
    assert_eq!(
        faulty.server.client().get("/health", None).outcome(),
        (503, "108-012".into())
    );
    faulty.server.metric_becomes(&faulty.metric("mount_up"), 0);
    faulty
        .server
        .metric_becomes(&faulty.metric("mount_hung_threads"), 8);
    faulty.fuse.hang(Hang::Nothing);
    faulty.server.log_line(" is back");
    assert_eq!(faulty.agent().ask(HANGING, "").body, b"video");
    faulty
        .server
        .metric_becomes(&faulty.metric("mount_hung_threads"), 0);
    // Of the mount's threads, only the one that probes and the one that scans are left.
    eventually("the end of the threads that hung", || {
        faulty.server.all_threads() <= threads + 2
    });
}

#[test]
fn a_first_read_that_hangs_is_told_before_a_head_is_sent() {
    let Some(faulty) = Faulty::start(Tree::new().file(&format!("{FOLDER}/a.mp4"), "video")) else {
        return;
    };
    faulty.fuse.hang(Hang::Reads);
    assert_eq!(
        faulty.ask_at_once(1, "a.mp4", || faulty.assert_everything_else_works()),
        ["108-012"]
    );
    faulty
        .server
        .metric_becomes(&faulty.metric("mount_hung_threads"), 1);
    assert_eq!(
        faulty.server.client().get("/health", None).status,
        200,
        "a mount is not lost if one recording hangs"
    );
    faulty.fuse.hang(Hang::Nothing);
    faulty
        .server
        .metric_becomes(&faulty.metric("mount_hung_threads"), 0);
    faulty.server.metric_becomes("downloads", 0);
}

#[test]
fn a_failing_system_call_has_the_code_of_what_it_means() {
    let folder = |name: &str| format!("1/0/20201202/503/{name}");
    let tree = [
        "denied.mp4",
        "broken.mp4",
        "stale.mp4",
        "odd.mp4",
        "good.mp4",
    ]
    .iter()
    .fold(Tree::new(), |tree, name| tree.file(&folder(name), "video"))
    .file(&folder("late.mp4"), recording_bytes(7, 1 << 20))
    .file("1/0/20201203/503/a.mp4", "video")
    .failing(&folder("denied.mp4"), Opcode::Open, 0, Errno::ACCESS)
    .failing(&folder("broken.mp4"), Opcode::Read, 0, Errno::IO)
    .failing(&folder("stale.mp4"), Opcode::Lookup, 0, Errno::TIMEDOUT)
    .failing(&folder("odd.mp4"), Opcode::Open, 0, Errno::NODEV)
    .failing(&folder("late.mp4"), Opcode::Read, 300_000, Errno::IO)
    .failing("1/0/20201203", Opcode::Lookup, 0, Errno::IO);
    let set = |setup: Setup| {
        setup
            .expect_log("cannot be opened: ")
            .expect_log("a scan for new recordings failed: ")
    };
    let Some(faulty) = Faulty::start_with(tree, set) else {
        return;
    };
    let agent = faulty.agent();
    for (path, code) in [
        ("20201202/503/good.mp4", "0"),
        ("20201202/503/denied.mp4", "108-013"),
        ("20201202/503/broken.mp4", "108-013"),
        ("20201202/503/stale.mp4", "108-012"),
        ("20201202/503/odd.mp4", "108-013"),
        ("20201203/503/a.mp4", "108-012"),
        ("20201204/503/a.mp4", "108-009"),
    ] {
        assert_eq!(
            agent.code(&format!("recordId=Z:/1/0/{path}")),
            code,
            "{path}"
        );
    }
    let (mut client, head) = agent.begin("recordId=Z:/1/0/20201202/503/late.mp4", "");
    assert_eq!((head.status, head.length()), (200, 1 << 20));
    let (got, in_order) = client.rest();
    assert!(
        !in_order && got.len() < 300_000 + 65_536 && recording_bytes(7, 1 << 20).starts_with(&got)
    );
    let part = agent.ask(
        "recordId=Z:/1/0/20201202/503/late.mp4",
        "Range: bytes=300000-\r\n",
    );
    assert_eq!(
        part.code(),
        "108-013",
        "the first read of this part fails, before a head is sent"
    );
    assert_eq!(faulty.server.client().get("/health", None).status, 200);
    // The log says why: immediately for the first failure, and in few lines for all others.
    let line = faulty.server.log_line("cannot be opened: ");
    let denied = format!(
        "mount {}: \"{}\" cannot be opened: Permission denied (EACCES)",
        faulty.directory.display(),
        folder("denied.mp4")
    );
    assert!(line.contains(&denied), "{line}");
    for _ in 0..50 {
        assert_eq!(
            agent.code("recordId=Z:/1/0/20201202/503/denied.mp4"),
            "108-013"
        );
    }
    assert!(faulty.server.told("cannot be opened: ") < 10);
}

#[test]
fn closing_that_hangs_holds_no_worker() {
    let tree = Tree::new().file(&format!("{FOLDER}/a.mp4"), "video");
    let set = |setup: Setup| {
        setup
            .set("MAX_DOWNLOADS_PER_AGENT", "1")
            .set("WORKER_THREADS", "2")
    };
    let Some(faulty) = Faulty::start_with(tree, set) else {
        return;
    };
    let (server, agent) = (&faulty.server, faulty.agent());
    let descriptors = server.descriptors();
    faulty.fuse.hang(Hang::Closes);
    // Each of these opens the recording but sends no bytes of it.
    for _ in 0..8 {
        assert_eq!(agent.ask(HANGING, "Range: bytes=99-\r\n").status, 416);
        assert_eq!(agent.ask(HANGING, "If-Match: \"other\"\r\n").status, 412);
    }
    assert_eq!(
        agent.ask(HANGING, "").body,
        b"video",
        "a complete download still works"
    );
    server.metric_becomes("downloads", 0);
    faulty.assert_everything_else_works();
    server.metric_becomes(&faulty.metric("mount_hung_threads"), 2);
    assert_eq!(server.client().get("/health", None).status, 200);
    // At most 20 files of a mount are unclosed; then no further one is opened, and the mount counts
    // as lost.
    let mut asked = 17;
    eventually("108-012 because of too many unclosed files", || {
        asked += 1;
        agent.ask(HANGING, "Range: bytes=99-\r\n").outcome() == (200, "108-012".into())
    });
    assert!(asked <= 22, "{asked}");
    assert!(
        server.descriptors() <= descriptors + 20 + 8 /* connections */
    );
    server.log_line("is lost: it answers, but files opened there cannot be closed");
    faulty.assert_everything_else_works();
    faulty.fuse.hang(Hang::Nothing);
    server.log_line(" is back");
    server.metric_becomes(&faulty.metric("mount_hung_threads"), 0);
    assert_eq!(agent.ask(HANGING, "").body, b"video");
    eventually("the closing of the files", || {
        server.descriptors() <= descriptors + 2
    });
}

/// Drive Z is the one that a download without recordId searches.
fn searched(tree: Tree) -> Option<Faulty> {
    Faulty::start_with(tree, |setup| {
        let mount = setup.directory().join("mount");
        setup
            .unset("MOUNT_DIR")
            .set("MOUNT_DIR.Y", mount.to_str().unwrap())
            .set("MAPPINGDISK", "Z")
            // A scan for new recordings would hang too, and count as a third hung thread.
            .set("RECORD_SCAN_INTERVAL", "0")
            .expect_log("gave up searching for")
    })
}

#[test]
fn searches_that_hang_take_nothing_from_downloads() {
    let Some(faulty) = searched(Tree::new().file(&format!("{FOLDER}/a.mp4"), "video")) else {
        return;
    };
    let (server, agent) = (&faulty.server, faulty.agent());
    assert_eq!(agent.ask("", "").body, b"video");
    faulty.fuse.hang(Hang::Listings);
    let (outcomes, other) = std::thread::scope(|scope| {
        let searching: Vec<_> = (0..12)
            .map(|_| scope.spawn(|| agent.ask("", "").outcome()))
            .collect();
        let other = scope.spawn(|| server.agent(101).ask("", "").outcome());
        // Two searches hang, one for each agent: an agent has at most one at a time.
        server.metric_becomes(&faulty.metric("mount_hung_threads"), 2);
        (
            searching
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect::<Vec<_>>(),
            other.join().unwrap(),
        )
    });
    let count = |outcome: (u16, &str)| {
        outcomes
            .iter()
            .filter(|(status, code)| (*status, &**code) == outcome)
            .count()
    };
    assert_eq!(
        (count((503, "000-007")), count((200, "108-012"))),
        (11, 1),
        "{outcomes:?}"
    );
    assert_eq!(other, (200, "108-012".into()));
    assert_eq!(agent.ask(HANGING, "").body, b"video");
    assert_eq!(server.client().get("/health", None).status, 200);
    assert_eq!(
        server.agent(900).code(""),
        "108-012",
        "refused immediately, as both searching threads hang"
    );
    faulty.assert_everything_else_works();
    faulty.fuse.hang(Hang::Nothing);
    server.metric_becomes(&faulty.metric("mount_hung_threads"), 0);
    eventually("a successful search", || agent.ask("", "").body == b"video");
    assert_eq!(server.told("is lost"), 0);
}

#[test]
fn searches_without_end_take_neither_threads_nor_memory_from_others() {
    let tree = Tree::new()
        .file(&format!("{FOLDER}/a.mp4"), "video")
        .endless(FOLDER);
    let Some(faulty) = searched(tree) else { return };
    let (server, agent) = (&faulty.server, faulty.agent());
    assert_eq!(agent.ask(HANGING, "").body, b"video");
    let (before, mut most) = (server.memory_kib(), 0);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let searching: Vec<_> = (0..12)
            .map(|_| scope.spawn(|| agent.ask("", "").outcome()))
            .collect();
        while searching.iter().any(|thread| !thread.is_finished()) {
            assert_eq!(agent.ask(HANGING, "").body, b"video");
            assert_eq!(server.client().get("/health", None).status, 200);
            most = most.max(server.memory_kib());
        }
        searching
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    // Whether a search reaches its limit of entries or of time depends on the machine.
    assert!(outcomes.iter().all(|(status, code)| {
        ["000-007", "108-009", "108-012"].contains(&&**code) && [200, 503].contains(status)
    }));
    assert!(
        most < before + 16 * 1024,
        "a search keeps only the first name: {before} KiB, then {most}"
    );
    server.log_line("gave up searching for");
    assert_eq!(server.told("is lost"), 0);
}
