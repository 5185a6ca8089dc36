use super::*;
use crate::ops::sync::Latch;
use crate::recording::Selection;
use crate::recording::rel_path::Segment;
use crate::recording::scratch::{Scratch, eventually};
use rustix::io::Errno;
use std::sync::mpsc::{Receiver, sync_channel};

const LONG: Duration = Duration::from_secs(60);
/// Long enough for a thread to begin its work on a busy machine.
const SHORT: Duration = Duration::from_secs(1);

fn path(folder: &str, file: &str) -> OpenRequest {
    let folders = folder
        .split('/')
        .map(|name| Segment::parse(name).unwrap())
        .collect();
    let path = RelPath::new(folders, Segment::parse(file).unwrap());
    OpenRequest {
        target: Target::Path(path),
        conditions: Conditions::default(),
    }
}

fn latest(agent: u32) -> OpenRequest {
    let target = Target::Latest {
        agent,
        suffixes: vec!["mp4".to_owned()],
    };
    OpenRequest {
        target,
        conditions: Conditions::default(),
    }
}

fn begin(mount: &Arc<Mount>, request: OpenRequest) -> Receiver<Result<Video, OpenError>> {
    let (tell, told) = sync_channel(1);
    mount.open(request, move |result| tell.send(result).unwrap());
    told
}

fn open(mount: &Arc<Mount>, request: OpenRequest) -> Result<Video, OpenError> {
    begin(mount, request).recv_timeout(LONG).unwrap()
}

fn probe(mount: &Arc<Mount>) -> Result<(), MountError> {
    let (tell, told) = sync_channel(1);
    mount.probe(move |result| tell.send(result).unwrap());
    told.recv_timeout(LONG).unwrap()
}

/// Makes the threads of a pool hang past a short deadline, until the latch is raised.
fn hang(pool: &ThreadPool, threads: usize) -> Arc<Latch> {
    let release = Arc::new(Latch::default());
    for _ in 0..threads {
        let (release, begun) = (Arc::clone(&release), Arc::new(Latch::default()));
        let running = Arc::clone(&begun);
        let job = move || {
            running.set();
            release.wait_until(Instant::now() + LONG);
        };
        pool.execute_within(Instant::now() + LONG, SHORT, Box::new(job));
        assert!(begun.wait_until(Instant::now() + LONG));
    }
    eventually(|| pool.overdue() == threads);
    release
}

/// A job that waits until the latch is raised, with no deadline of its own.
fn occupy(release: Arc<Latch>) -> Box<dyn FnOnce() + Send> {
    Box::new(move || {
        release.wait_until(Instant::now() + LONG);
    })
}

const TIMED_OUT: OpenError = OpenError::Unavailable(MountError::TimedOut);

#[test]
fn a_recording_is_opened_by_its_path_or_as_the_agents_latest() {
    let scratch = Scratch::new();
    scratch.file("1/0/20201202/503/1714442.mp4", b"0123456789");
    let mount = Mount::new(scratch.path().to_owned(), false);
    let conditions = Conditions {
        range: Some("bytes=2-4".to_owned()),
        ..Conditions::default()
    };
    let mut video = open(
        &mount,
        OpenRequest {
            conditions,
            ..path("1/0/20201202/503", "1714442.mp4")
        },
    )
    .unwrap();
    assert_eq!(
        (video.name(), video.length(), video.selected()),
        ("1714442.mp4", 10, 3)
    );
    assert_eq!(video.path().to_string(), "1/0/20201202/503/1714442.mp4");
    let selection = video.selection();
    assert!(matches!(selection, Selection::Part(range) if (range.start(), range.last()) == (2, 4)));
    let mut buffer = [0; 8];
    assert_eq!(video.next_chunk(&mut buffer).unwrap(), 3);
    assert_eq!(&buffer[..3], b"234");
    assert_eq!(open(&mount, latest(503)).unwrap().name(), "1714442.mp4");
    assert_eq!(open(&mount, latest(504)).unwrap_err(), OpenError::NotFound);
}

