//! Tokens for the two-step download of quality control.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::agent::AgentId;
use super::guid::Fingerprint;
use super::hex;
use super::table::SessionId;
use crate::ops::sync::lock;

/// How long a token is valid. The only known client uses it immediately.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Tokens per agent; beyond that the oldest is dropped.
const PER_AGENT_MAX: usize = 8;
/// Tokens of all agents; beyond that the oldest is dropped. About 1 MB with the longest paths.
const TOKENS_MAX: usize = 4096;

/// The valid tokens.
///
/// A token belongs to one agent, session and path, and can be redeemed once within a minute. Only
/// SHA-256 digests are kept and compared in constant time. Tokens end with their session, as the
/// agent's next session has another id.
#[derive(Debug, Default)]
pub(crate) struct DownloadTokens {
    agents: Mutex<HashMap<AgentId, Vec<Issued>>>,
}

/// The secret itself: 128 random bits in lower-case hex, 32 characters.
pub(crate) struct DownloadToken(Zeroizing<String>);

#[derive(Debug)]
struct Issued {
    fingerprint: Fingerprint,
    session: SessionId,
    path: Box<str>,
    issued_at: Instant,
}

impl DownloadTokens {
    /// Issues a token for `path`, which must be presented unchanged. The caller bounds its length.
    ///
    /// # Errors
    /// If the system random generator fails.
    pub(crate) fn issue(
        &self,
        agent: AgentId,
        session: SessionId,
        path: &str,
        now: Instant,
    ) -> Result<DownloadToken, getrandom::Error> {
        let mut random = Zeroizing::new([0_u8; 16]);
        getrandom::fill(random.as_mut_slice())?;
        // Full capacity: growing would leave copies of the secret in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(2 * random.len()));
        hex::push(&mut text, random.as_slice());
        let issued = Issued {
            fingerprint: Fingerprint::from_text(&text),
            session,
            path: path.into(),
            issued_at: now,
        };
        let mut agents = lock(&self.agents);
        if agents.values().map(Vec::len).sum::<usize>() >= TOKENS_MAX {
            make_room(&mut agents, now);
        }
        let tokens = agents.entry(agent).or_default();
        tokens.retain(|token| token.is_valid(now));
        if tokens.len() >= PER_AGENT_MAX {
            tokens.remove(0);
        }
        tokens.push(issued);
        Ok(DownloadToken(text))
    }

    /// Whether `token` is valid for `path` in this session of `agent`. Either way the token is used
    /// up.
    pub(crate) fn redeem(
        &self,
        agent: AgentId,
        session: SessionId,
        token: &str,
        path: &str,
        now: Instant,
    ) -> bool {
        let presented = Fingerprint::from_text(token);
        let mut agents = lock(&self.agents);
        let Some(tokens) = agents.get_mut(&agent) else {
            return false;
        };
        let mut is_valid = false;
        // Compares all, for constant time.
        tokens.retain(|issued| {
            let matches = issued.fingerprint == presented;
            is_valid |= matches
                && issued.session == session
                && *issued.path == *path
                && issued.is_valid(now);
            !matches && issued.is_valid(now)
        });
        if tokens.is_empty() {
            agents.remove(&agent);
        }
        is_valid
    }
}

impl DownloadToken {
    /// The secret, only for the reply to its client.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DownloadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DownloadToken(secret)")
    }
}

impl Issued {
    fn is_valid(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.issued_at) < TIMEOUT
    }
}

