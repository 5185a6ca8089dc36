//! The agents file: who may sign in, with which password and rights.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::agent::{AGENT_ID_MIN, AgentId};
use super::password::{Credential, DEFAULT_ITERATIONS, PasswordHash};
use crate::config::properties::{self, Entry};
use crate::config::{Problem, read_secret_text};

/// Maximum size of the agents file in bytes: about 120 000 agents with passwords.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Maximum number of problems reported; a file of the wrong kind would have one per line.
const PROBLEMS_MAX: usize = 50;
/// The value of an agent that signs in with the empty password.
const NO_PASSWORD: &str = "no-password";
/// Agents or ranges of agents named in one warning.
const RANGES_MAX: usize = 100;

/// What an agent may download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Role {
    /// Its own recordings, unless `DOWNLOAD_SCOPE` says otherwise.
    #[default]
    Agent,
    /// Every recording.
    Inspector,
}

/// One agent of the agents file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    /// The value of `<id>`.
    pub(crate) credential: Credential,
    /// `<id>.role`: `agent` (the default) or `inspector`.
    pub(crate) role: Role,
    /// `<id>.vdn`: the agent's virtual call centre, 1 by default.
    pub(crate) vdn: u32,
}

/// Everybody who may sign in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Roster {
    agents: HashMap<AgentId, Agent>,
}

impl Roster {
    /// Reads the agents file at `path`, at most 16 MiB, as in [`from_text`](Self::from_text). Also
    /// warns if users other than the service may read or change it.
    ///
    /// # Errors
    /// If the file cannot be read, is not a regular file, is too large, or has mistakes; all
    /// mistakes are reported at once.
    pub fn read(path: &Path, agent_id_max: u32) -> Result<(Roster, Vec<Problem>), Vec<Problem>> {
        let (text, exposure) = read_secret_text(
            path,
            FILE_BYTES_MAX,
            "name the agents file with AGENTS_FILE",
        )
        .map_err(|problem| vec![problem])?;
        let (roster, mut warnings) = Roster::from_text(&text, path, agent_id_max)?;
        warnings.extend(exposure);
        Ok((roster, warnings))
    }

    /// Like [`read`](Self::read), but an empty roster is a problem, since otherwise only the agents
    /// would notice. (A reload accepts it, so that everyone can be shut out.)
    pub(crate) fn read_for_start(
        path: &Path,
        agent_id_max: u32,
    ) -> Result<(Roster, Vec<Problem>), Vec<Problem>> {
        let (roster, warnings) = Roster::read(path, agent_id_max)?;
        if roster.is_empty() {
            let text = "names no agent, so nobody could sign in; add a line ID = VALUE for each, with the value that \
                        `cc-gateway hash-password` prints";
            return Err(vec![Problem::in_config(path, None, None, text)]);
        }
        Ok((roster, warnings))
    }

