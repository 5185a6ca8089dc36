//! Sign-ins in progress: the interface forbids a second one before the first is answered.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::agent::AgentId;
use crate::ops::client_prefix::client_prefix;
use crate::ops::sync::lock;

type Marks = Mutex<HashSet<(AgentId, IpAddr)>>;

/// The marks of the sign-ins under way. A clone shares them.
///
/// A mark belongs to agent and address together, so that a stranger who keeps signing in as
/// somebody else's agent cannot keep that agent out.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlightSignIns {
    marks: Arc<Marks>,
}

impl InFlightSignIns {
    /// Marks the beginning of a sign-in; `None` (100-021) while another of the same agent and
    /// address runs.
    pub(crate) fn begin(&self, agent: AgentId, address: IpAddr) -> Option<SignInGuard> {
        let pair = (agent, client_prefix(address));
        lock(&self.marks).insert(pair).then(|| SignInGuard {
            marks: Arc::clone(&self.marks),
            pair,
        })
    }
}

/// One sign-in under way; dropping it ends it.
#[derive(Debug)]
#[must_use = "the sign-in ends when this is dropped"]
pub(crate) struct SignInGuard {
    marks: Arc<Marks>,
    pair: (AgentId, IpAddr),
}

impl Drop for SignInGuard {
    fn drop(&mut self) {
        lock(&self.marks).remove(&self.pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_sign_in_of_the_same_pair_waits_for_the_end_of_the_first() {
        let sign_ins = InFlightSignIns::default();
        let agent = AgentId::parse("101", 999).unwrap();
        let begin = |address: &str| sign_ins.begin(agent, address.parse().unwrap());
        let first = begin("192.0.2.1");
        assert!(first.is_some());
        assert!(begin("192.0.2.1").is_none());
        assert!(
            begin("::ffff:192.0.2.1").is_none(),
            "the same address, written as IPv6"
        );
        assert!(begin("192.0.2.2").is_some());
        assert!(
            sign_ins
                .begin(
                    AgentId::parse("102", 999).unwrap(),
                    "192.0.2.1".parse().unwrap()
                )
                .is_some()
        );
        drop(first);
        assert!(begin("192.0.2.1").is_some());
    }

    #[test]
    fn a_sign_in_that_panics_is_over() {
        let sign_ins = InFlightSignIns::default();
        let (agent, address) = (AgentId::parse("101", 999).unwrap(), "::1".parse().unwrap());
        let inner = sign_ins.clone();
        let thread = std::thread::spawn(move || {
            let _mark = inner.begin(agent, address);
            panic!("expected by the test");
        });
        assert!(thread.join().is_err());
        assert!(sign_ins.begin(agent, address).is_some());
    }
}