#[test]
fn a_directory_that_disappears_and_comes_back_just_works() {
    let scratch = Scratch::new();
    scratch.file("mount/1/a.mp4", b"first");
    let mount = Mount::new(scratch.path().join("mount"), false);
    assert_eq!(probe(&mount), Ok(()));
    std::fs::rename(scratch.path().join("mount"), scratch.path().join("away")).unwrap();
    let lost = MountError::Failed(Errno::NOENT);
    assert_eq!(
        open(&mount, path("1", "a.mp4")).unwrap_err(),
        OpenError::Unavailable(lost.clone())
    );
    assert_eq!(probe(&mount), Err(lost));
    scratch.file("mount/1/a.mp4", b"second");
    assert_eq!(open(&mount, path("1", "a.mp4")).unwrap().length(), 6);
    let checked = Mount::new(scratch.path().join("mount"), true);
    let is_not_mounted = |lost: &MountError| matches!(lost, MountError::NotMounted(_));
    let refused = open(&checked, path("1", "a.mp4")).unwrap_err();
    assert!(matches!(refused, OpenError::Unavailable(lost) if is_not_mounted(&lost)));
    assert!(probe(&checked).is_err_and(|lost| is_not_mounted(&lost)));
}

#[test]
fn a_mount_that_hangs_refuses_at_once_and_holds_up_nothing_else() {
    let scratch = Scratch::new();
    scratch.file("1/a.mp4", b"video");
    let mount = Mount::with_timeout(scratch.path().to_owned(), false, SHORT);
    let other = Mount::new(scratch.path().to_owned(), false);
    let release = hang(&mount.openers, OPENING_THREADS);
    assert_eq!(open(&other, path("1", "a.mp4")).unwrap().length(), 5);
    assert_eq!(
        (mount.hung(), mount.openers.threads()),
        (OPENING_THREADS, OPENING_THREADS)
    );
    assert_eq!(
        (mount.status(), other.status()),
        (MountStatus::Lost, MountStatus::Unknown)
    );
    let refused = begin(&mount, path("1", "a.mp4")).try_recv().unwrap();
    assert_eq!(
        refused.unwrap_err(),
        OpenError::Unavailable(MountError::Stuck),
        "at once"
    );
    release.set();
    eventually(|| mount.hung() == 0);
    assert_eq!(open(&mount, path("1", "a.mp4")).unwrap().length(), 5);
}

#[test]
fn an_opening_that_waits_beyond_its_deadline_is_refused_and_opens_nothing() {
    let scratch = Scratch::new();
    scratch.file("1/a.mp4", b"video");
    let mount = Mount::with_timeout(scratch.path().to_owned(), false, Duration::from_millis(1));
    let release = Arc::new(Latch::default());
    for _ in 0..OPENING_THREADS {
        let release = Arc::clone(&release);
        mount.openers.execute(None, occupy(release));
    }
    let waiting = begin(&mount, path("1", "a.mp4"));
    let passed = Instant::now() + Duration::from_millis(1);
    eventually(|| Instant::now() > passed);
    release.set();
    assert_eq!(waiting.recv_timeout(LONG).unwrap().unwrap_err(), TIMED_OUT);
}

#[test]
fn while_a_probe_hangs_nothing_is_opened() {
    let scratch = Scratch::new();
    scratch.file("1/a.mp4", b"video");
    let mount = Mount::with_timeout(scratch.path().to_owned(), false, SHORT);
    let release = hang(&mount.probers, 1);
    assert_eq!(
        begin(&mount, path("1", "a.mp4"))
            .try_recv()
            .unwrap()
            .unwrap_err(),
        TIMED_OUT
    );
    assert_eq!(
        begin(&mount, latest(503)).try_recv().unwrap().unwrap_err(),
        TIMED_OUT
    );
    assert_eq!(probe(&mount), Err(MountError::TimedOut));
    assert_eq!(mount.openers.threads() + mount.searchers.threads(), 0);
    release.set();
    eventually(|| mount.hung() == 0);
    assert!(open(&mount, path("1", "a.mp4")).is_ok());
}

#[test]
fn searches_wait_for_each_other_and_for_nothing_else() {
    let scratch = Scratch::new();
    scratch.file("1/0/20201202/503/1.mp4", b"video");
    let mount = Mount::new(scratch.path().to_owned(), false);
    let release = Arc::new(Latch::default());
    for _ in 0..SEARCHING_THREADS {
        let release = Arc::clone(&release);
        mount.searchers.execute(None, occupy(release));
    }
    let waiting = begin(&mount, latest(503));
    assert_eq!(
        begin(&mount, latest(503)).try_recv().unwrap().unwrap_err(),
        OpenError::Busy,
        "a second search of one agent must be refused"
    );
    let more: Vec<_> = (1000..1200)
        .map(|agent| begin(&mount, latest(agent)))
        .collect();
    let refused = more
        .iter()
        .filter(|told| matches!(told.try_recv(), Ok(Err(OpenError::Busy))))
        .count();
    assert!(
        refused >= 200 - SEARCHING_QUEUE_LEN,
        "the queue is bounded: {refused}"
    );
    assert_eq!(
        open(&mount, path("1/0/20201202/503", "1.mp4"))
            .unwrap()
            .length(),
        5
    );
    assert_eq!(
        (mount.hung(), mount.stuck_reason(), probe(&mount)),
        (0, None, Ok(())),
        "queued searches must not count as a hung file server"
    );
    release.set();
    assert_eq!(waiting.recv_timeout(LONG).unwrap().unwrap().length(), 5);
    eventually(|| open(&mount, latest(503)).is_ok());
}