    /// Parses an agents file; `file` is the path named in problems.
    ///
    /// Warns of repeated keys, of which the last one counts, and of agents without a password. Ids
    /// are `AGENT_ID_MIN` to `agent_id_max`.
    ///
    /// Problems never repeat a value, or a key that may be one: if key and value are swapped or a
    /// line is wrapped, the key is the secret.
    ///
    /// # Errors
    /// All mistakes in the file.
    pub fn from_text(
        text: &str,
        file: &Path,
        agent_id_max: u32,
    ) -> Result<(Roster, Vec<Problem>), Vec<Problem>> {
        let (entries, malformed) = properties::parse(text);
        let malformed = malformed
            .iter()
            .map(|spot| Problem::in_config(file, Some(spot.line), None, spot.reason));
        let mut problems: Vec<_> = malformed.collect();
        let mut warnings = Vec::new();
        let mut lines = HashMap::new();
        let mut rights = Vec::new();
        let mut roster = Roster::default();
        for entry in &entries {
            if let Some(before) = lines.insert(&entry.key, entry.line) {
                warnings.push(line_problem(
                    entry,
                    file,
                    format!("repeats line {before}; this line is in force"),
                ));
            }
            match AgentField::from_key(&entry.key, agent_id_max) {
                Ok((id, AgentField::Credential)) => match credential(&entry.value) {
                    Ok(credential) => {
                        roster.agents.insert(
                            id,
                            Agent {
                                credential,
                                role: Role::Agent,
                                vdn: 1,
                            },
                        );
                    }
                    Err(reason) => problems.push(line_problem(entry, file, reason)),
                },
                Ok((id, field)) => rights.push((id, field, entry)),
                Err(reason) => problems.push(line_problem(entry, file, reason)),
            }
        }
        for (id, field, entry) in rights {
            let outcome = match roster.agents.get_mut(&id) {
                Some(agent) => field.apply(&entry.value, agent),
                // The agent's own line has been reported already.
                None if lines.contains_key(&id.to_string()) => Ok(()),
                None => Err(format!(
                    "there is no agent {id}; add a line `{id} = VALUE`, with what `cc-gateway hash-password` prints"
                )),
            };
            problems.extend(
                outcome
                    .err()
                    .map(|reason| line_problem(entry, file, reason)),
            );
        }
        if problems.is_empty() {
            warnings.extend(roster.no_password_warnings(file));
            return Ok((roster, warnings));
        }
        problems.sort_by_key(|problem| problem.line);
        problems.truncate(PROBLEMS_MAX);
        Err(problems)
    }

    /// The agent with this id, if it may sign in.
    pub(crate) fn agent(&self, id: AgentId) -> Option<&Agent> {
        self.agents.get(&id)
    }

    /// Whether the agent is an inspector.
    pub(crate) fn is_inspector(&self, id: AgentId) -> bool {
        self.agent(id)
            .is_some_and(|agent| agent.role == Role::Inspector)
    }

    /// Whether an agent keeps its session when `new` replaces this roster; see
    /// [`revoked_by`](Self::revoked_by).
    pub(crate) fn is_unchanged(&self, id: AgentId, new: &Roster) -> bool {
        let same =
            |old: &Agent, new: &Agent| old.credential == new.credential && old.role == new.role;
        matches!((self.agent(id), new.agent(id)), (Some(old), Some(new)) if same(old, new))
    }

    /// The agents whose sessions end when `new` replaces this roster, by id: those that are
    /// removed, and those whose password or role changes. A change of VDN does not end a session.
    pub(crate) fn revoked_by(&self, new: &Roster) -> Vec<AgentId> {
        let mut ids: Vec<_> = self
            .agents
            .keys()
            .copied()
            .filter(|id| !self.is_unchanged(*id, new))
            .collect();
        ids.sort_unstable();
        ids
    }

    /// How many agents may sign in.
    pub(crate) fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether there are no agents.
    pub(crate) fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// Warns of the agents without a password, by id and in as few lines as possible.
    fn no_password_warnings(&self, file: &Path) -> Vec<Problem> {
        let open = |agent: &Agent| agent.credential == Credential::EmptyOnly;
        let ids = self
            .agents
            .iter()
            .filter(|(_, agent)| open(agent))
            .map(|(id, _)| id.number());
        let ranges = id_ranges(ids.collect());
        let warning = |ranges: &[String]| {
            let text = format!(
                "no password is asked of these agents, so anyone who reaches the gateway may sign in as them: {}; where \
                 their clients can send a password, give them a value of `cc-gateway hash-password`",
                ranges.join(", ")
            );
            Problem::in_config(file, None, None, text)
        };
        ranges.chunks(RANGES_MAX).map(warning).collect()
    }