/// Drops the expired tokens, or if there are none, the oldest.
fn make_room(agents: &mut HashMap<AgentId, Vec<Issued>>, now: Instant) {
    agents.retain(|_, tokens| {
        tokens.retain(|token| token.is_valid(now));
        !tokens.is_empty()
    });
    if agents.values().map(Vec::len).sum::<usize>() < TOKENS_MAX {
        return;
    }
    // Each agent's first token is its oldest.
    let oldest = agents
        .iter()
        .min_by_key(|(_, tokens)| tokens.first().map(|token| token.issued_at))
        .map(|(agent, _)| *agent);
    if let Some(agent) = oldest
        && let Some(tokens) = agents.get_mut(&agent)
    {
        tokens.remove(0);
        if tokens.is_empty() {
            agents.remove(&agent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "Y:/1/0/20201202/503/1714442.wav";

    fn agent(id: u32) -> AgentId {
        AgentId::parse(&id.to_string(), 99_999).unwrap()
    }

    /// The ids of two sessions.
    fn sessions() -> [SessionId; 2] {
        [1, 2].map(SessionId::for_test)
    }

    #[test]
    fn a_token_is_good_once_for_its_agent_session_and_path_and_for_a_minute() {
        let (now, [session, other]) = (Instant::now(), sessions());
        let second = Duration::from_secs(1);
        for (id, presented_in, path, after, good) in [
            (101, session, PATH, Duration::ZERO, true),
            (101, session, PATH, second * 59, true),
            (101, session, PATH, second * 60, false),
            (101, other, PATH, Duration::ZERO, false),
            (102, session, PATH, Duration::ZERO, false),
            (
                101,
                session,
                "Y:/1/0/20201202/503/1714443.wav",
                Duration::ZERO,
                false,
            ),
            (101, session, "", Duration::ZERO, false),
        ] {
            let tokens = DownloadTokens::default();
            let token = tokens.issue(agent(101), session, PATH, now).unwrap();
            let redeem =
                || tokens.redeem(agent(id), presented_in, token.expose(), path, now + after);
            assert_eq!(redeem(), good, "{id} {presented_in:?} {path} {after:?}");
            assert!(!redeem(), "a token must be used up when it is presented");
            if id == 101 {
                assert!(
                    !tokens.redeem(agent(101), session, token.expose(), PATH, now),
                    "a refused token must be used up, too"
                );
                assert!(lock(&tokens.agents).is_empty());
            }
        }
    }

    #[test]
    fn a_token_is_random_and_shows_itself_nowhere() {
        let (tokens, now, [session, _]) = (DownloadTokens::default(), Instant::now(), sessions());
        let texts: std::collections::HashSet<_> = (0..100)
            .map(|_| {
                tokens
                    .issue(agent(101), session, PATH, now)
                    .unwrap()
                    .expose()
                    .to_owned()
            })
            .collect();
        assert_eq!(texts.len(), 100);
        assert!(
            texts
                .iter()
                .all(|text| text.len() == 32 && hex::parse(text).is_some())
        );
        let token = tokens.issue(agent(101), session, PATH, now).unwrap();
        let shown = format!("{tokens:?} {token:?}");
        assert!(!shown.contains(token.expose()), "{shown}");
        for wrong in ["", "0", &"0".repeat(32), &token.expose().to_uppercase()] {
            assert!(
                !tokens.redeem(agent(101), session, wrong, PATH, now) || wrong == token.expose()
            );
        }
        assert!(tokens.redeem(agent(101), session, token.expose(), PATH, now));
    }

    #[test]
    fn the_oldest_of_too_many_tokens_goes() {
        let (tokens, now, [session, _]) = (DownloadTokens::default(), Instant::now(), sessions());
        let own: Vec<_> = (0..9)
            .map(|_| tokens.issue(agent(101), session, PATH, now).unwrap())
            .collect();
        let good =
            |token: &DownloadToken| tokens.redeem(agent(101), session, token.expose(), PATH, now);
        assert!(!good(&own[0]) && own[1..].iter().all(good));
        let first = tokens.issue(agent(101), session, PATH, now).unwrap();
        for nth in 0..u32::try_from(TOKENS_MAX).unwrap() + 100 {
            tokens
                .issue(
                    agent(1_000 + nth),
                    session,
                    PATH,
                    now + Duration::from_millis(1),
                )
                .unwrap();
            let count: usize = lock(&tokens.agents).values().map(Vec::len).sum();
            assert!(count <= TOKENS_MAX);
        }
        assert!(!good(&first));
        tokens
            .issue(agent(101), session, PATH, now + TIMEOUT * 2)
            .unwrap();
        assert_eq!(
            lock(&tokens.agents).len(),
            1,
            "expired tokens must be removed first"
        );
    }
}
