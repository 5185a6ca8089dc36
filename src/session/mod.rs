//! Sessions: agents, their passwords and Guids, the table of open sessions, and limits of sign-in.

mod agent;
mod agent_state;
mod download_token;
mod event;
mod event_queue;
mod fair_queue;
mod guid;
mod guid_history;
mod hex;
mod parked_polls;
mod password;
mod password_verifier;
mod prefix_budget;
mod replaced_sessions;
mod roster;
mod table;
mod throttle;

pub(crate) use agent::AgentId;
pub(crate) use agent_state::{AgentState, StateCommand, StateError};
pub(crate) use download_token::DownloadTokens;
pub(crate) use event::{Event, Media, RecordContent, StopRecordContent};
pub(crate) use guid::{Fingerprint, Guid};
pub(crate) use guid_history::Policy;
pub(crate) use parked_polls::Wake;
pub(crate) use password::{Credential, PASSWORD_CHARS_MAX, PasswordHash};
pub(crate) use password_verifier::PasswordVerifier;
#[cfg(test)]
pub(crate) use roster::Role;
pub use roster::Roster;
pub(crate) use table::{
    AuthError, Authenticated, InitialState, OpenSession, PollOutcome, PushOutcome, SessionTable,
    SignInError, SignedInAgent,
};
pub(crate) use throttle::{Locked, Throttle};
