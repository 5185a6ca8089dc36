//! Whether another user may enter a mount directory: for `check`, which root runs and root may enter everything.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::open_error::Lost;
use super::resolve;

/// A user as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its first group.
    pub gid: u32,
    /// Those of its other groups.
    pub groups: Vec<u32>,
}

/// Looks into `directory` as `user`, for at most `timeout`. Only a process of root can do that; for any other the
/// result is `Failed(EPERM)`, whatever the directory.
///
/// The numbers are changed for one thread alone, which ends with the look. What root itself may not do, as on a file
/// server that squashes root, is found out as well.
pub fn accessible_by(directory: &Path, user: &User, timeout: Duration) -> Result<(), Lost> {
    let (tell, told) = sync_channel(1);
    let (directory, user) = (directory.to_owned(), user.clone());
    let look = move || {
        let result = become_user(&user).map_err(Lost::Failed).and_then(|()| {
            let root = resolve::open_root(&directory, false)?;
            resolve::probe(root.as_fd())
        });
        // Whoever asked may have given up.
        let _ = tell.send(result);
    };
    // A thread of its own, never one of a pool: it does not get its rights back.
    match thread::Builder::new().name("mount-access".into()).spawn(look) {
        Ok(_) => told.recv_timeout(timeout).unwrap_or(Err(Lost::Silent)),
        Err(error) => Err(Lost::Failed(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))),
    }
}

/// Gives this thread, and no other, the rights of `user`. The kernel takes root's capabilities with its number.
fn become_user(user: &User) -> Result<(), Errno> {
    let groups: Vec<Gid> = user.groups.iter().map(|&group| Gid::from_raw(group)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::scratch::Scratch;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_a_user_may_enter_is_found_out_without_becoming_it() {
        let scratch = Scratch::new();
        let directory = scratch.folder("mount");
        let user = |groups: &[u32]| User { uid: 65534, gid: 65534, groups: groups.to_vec() };
        if !rustix::process::geteuid().is_root() {
            assert_eq!(accessible_by(&directory, &user(&[]), LONG), Err(Lost::Failed(Errno::PERM)));
            return;
        }
        assert_eq!(accessible_by(&directory, &user(&[]), LONG), Ok(()));
        set_permissions(&directory, Permissions::from_mode(0o710)).unwrap();
        chown(&directory, None, Some(4242)).unwrap();
        assert_eq!(accessible_by(&directory, &user(&[]), LONG), Err(Lost::Failed(Errno::ACCESS)));
        assert_eq!(accessible_by(&directory, &user(&[4242]), LONG), Ok(()));
        let missing = directory.join("missing");
        assert_eq!(accessible_by(&missing, &user(&[4242]), LONG), Err(Lost::Failed(Errno::NOENT)));
        assert!(rustix::process::geteuid().is_root(), "no other thread has become anybody else");
    }
}
