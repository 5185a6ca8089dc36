//! The limit on open descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::fatal_error::{Exit, FatalError};

/// Raises the soft limit on open descriptors (RLIMIT_NOFILE) to `needed`, or to the hard limit if
/// that is lower. Never lowers it. Returns the resulting limit, `u64::MAX` if there is none.
///
/// # Errors
/// 77 if the kernel refuses the change.
pub fn raise_nofile_limit(needed: u64) -> Result<u64, FatalError> {
    let limit = getrlimit(Resource::Nofile);
    // rustix uses None for "no limit".
    let Some(current) = limit.current else {
        return Ok(u64::MAX);
    };
    let wanted = limit.maximum.map_or(needed, |hard| hard.min(needed));
    if current >= wanted {
        return Ok(current);
    }
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        },
    )
    .map_err(|error| {
        FatalError::new(
            Exit::Permission,
            format!("cannot raise the limit of open files to {wanted}: {error}"),
        )
    })?;
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_the_hard_one_at_most_and_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        let current = before.current.unwrap_or(u64::MAX);
        assert_eq!(raise_nofile_limit(1).unwrap(), current);
        assert_eq!(getrlimit(Resource::Nofile).current, before.current);
        if let Some(hard) = before.maximum {
            assert_eq!(raise_nofile_limit(hard + 1).unwrap(), hard);
            assert_eq!(getrlimit(Resource::Nofile).current, Some(hard));
        }
    }
}