#[test]
fn a_search_that_waited_too_long_is_busy_and_no_failure_of_the_server() {
    let scratch = Scratch::new();
    let mount = Mount::new(scratch.path().to_owned(), false);
    let (tell, told) = sync_channel(1);
    let answer = Callback::new(
        move |result: Result<Video, _>| tell.send(result.map(drop)).unwrap(),
        Err(OpenError::Busy),
    );
    mount
        .searchers
        .execute_within(Instant::now(), LONG, Box::new(move || drop(answer)));
    assert_eq!(told.recv_timeout(LONG).unwrap(), Err(OpenError::Busy));
}

#[test]
fn while_a_mount_is_lost_every_failure_is_its_failure() {
    let scratch = Scratch::new();
    scratch.file("1/a.mp4", b"video");
    scratch.file("1/empty.mp4", b"");
    let mount = Mount::new(scratch.path().to_owned(), false);
    let found = |file: &str| open(&mount, path("1", file)).map(drop);
    assert_eq!(found("b.mp4"), Err(OpenError::NotFound));
    assert_eq!(
        found("empty.mp4"),
        Err(OpenError::Unreadable(Unreadable::Empty))
    );
    mount.set_status(MountStatus::Lost);
    assert_eq!(
        (found("b.mp4"), found("empty.mp4")),
        (Err(TIMED_OUT), Err(TIMED_OUT))
    );
    assert_eq!(
        found("a.mp4"),
        Ok(()),
        "the mount may work again before the watch notices"
    );
}

#[test]
fn an_automount_that_failed_is_left_alone_until_the_watch_has_tried_it() {
    let scratch = Scratch::new();
    let mount = Mount::new(scratch.path().join("mount"), false);
    mount.set_automount(true);
    let found = || open(&mount, path("1", "a.mp4")).map(drop);
    assert_eq!(
        found(),
        Err(OpenError::Unavailable(MountError::Failed(Errno::NOENT)))
    );
    scratch.file("mount/1/a.mp4", b"video");
    assert_eq!(
        (found(), probe(&mount)),
        (Err(TIMED_OUT), Err(MountError::TimedOut))
    );
    mount.set_status(MountStatus::Up);
    assert_eq!((found(), probe(&mount)), (Ok(()), Ok(())));
}

#[test]
fn a_file_opened_for_nobody_is_closed() {
    let scratch = Scratch::new();
    scratch.file("1/a.mp4", b"video");
    let mount = Mount::new(scratch.path().to_owned(), false);
    let (tell, told) = sync_channel(0);
    drop(told);
    mount.open(path("1", "a.mp4"), move |result| drop(tell.send(result)));
    // Every opened file shares the count of its mount until it is closed.
    eventually(|| Arc::strong_count(&mount.files) == 1);
    assert_eq!(mount.files.unclosed(), 0);
}

#[test]
fn the_descriptors_of_a_mount_are_those_of_all_its_threads() {
    // 20 unclosed files and 2 closing threads; 4 for each of 8 opening and 2 searching threads; 8
    // of a scan, and 2 of the probe.
    assert_eq!(DESCRIPTORS, 20 + 2 + 4 * 10 + 8 + 2);
}

#[test]
fn threads_that_hang_are_counted_whatever_they_do() {
    let scratch = Scratch::new();
    let mount = Mount::new(scratch.path().to_owned(), false);
    let pools = [
        (&mount.openers, 3),
        (&mount.searchers, 2),
        (&mount.scanners, 1),
        (&mount.probers, 1),
    ];
    let held = pools.map(|(pool, threads)| hang(pool, threads));
    assert_eq!(mount.hung(), 7);
    assert_eq!(mount.stuck_reason(), None, "other opening threads are free");
    held.iter().for_each(|release| release.set());
    eventually(|| mount.hung() == 0);
}

