//! The agents file: who may sign in, with what password, and with which rights.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::agent::{AGENT_ID_MIN, AgentId};
use super::password::{Credential, DEFAULT_ITERATIONS, PasswordHash};
use crate::config::Problem;
use crate::config::properties::{self, Entry};

/// Largest agents file that is read, in bytes: room for some 120 000 agents with passwords.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Problems reported at most; the rest of a file that is something else altogether teaches nothing more.
const PROBLEMS_MAX: usize = 50;

/// What an agent may download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Its own recordings, unless `DOWNLOAD_SCOPE` says otherwise.
    #[default]
    Agent,
    /// Every recording.
    Inspector,
}

/// One agent of the agents file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// What the agent signs in with: the value of `<id>`.
    pub credential: Credential,
    /// `<id>.role`: `agent` (the default) or `inspector`.
    pub role: Role,
    /// `<id>.vdn`: the virtual call centre the agent belongs to, 1 by default.
    pub vdn: u32,
}

/// Everybody who may sign in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Roster {
    agents: HashMap<AgentId, Agent>,
}

impl Roster {
    /// Reads the agents file at `path`, at most 16 MiB of it; otherwise as [`from_text`](Self::from_text).
    pub fn read(path: &Path, agent_id_max: u32) -> Result<(Roster, Vec<Problem>), Vec<Problem>> {
        match read_bounded(path) {
            Ok(bytes) => Roster::from_text(&properties::decode(bytes), path, agent_id_max),
            Err(error) => Err(vec![Problem::of_io(path, &error, "name the agents file with AGENTS_FILE")]),
        }
    }

    /// As [`read`](Self::read), but a file that names nobody is a problem: a gateway nobody can use is a mistake
    /// that only its agents would notice. (A reload takes such a file, so that all can be shut out at once.)
    pub fn read_for_start(path: &Path, agent_id_max: u32) -> Result<(Roster, Vec<Problem>), Vec<Problem>> {
        let (roster, warnings) = Roster::read(path, agent_id_max)?;
        if roster.is_empty() {
            let text = "names no agent, so nobody could sign in; add a line ID = VALUE for each, with the value that \
                        `cc-gateway hash-password` prints";
            return Err(vec![Problem::of_config(path, None, None, text)]);
        }
        Ok((roster, warnings))
    }

    /// Reads the text of an agents file; `file` is what its problems are said to be in.
    ///
    /// With the roster come warnings: of several lines for one key the last one counts. Nothing that is reported,
    /// as a warning or as an error, repeats a value. Ids are [`AGENT_ID_MIN`] to `agent_id_max`.
    pub fn from_text(text: &str, file: &Path, agent_id_max: u32) -> Result<(Roster, Vec<Problem>), Vec<Problem>> {
        let (entries, malformed) = properties::parse(text);
        let malformed = malformed.iter().map(|spot| Problem::of_config(file, Some(spot.line), None, spot.reason));
        let mut problems: Vec<_> = malformed.collect();
        let mut warnings = Vec::new();
        let mut lines = HashMap::new();
        let mut rights = Vec::new();
        let mut roster = Roster::default();
        for entry in &entries {
            if let Some(before) = lines.insert(&entry.key, entry.line) {
                warnings.push(about(entry, file, format!("is already in line {before}; this line counts")));
            }
            match Field::from_key(&entry.key, agent_id_max) {
                Ok((id, Field::Credential)) => match credential(&entry.value) {
                    Ok(credential) => {
                        roster.agents.insert(id, Agent { credential, role: Role::Agent, vdn: 1 });
                    }
                    Err(reason) => problems.push(about(
                        entry,
                        file,
                        format!("the value {reason}; make a new one with cc-gateway hash-password"),
                    )),
                },
                Ok((id, field)) => rights.push((id, field, entry)),
                Err(reason) => problems.push(about(entry, file, reason)),
            }
        }
        for (id, field, entry) in rights {
            let outcome = match roster.agents.get_mut(&id) {
                Some(agent) => field.apply(&entry.value, agent),
                // The agent's own line may be among the problems already.
                None if lines.contains_key(&id.to_string()) => Ok(()),
                None => Err(format!("there is no agent {id}; give it a line `{id} =` with its password")),
            };
            problems.extend(outcome.err().map(|reason| about(entry, file, reason)));
        }
        if problems.is_empty() {
            return Ok((roster, warnings));
        }
        problems.sort_by_key(|problem| problem.line);
        problems.truncate(PROBLEMS_MAX);
        Err(problems)
    }

