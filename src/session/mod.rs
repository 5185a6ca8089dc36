//! Who is signed in: agents, their passwords and Guids, the table of open sessions and the guards of sign-in.

mod agent;
mod fair_queue;
mod guid;
mod guid_history;
mod hex;
mod in_flight_sign_ins;
mod password;
mod password_verifier;
mod prefix_budget;
mod roster;
mod table;
mod throttle;

pub use agent::{AGENT_ID_MIN, AgentId};
pub use guid::{Fingerprint, GUID_CHARS_MAX, Guid};
pub use guid_history::Policy;
pub use in_flight_sign_ins::{InFlightSignIns, SignInGuard};
pub use password::{Credential, DEFAULT_ITERATIONS, DeriveError, PASSWORD_CHARS_MAX, PasswordHash};
pub use password_verifier::{PasswordVerifier, QueueFull};
pub use roster::{Agent, Role, Roster};
pub use table::{AuthError, Authenticated, NewSession, SessionId, SessionTable, SignInError};
pub use throttle::{Locked, Throttle};