#[test]
fn a_search_may_wait_for_its_turn_before_its_file_server_has_to_answer() {
    let mount = Mount::with_timeout("/mnt".into(), false, Duration::from_secs(3));
    let timeout = |request: &OpenRequest| mount.open_timeout(&request.target).as_secs();
    assert_eq!(
        (timeout(&path("1", "a.mp4")), timeout(&latest(101))),
        (3, 8)
    );
    assert_eq!(mount.probe_timeout().as_secs(), 3);
}

#[test]
fn what_somebody_else_than_the_watch_asks_for_is_a_use() {
    let scratch = Scratch::new();
    let mount = Mount::new(scratch.path().to_owned(), false);
    let _ = open(&mount, path("1", "a.mp4"));
    assert_eq!((mount.uses(), probe(&mount), mount.uses()), (1, Ok(()), 2));
    let (tell, told) = sync_channel(1);
    mount.probe_uncounted(move |result| tell.send(result).unwrap());
    assert_eq!(
        (told.recv_timeout(LONG).unwrap(), mount.uses()),
        (Ok(()), 2)
    );
}

#[test]
fn a_status_is_kept_and_whether_it_was_lost_before_is_told() {
    let mount = Mount::new("/mnt".into(), false);
    assert_eq!(mount.status(), MountStatus::Unknown);
    for (status, was_lost) in [
        (MountStatus::Up, false),
        (MountStatus::Lost, false),
        (MountStatus::Lost, true),
        (MountStatus::Up, true),
        (MountStatus::Unknown, false),
    ] {
        assert_eq!(mount.set_status(status), was_lost, "{status:?}");
        assert_eq!(mount.status(), status);
        assert!(!mount.is_backing_off(), "only an automount backs off");
    }
    mount.set_automount(true);
    for status in [MountStatus::Lost, MountStatus::Up] {
        mount.set_status(status);
        assert_eq!(mount.is_backing_off(), status == MountStatus::Lost);
    }
}

#[test]
fn a_failure_that_the_operator_can_mend_is_told_unless_the_whole_mount_is_lost() {
    use crate::ops::log_capture::logged;
    let scratch = Scratch::new();
    let mount = Mount::new(scratch.path().to_owned(), false);
    let root = mount.open_root().unwrap();
    let unreadable = |errno| OpenError::Unreadable(Unreadable::Failed(errno));
    for (error, line) in [
        (OpenError::NotFound, None),
        (OpenError::Busy, None),
        (OpenError::Unreadable(Unreadable::Empty), None),
        (
            OpenError::Unreadable(Unreadable::Irregular),
            Some("\"a\" is not a regular file and cannot be downloaded"),
        ),
        (
            unreadable(Errno::ACCESS),
            Some("\"a\" cannot be opened: Permission denied (EACCES)"),
        ),
    ] {
        let lines = logged(|| {
            let classified = mount.classify(root.as_fd(), "a", error.clone());
            assert_eq!(classified, error);
        });
        let line = line.map(|line| format!("WARN mount {}: {line}", scratch.path().display()));
        assert_eq!(lines, Vec::from_iter(line));
    }
    mount.set_status(MountStatus::Lost);
    for (error, classified) in [
        (OpenError::NotFound, TIMED_OUT),
        (unreadable(Errno::ACCESS), TIMED_OUT),
        (OpenError::Busy, OpenError::Busy),
    ] {
        let lines = logged(|| assert_eq!(mount.classify(root.as_fd(), "a", error), classified));
        assert_eq!(lines, [""; 0]);
    }
}

#[test]
fn a_link_in_the_place_of_a_recording_is_told() {
    use crate::ops::log_capture::logged;
    let scratch = Scratch::new();
    scratch.file("1/a.mp4", b"video");
    scratch.link("1/b.mp4", Path::new("a.mp4"));
    let mount = Mount::new(scratch.path().to_owned(), false);
    let root = mount.open_root().unwrap();
    let open = |file: &str| {
        let OpenRequest {
            target: Target::Path(path),
            conditions,
        } = path("1", file)
        else {
            panic!("a search");
        };
        let deadline = Instant::now() + LONG;
        mount.open_at(root.as_fd(), path, &conditions, deadline)
    };
    for (file, lines) in [("a.mp4", 0), ("c.mp4", 0), ("b.mp4", 1), ("b.mp4", 0)] {
        let told = logged(|| assert_eq!(open(file).is_ok(), file == "a.mp4"));
        assert_eq!(told.len(), lines, "{file} {told:?}");
    }
}
