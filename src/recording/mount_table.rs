//! The kernel's mount table (proc(5), `mountinfo`). Reading it neither contacts a file server nor
//! triggers an automount.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const TABLE: &str = "/proc/self/mountinfo";

/// An entry of the mount table.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    point: PathBuf,
    kind: String,
}

/// The mount point of the directory's file system, unless that is `/` or unknown.
pub(super) fn mount_above(directory: &Path) -> Option<PathBuf> {
    let directory = directory.canonicalize().ok()?;
    let table = std::fs::read(TABLE).ok()?;
    let above = covering(&parse(&table), &directory)?.point.clone();
    (above != Path::new("/")).then_some(above)
}

/// Whether the directory is an automount, which any access mounts or keeps mounted.
///
/// Links in the path are not resolved, as that could trigger the mount.
pub(super) fn is_automount(directory: &Path) -> bool {
    let Ok(table) = std::fs::read(TABLE) else {
        return false;
    };
    is_automounted(&parse(&table), directory)
}

fn is_automounted(table: &[Entry], directory: &Path) -> bool {
    // In a direct map the automount is the directory itself, in an indirect one a folder above. A
    // permanent mount further down hides it.
    let Some(covering) = covering(table, directory) else {
        return false;
    };
    covering.kind == "autofs"
        || table.iter().any(|entry| {
            entry.kind == "autofs"
                && (entry.point == covering.point || covering.point.parent() == Some(&entry.point))
        })
}

/// The file system visible at `path`: the deepest mount, and of several at one point the last.
fn covering<'a>(table: &'a [Entry], path: &Path) -> Option<&'a Entry> {
    table
        .iter()
        .filter(|entry| path.starts_with(&entry.point))
        .max_by_key(|entry| entry.point.components().count())
}

fn parse(table: &[u8]) -> Vec<Entry> {
    table
        .split(|&byte| byte == b'\n')
        .filter_map(entry)
        .collect()
}

/// `id parent major:minor root point options [optional]... - kind source options`.
fn entry(line: &[u8]) -> Option<Entry> {
    let mut words = line.split(|&byte| byte == b' ');
    let point = PathBuf::from(OsString::from_vec(unescape(words.nth(4)?)));
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    Some(Entry {
        point,
        kind: String::from_utf8_lossy(kind).into_owned(),
    })
}

/// Blanks, line ends and backslashes are escaped as `\` and three octal digits.
fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let [first, rest @ ..] = text {
        match (first, rest) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                text = after;
            }
            _ => {
                plain.push(*first);
                text = rest;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
26 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 26 0:31 / /proc rw - proc proc rw
40 26 0:40 / /srv/video rw,relatime shared:9 - nfs4 server:/video rw
41 26 0:41 / /mnt/a\\040b rw - cifs //server/share rw
42 26 0:42 / /auto/direct rw shared:3 master:4 - autofs systemd-1 rw,direct
43 42 0:43 / /auto/direct rw - nfs4 server:/video rw
44 26 0:44 / /auto/idle rw - autofs systemd-1 rw,direct
45 26 0:45 / /misc rw - autofs /etc/auto.misc rw,indirect
46 45 0:46 / /misc/up rw - nfs server:/up rw
47 46 0:47 / /misc/up/fixed rw - tmpfs tmpfs rw
not a line
";

    #[test]
    fn the_mount_that_shows_at_a_path_is_found() {
        let table = parse(LINES.as_bytes());
        for (path, point, kind) in [
            ("/srv", "/", "ext4"),
            ("/srv/video", "/srv/video", "nfs4"),
            ("/srv/video/1/0", "/srv/video", "nfs4"),
            ("/srv/videos", "/", "ext4"),
            ("/mnt/a b/x", "/mnt/a b", "cifs"),
            ("/auto/direct/x", "/auto/direct", "nfs4"),
        ] {
            let entry = covering(&table, Path::new(path)).unwrap();
            assert_eq!(
                (entry.point.to_str().unwrap(), entry.kind.as_str()),
                (point, kind),
                "{path}"
            );
        }
    }

    #[test]
    fn a_directory_mounted_on_demand_is_known_whether_or_not_it_is_mounted_now() {
        let table = parse(LINES.as_bytes());
        for (path, automounted) in [
            ("/auto/direct", true),
            ("/auto/direct/video", true),
            ("/auto/idle", true),
            ("/misc/up", true),
            ("/misc/down/video", true),
            ("/misc/up/fixed", false),
            ("/srv/video", false),
            ("/", false),
        ] {
            assert_eq!(
                is_automounted(&table, Path::new(path)),
                automounted,
                "{path}"
            );
        }
    }

    #[test]
    fn the_table_of_this_machine_is_read() {
        assert_eq!(mount_above(Path::new("/proc/self")), Some("/proc".into()));
        assert_eq!(mount_above(Path::new("/")), None);
        assert!(!is_automount(Path::new("/proc/self")));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for text in [
            "",
            "\\",
            "\\04",
            "\\777",
            "a b c d e",
            "1 2 3 4 /x - ",
            "1 2 3 4 /x -",
        ] {
            let _ = parse(text.as_bytes());
        }
        assert_eq!(unescape(b"\\777\\134\\0"), b"\\777\\\\0");
        assert_eq!(unescape(b"\\000\\101\\127\\377"), b"\0AW\xff");
    }
}
