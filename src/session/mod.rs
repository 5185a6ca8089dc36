//! Who is signed in: agents, their passwords and Guids, the table of open sessions and the guards of sign-in.

mod agent;
mod agent_state;
mod download_token;
mod event;
mod event_queue;
mod fair_queue;
mod guid;
mod guid_history;
mod hex;
mod in_flight_sign_ins;
mod parked_polls;
mod password;
mod password_verifier;
mod prefix_budget;
mod replaced_sessions;
mod roster;
mod table;
mod throttle;

pub use agent::{AGENT_ID_MIN, AgentId};
pub use agent_state::{AgentState, StateCommand, SyncInfo, WrongState};
pub use download_token::{DownloadToken, DownloadTokens};
pub use event::{Event, EventKind, Media, RecordContent, StopRecordContent};
pub use guid::{Fingerprint, GUID_CHARS_MAX, Guid};
pub use guid_history::Policy;
pub use in_flight_sign_ins::{InFlightSignIns, SignInGuard};
pub use parked_polls::Wake;
pub use password::{Credential, DEFAULT_ITERATIONS, DeriveError, PASSWORD_CHARS_MAX, PasswordHash};
pub use password_verifier::{PasswordVerifier, QueueFull};
pub use roster::{Agent, Role, Roster};
pub use table::{
    AuthError, Authenticated, InitialState, NewSession, OpenSession, PollOutcome, PushOutcome, SessionId, SessionTable,
    SignInError, SignedInAgent, StateError,
};
pub use throttle::{Locked, Throttle};
