//! Agent ids.

use std::fmt;

/// The smallest agent id the interface documents.
pub(crate) const AGENT_ID_MIN: u32 = 101;

/// An agent's id ("work number"), between [`AGENT_ID_MIN`] and the configured `AGENT_ID_MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AgentId(u32);

impl AgentId {
    /// Parses a plain decimal from [`AGENT_ID_MIN`] to `max`.
    ///
    /// `None` for anything else: signs, blanks, leading zeros, digits of other scripts. Only one
    /// spelling is accepted because the text also names the agent in logs and recording paths.
    pub(crate) fn parse(text: &str, max: u32) -> Option<AgentId> {
        if text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let id = text.parse().ok()?;
        (AGENT_ID_MIN..=max).contains(&id).then_some(AgentId(id))
    }

    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_decimals_within_the_bounds_are_agents() {
        for (text, max, expected) in [
            ("101", 59_999, Some(101)),
            ("59999", 59_999, Some(59_999)),
            ("60000", 59_999, None),
            ("60000", 999_999, Some(60_000)),
            ("100", 59_999, None),
            ("0", 59_999, None),
            ("", 59_999, None),
            ("0101", 59_999, None),
            ("+101", 59_999, None),
            ("-101", 59_999, None),
            (" 101", 59_999, None),
            ("101 ", 59_999, None),
            ("1e3", 59_999, None),
            ("1,001", 59_999, None),
            ("0x101", 59_999, None),
            ("\u{661}\u{660}\u{661}", 59_999, None),
            ("4294967397", u32::MAX, None),
            ("99999999999999999999999999", u32::MAX, None),
        ] {
            assert_eq!(
                AgentId::parse(text, max).map(AgentId::number),
                expected,
                "{text:?} up to {max}"
            );
        }
    }

    proptest! {
        #[test]
        fn an_accepted_id_reads_back_as_it_was_written(text in "[0-9 +-]{0,7}") {
            if let Some(agent) = AgentId::parse(&text, 999_999) {
                prop_assert_eq!(agent.to_string(), text);
            }
        }
    }
}
