//! The limit on open descriptors, raised at the start to what the settings can need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::failure::{Exit, Failure};

/// Raises the soft limit of descriptors to `needed`, never lowering it.
///
/// # Errors
/// When the hard limit is below `needed`: the service would later turn clients away for a reason that
/// nobody looks for, so it says so at the start instead.
pub fn allow(needed: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    // None is "no limit".
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(hard) = limit.maximum.filter(|&hard| hard < needed) {
        return Err(Failure::new(
            Exit::Config,
            format!(
                "{needed} open files are needed for MAX_CONNECTIONS, two for each, but the limit is {hard}: \
                 raise it (LimitNOFILE= in the service, ulimit -Hn in a shell) or lower the setting"
            ),
        ));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: limit.maximum }).map_err(|error| {
        Failure::new(Exit::Permission, format!("the limit of open files cannot be raised to {needed}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_beyond_the_hard_one_is_refused_with_advice() {
        let Some(hard) = getrlimit(Resource::Nofile).maximum else { return };
        let failure = allow(hard + 1).unwrap_err();
        assert_eq!(failure.exit(), Exit::Config);
        assert!(failure.to_string().contains("LimitNOFILE"));
    }

    #[test]
    fn the_limit_is_never_lowered() {
        let before = getrlimit(Resource::Nofile).current;
        allow(1).unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, before);
    }
}
