//! Who is signed in: agents, their passwords and Guids, the table of open sessions and the guards of sign-in.

mod agent;
mod checker;
mod guid;
mod guids;
mod hex;
mod password;
mod roster;
mod signing_in;
mod table;
mod throttle;

pub use agent::{AGENT_ID_MIN, AgentId};
pub use checker::Checker;
pub use guid::{Fingerprint, GUID_CHARS_MAX, Guid};
pub use guids::Policy;
pub use password::{Credential, DEFAULT_ITERATIONS, DeriveError, PASSWORD_CHARS_MAX, PasswordHash};
pub use roster::{Agent, Role, Roster};
pub use signing_in::{SignIns, SigningIn};
pub use table::{Admitted, Denied, Opened, SessionId, SessionTable, SignInRefused};
pub use throttle::Throttle;
