//! The user that the service runs as, for commands run by root.

use std::fs;
use std::io;
use std::thread;

use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The user named in the unit and created by the packages.
const NAME: &str = "cc-gateway";

/// The user `cc-gateway` of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceUser {
    user: u32,
    group: u32,
    groups: Vec<u32>,
}

impl ServiceUser {
    /// The user, if this process runs as root and the user exists.
    ///
    /// Reads /etc/passwd and /etc/group directly: a static binary has no name service.
    pub(crate) fn lookup_as_root() -> Option<ServiceUser> {
        if !geteuid().is_root() {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        let group = fs::read_to_string("/etc/group").unwrap_or_default();
        ServiceUser::find(&passwd, &group)
    }

    fn find(passwd: &str, group: &str) -> Option<ServiceUser> {
        let mut fields = passwd
            .lines()
            .find(|line| line.split(':').next() == Some(NAME))?
            .split(':')
            .skip(2);
        let (user, own) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let others = group.lines().filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let id = fields.next()?.parse().ok()?;
            fields
                .next()?
                .split(',')
                .any(|member| member.trim() == NAME)
                .then_some(id)
        });
        let groups = std::iter::once(own)
            .chain(others.filter(|id| *id != own))
            .collect();
        Some(ServiceUser {
            user,
            group: own,
            groups,
        })
    }

    /// The user's name.
    pub(crate) fn name(&self) -> &'static str {
        NAME
    }

    /// Runs `work` on a thread with the rights of this user only. Threads that it starts inherit
    /// them.
    ///
    /// # Errors
    /// When the kernel refuses the switch; `work` has not run then.
    pub(crate) fn run_as<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let groups: Vec<_> = self.groups.iter().map(|&id| Gid::from_raw(id)).collect();
        let (group, user) = (Gid::from_raw(self.group), Uid::from_raw(self.user));
        let switched = move || -> io::Result<T> {
            // Credentials are per thread on Linux. The user goes last, since only root may change
            // the groups.
            set_thread_groups(&groups)?;
            set_thread_res_gid(group, group, group)?;
            set_thread_res_uid(user, user, user)?;
            Ok(work())
        };
        thread::scope(|scope| {
            thread::Builder::new()
                .spawn_scoped(scope, switched)?
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// The groups of the service: those of this process and, if root runs it, those of the service's
/// user.
pub(super) fn groups() -> Vec<u32> {
    let own = getgroups()
        .unwrap_or_default()
        .into_iter()
        .chain([getegid()])
        .map(Gid::as_raw);
    own.chain(
        ServiceUser::lookup_as_root()
            .into_iter()
            .flat_map(|user| user.groups),
    )
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    #[test]
    fn the_user_and_its_groups_are_found_in_the_files_of_the_machine() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\ncc-gateway-old:x:7:7::/:/bin/sh\ncc-gateway:x:990:991:Gateway:/:/usr/sbin/nologin\n";
        let group = "root:x:0:\ncc-gateway:x:991:\nrecords:x:2000:backup,cc-gateway\nothers:x:3000:cc-gateway-old\nbroken\n";
        let user = ServiceUser::find(passwd, group).unwrap();
        assert_eq!(
            user,
            ServiceUser {
                user: 990,
                group: 991,
                groups: vec![991, 2000]
            }
        );
        for passwd in ["", "cc-gateway:x:", "cc-gateway:x:a:b", "cc-gateway"] {
            assert_eq!(ServiceUser::find(passwd, group), None, "{passwd:?}");
        }
    }

    #[test]
    fn work_is_done_with_the_rights_of_the_user_and_no_others() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can take another user's rights");
            return;
        }
        let nobody = ServiceUser {
            user: 65_534,
            group: 65_534,
            groups: vec![65_534],
        };
        let (user, shadow) = nobody
            .run_as(|| (geteuid().as_raw(), fs::read("/etc/shadow").map(|_| ())))
            .unwrap();
        assert_eq!(user, 65_534);
        assert_eq!(shadow.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(geteuid().is_root(), "this thread must still be root's");
    }

    #[test]
    fn a_folder_may_be_entered_by_the_groups_of_the_user() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can take another user's rights");
            return;
        }
        let nobody = |group| ServiceUser {
            user: 65_534,
            group: 65_534,
            groups: vec![group],
        };
        let folder =
            std::env::temp_dir().join(format!("cc-gateway-service-user-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        let enter = |user: ServiceUser| {
            let file = folder.join("file");
            user.run_as(|| fs::metadata(file).map(drop).map_err(|error| error.kind()))
                .unwrap()
        };
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(enter(nobody(65_534)), Ok(()));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o710)).unwrap();
        chown(&folder, None, Some(4242)).unwrap();
        assert_eq!(enter(nobody(65_534)), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(enter(nobody(4242)), Ok(()));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(enter(nobody(4242)), Err(io::ErrorKind::NotFound));
    }
}
