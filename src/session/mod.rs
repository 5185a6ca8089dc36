//! Who is signed in: agents, their passwords and Guids, the table of open sessions and the guards of sign-in.

mod agent;
mod checker;
mod guid;
mod hex;
mod password;
mod roster;
mod signing_in;
mod throttle;

pub use agent::{AGENT_ID_MIN, AgentId};
pub use checker::Checker;
pub use guid::{Fingerprint, GUID_CHARS_MAX, Guid};
pub use password::{Credential, DEFAULT_ITERATIONS, DeriveError, PASSWORD_CHARS_MAX, PasswordHash};
pub use roster::{Agent, Role, Roster};
pub use signing_in::{SignIns, SigningIn};
pub use throttle::Throttle;