    /// The agent of that id, if it may sign in.
    pub fn agent(&self, id: AgentId) -> Option<&Agent> {
        self.agents.get(&id)
    }

    /// The agents who lose what they have when `new` takes the place of this roster, in order of id: those who are
    /// not in it, and those whose password or role differs. Another VDN takes nothing away.
    pub fn revoked_by(&self, new: &Roster) -> Vec<AgentId> {
        let is_kept = |id: &AgentId, agent: &Agent| {
            new.agent(*id).is_some_and(|new| new.credential == agent.credential && new.role == agent.role)
        };
        let mut ids: Vec<_> = self.agents.iter().filter(|(id, agent)| !is_kept(id, agent)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// How many agents may sign in.
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether nobody may sign in.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// The agents who sign in with the empty password, in order of id.
    pub fn with_empty_password(&self) -> Vec<AgentId> {
        let open = |agent: &Agent| agent.credential == Credential::EmptyOnly;
        let mut ids: Vec<_> = self.agents.iter().filter(|(_, agent)| open(agent)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// The number of iterations most of the stored passwords have, the larger of two equally frequent ones;
    /// [`DEFAULT_ITERATIONS`] if there are no passwords. What [`PasswordVerifier::set_dummy_cost`](super::PasswordVerifier::set_dummy_cost) wants.
    pub fn usual_iterations(&self) -> u32 {
        let mut frequency = BTreeMap::new();
        for agent in self.agents.values() {
            if let Credential::Hash(hash) = &agent.credential {
                *frequency.entry(hash.iterations()).or_insert(0_u32) += 1;
            }
        }
        let usual = frequency.into_iter().max_by_key(|(iterations, count)| (*count, *iterations));
        usual.map_or(DEFAULT_ITERATIONS, |(iterations, _)| iterations)
    }
}

/// What a line says of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Credential,
    Role,
    Vdn,
}

impl Field {
    fn from_key(key: &str, agent_id_max: u32) -> Result<(AgentId, Field), String> {
        let (id, field) = match key.split_once('.') {
            None => (key, Field::Credential),
            Some((id, "role")) => (id, Field::Role),
            Some((id, "vdn")) => (id, Field::Vdn),
            Some(_) => return Err("does not end in .role or .vdn, which are all that can be set".to_owned()),
        };
        let agent = AgentId::parse(id, agent_id_max)
            .ok_or_else(|| format!("is no agent id of {AGENT_ID_MIN} to {agent_id_max} (AGENT_ID_MAX)"))?;
        Ok((agent, field))
    }

    fn apply(self, value: &str, agent: &mut Agent) -> Result<(), String> {
        // In a .properties file blanks at the end of a line belong to the value, which nobody sees.
        match (self, value.trim_end()) {
            (Field::Role, "agent") => agent.role = Role::Agent,
            (Field::Role, "inspector") => agent.role = Role::Inspector,
            (Field::Role, _) => return Err("is neither agent nor inspector".to_owned()),
            (Field::Vdn, digits) => {
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                let vdn = digits.parse().ok().filter(|_| plain);
                agent.vdn = vdn.ok_or("is not a number of a virtual call centre; write for example 1")?;
            }
            (Field::Credential, _) => {}
        }
        Ok(())
    }
}

/// Nothing at all is the empty password; blanks alone are an oversight that must not open the agent to everyone.
fn credential(value: &str) -> Result<Credential, &'static str> {
    match value {
        "" => Ok(Credential::EmptyOnly),
        text => PasswordHash::parse(text.trim_end()).map(Credential::Hash),
    }
}

fn about(entry: &Entry, file: &Path, text: impl Into<String>) -> Problem {
    // Where key and value are exchanged, the key is the secret.
    let key = Some(entry.key.as_str()).filter(|key| !key.contains('$'));
    Problem::of_config(file, Some(entry.line), key, text)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Asked before opening: to open a named pipe would be to wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
