//! What every client's thread shares.

use std::sync::Arc;

use super::clients::Clients;
use super::deadlines::Deadlines;
use super::portions::Portions;
use super::tls::Tls;
use crate::http::Http;
use crate::ops::counters::Counters;

/// The front, as one client's thread sees it.
pub(super) struct Front {
    pub(super) portions: Portions,
    pub(super) clients: Arc<Clients>,
    pub(super) tls: Tls,
    pub(super) http: Http,
    pub(super) deadlines: Deadlines,
    pub(super) counters: Arc<Counters>,
}

impl Front {
    /// What has been counted.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }
}
