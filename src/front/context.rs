//! State shared by all connections.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::chunk_budget::ChunkBudget;
use super::connection::Connection;
use super::connections::Connections;
use super::refusal_limit::RefusalLimit;
use super::timeouts::Timeouts;
use super::tls::Tls;
use crate::config::IpPrefix;
use crate::http::Http;
use crate::ops::counters::Counters;
use crate::ops::rate_limited_log::RateLimitedLog;

/// State shared by all connections.
pub(super) struct Context {
    pub(super) tls: Tls,
    pub(super) http: Arc<Http<Box<Connection>>>,
    pub(super) connections: Arc<Connections>,
    pub(super) chunk_budget: ChunkBudget,
    pub(super) timeouts: Timeouts,
    pub(super) counters: Arc<Counters>,
    pub(super) trusted_proxies: Vec<IpPrefix>,
    pub(super) log_limits: LogLimits,
    pub(super) refusals: RefusalLimit,
}

/// Rate limits for log lines that strangers, or a lack of resources, could trigger over and over.
#[derive(Debug, Default)]
pub(super) struct LogLimits {
    /// Downloads for which no thread could be started.
    pub(super) threads: Mutex<RateLimitedLog>,
    /// Malformed PROXY headers.
    pub(super) proxy_headers: Mutex<RateLimitedLog>,
    /// Networks with too many connections through proxies.
    pub(super) full_networks: Mutex<RateLimitedLog>,
}

impl Context {
    /// Whether this peer is trusted to name its clients.
    pub(super) fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|prefix| prefix.contains(address))
    }
}
