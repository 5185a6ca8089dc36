//! The log line of a request. It never holds a Guid, a password, or anything of path and query but the recording of
//! a download.

use std::io;
use std::time::Instant;

use super::connection::Connection;
use super::refusal_limit::LogDecision;
use crate::api::{Interface, Reply, RequestContext, ResultCode};
use crate::ops::log_lines::Quoted;

/// Result codes that are always logged: successes, and what intrusion detection reads, of which the
/// password checks and the delay of a locked sign-in bound the number.
const UNLIMITED: [ResultCode; 3] = [ResultCode::SUCCESS, ResultCode::WRONG_PASSWORD, ResultCode::LOCKED];

/// Counts and logs an answered request.
///
/// `bytes` is what was sent of the content, and `cut` why it was not all of it.
pub(super) fn record(
    connection: &Connection,
    reply: &Reply,
    context: Option<&RequestContext>,
    bytes: u64,
    cut: Option<&io::Error>,
) {
    let interface = context.map_or(Interface::Unknown, |context| context.interface);
    let code = reply.code.wire();
    connection.context().counters.count_request(interface.log_name(), code);
    let is_authenticated = context.is_some_and(RequestContext::is_authenticated);
    let is_limited = !is_authenticated && !UNLIMITED.contains(&reply.code);
    let suppression_note =
        match is_limited.then(|| connection.context().refusals.count(connection.client_ip(), Instant::now())) {
            Some(LogDecision::Suppress) => return,
            Some(LogDecision::LogLast) => " (further refused requests of this client are not logged for up to 10 s)",
            Some(LogDecision::Log) | None => "",
        };
    let level = match interface {
        // Monitoring asks every few seconds, and strangers may ask for anything.
        Interface::Health | Interface::Metrics | Interface::Unknown => log::Level::Debug,
        _ => log::Level::Info,
    };
    log::log!(
        target: "request",
        level,
        "{} agent={} peer={} status={} code={code} bytes={bytes} ms={}{}{}{suppression_note}",
        interface.log_name(),
        context.and_then(|context| context.agent).map_or_else(|| "-".to_owned(), |agent| agent.to_string()),
        connection.peer_text(),
        reply.status,
        context.map_or(0, |context| context.began.elapsed().as_millis()),
        context.map_or_else(String::new, RequestContext::recording_fields),
        cut.map_or_else(String::new, |error| format!(" cut={}", Quoted(&error.to_string()))),
    );
}
