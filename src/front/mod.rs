//! The network side, and the only code that touches a client's socket: listeners, TLS, request
//! parsing, timeouts, responses and downloads.
//!
//! A few I/O threads serve all clients. A client that is slow, silent or hostile costs memory, but
//! no thread.

mod accept;
mod address_limits;
mod bind;
mod buffer_pool;
mod certificates;
mod chunk_budget;
mod client_address;
mod connection;
mod connections;
pub mod content;
mod context;
mod der;
pub mod head;
pub mod http_error;
mod io_handle;
mod io_thread;
mod key_pair;
mod pem;
mod private_key;
pub mod proxy_protocol;
mod refusal_limit;
mod request_log;
mod response;
pub mod server_name;
mod service;
mod timeouts;
mod timers;
mod tls;
mod tls_stream;
mod transfer;
mod x509;

pub use bind::Listeners;
pub(crate) use bind::try_addresses;
pub use key_pair::KeyPairFiles;
pub use service::Service;
pub use timeouts::Timeouts;
pub use tls::Tls;
