//! What all connections share.

use std::sync::{Arc, Mutex};

use super::chunk_budget::ChunkBudget;
use super::connection::Connection;
use super::connections::Connections;
use super::timeouts::Timeouts;
use super::tls::Tls;
use crate::http::Http;
use crate::ops::counters::Counters;
use crate::ops::seldom::Seldom;

/// What all connections share.
pub(super) struct Context {
    pub(super) tls: Tls,
    pub(super) http: Arc<Http<Box<Connection>>>,
    pub(super) connections: Arc<Connections>,
    pub(super) chunk_budget: ChunkBudget,
    pub(super) timeouts: Timeouts,
    pub(super) counters: Arc<Counters>,
    /// About downloads that no thread could be had for.
    pub(super) thread_log: Mutex<Seldom>,
}