    /// The most frequent iteration count of the stored passwords, the larger one of a tie;
    /// [`DEFAULT_ITERATIONS`] if there are none. For
    /// [`PasswordVerifier::set_dummy_cost`](super::PasswordVerifier::set_dummy_cost).
    pub(crate) fn usual_iterations(&self) -> u32 {
        let mut frequency = BTreeMap::new();
        for agent in self.agents.values() {
            if let Credential::Hash(hash) = &agent.credential {
                *frequency.entry(hash.iterations()).or_insert(0_u32) += 1;
            }
        }
        let usual = frequency
            .into_iter()
            .max_by_key(|(iterations, count)| (*count, *iterations));
        usual.map_or(DEFAULT_ITERATIONS, |(iterations, _)| iterations)
    }
}

/// The settings of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AgentField {
    Credential,
    Role,
    Vdn,
}

impl AgentField {
    fn from_key(key: &str, agent_id_max: u32) -> Result<(AgentId, AgentField), String> {
        let (id, field) = match key.split_once('.') {
            None => (key, Some(AgentField::Credential)),
            Some((id, "role")) => (id, Some(AgentField::Role)),
            Some((id, "vdn")) => (id, Some(AgentField::Vdn)),
            Some((id, _)) => (id, None),
        };
        let agent = AgentId::parse(id, agent_id_max).ok_or_else(|| {
            format!(
                "the key is not an agent id from {AGENT_ID_MIN} to {agent_id_max} (AGENT_ID_MAX)"
            )
        })?;
        let field =
            field.ok_or("the key does not end in .role or .vdn, which are all that can be set")?;
        Ok((agent, field))
    }

    fn apply(self, value: &str, agent: &mut Agent) -> Result<(), String> {
        // In a .properties file trailing blanks belong to the value.
        match (self, value.trim_end()) {
            (AgentField::Role, "agent") => agent.role = Role::Agent,
            (AgentField::Role, "inspector") => agent.role = Role::Inspector,
            (AgentField::Role, _) => return Err("is neither agent nor inspector".to_owned()),
            (AgentField::Vdn, digits) => {
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let vdn = digits.parse().ok().filter(|_| plain);
                agent.vdn =
                    vdn.ok_or("is not a number of a virtual call centre; write for example 1")?;
            }
            (AgentField::Credential, _) => {}
        }
        Ok(())
    }
}

/// An empty value is an error: a failed command or a truncated file must not open an agent to
/// everyone.
fn credential(value: &str) -> Result<Credential, String> {
    match value.trim_end() {
        "" => Err(format!(
            "there is no value; write what `cc-gateway hash-password` prints, or {NO_PASSWORD} for an agent whose \
             client sends the empty password"
        )),
        NO_PASSWORD => Ok(Credential::EmptyOnly),
        text => PasswordHash::parse(text)
            .map(Credential::Hash)
            .map_err(|reason| {
                format!("the value {reason}; make a new one with `cc-gateway hash-password`")
            }),
    }
}

/// A problem of a line. Its key is shown only if it cannot be a secret.
fn line_problem(entry: &Entry, file: &Path, text: impl Into<String>) -> Problem {
    let (id, field) = entry
        .key
        .split_once('.')
        .map_or((&*entry.key, None), |(id, field)| (id, Some(field)));
    let is_id = |text: &str| {
        (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    // A numeric password and the agent's id, swapped.
    let is_exchanged = field.is_none() && is_id(entry.value.trim());
    let key = match field {
        None | Some("role" | "vdn") => entry.key.as_str(),
        Some(_) => id,
    };
    let key = Some(key).filter(|_| is_id(id) && !is_exchanged);
    Problem::in_config(file, Some(entry.line), key, text)
}

/// The numbers in ascending order, consecutive ones as `FIRST-LAST`.
fn id_ranges(mut numbers: Vec<u32>) -> Vec<String> {
    numbers.sort_unstable();
    let run = |run: &[u32]| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(u32::to_string).collect(),
    };
    numbers
        .chunk_by(|one, next| one + 1 == *next)
        .map(run)
        .collect()
}

#[cfg(test)]
mod tests;
