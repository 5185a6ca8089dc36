//! The log line of each request, and remarks about clients that get no request through. They
//! contain no Guid and no password, and nothing of path and query but the recording that a download
//! names.

use std::fmt;
use std::io;
use std::time::Instant;

use log::Level;

use super::connection::Connection;
use super::refusal_limit::LogDecision;
use crate::api::{Interface, Reply, RequestContext, ResultCode};
use crate::ops::log_lines::Quoted;

/// Results that are always logged, since intrusion detection reads them. Password checks and the
/// delay of a locked sign-in bound their number.
const UNLIMITED: [ResultCode; 2] = [ResultCode::WRONG_PASSWORD, ResultCode::LOCKED];
/// Suffix of the last line of a client without a session for a while.
const SUPPRESSION_NOTE: &str =
    " (further requests of this client without a session are not logged for up to 10 s)";

/// Counts and logs an answered request.
///
/// `bytes` is how much content was sent; `cut` is why it was not all.
pub(super) fn record(
    connection: &Connection,
    reply: &Reply,
    context: Option<&RequestContext>,
    bytes: u64,
    cut: Option<&io::Error>,
) {
    let interface = context.map_or(Interface::Unknown, |context| context.interface);
    let code = reply.code.wire();
    connection
        .context
        .counters
        .count_request(interface.log_name(), code);
    let level = match interface {
        // Monitoring asks every few seconds, and strangers ask for anything.
        Interface::Health | Interface::Metrics | Interface::Unknown => Level::Debug,
        _ => Level::Info,
    };
    let is_authenticated = context.is_some_and(RequestContext::is_authenticated);
    let is_limited = !is_authenticated && !UNLIMITED.contains(&reply.code);
    let suppression_note = if is_limited {
        suppression_note(connection, level)
    } else {
        Some("")
    };
    let Some(suppression_note) = suppression_note else {
        return;
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

/// Logs at debug why a client got no request through, under the same limit as its requests.
pub(super) fn remark(connection: &Connection, text: fmt::Arguments<'_>) {
    if let Some(suppression_note) = suppression_note(connection, Level::Debug) {
        log::debug!(target: "cc_gateway", "{text}{suppression_note}");
    }
}

/// Counts a line of a client without a session. Returns its suffix, or `None` to leave it out.
/// Lines below the log level do not count, since the one with the note might be among them.
fn suppression_note(connection: &Connection, level: Level) -> Option<&'static str> {
    if !log::log_enabled!(target: "cc_gateway", level) {
        return None;
    }
    let refusals = &connection.context.refusals;
    match refusals.count(connection.client_ip(), Instant::now()) {
        LogDecision::Suppress => None,
        LogDecision::LogLast => Some(SUPPRESSION_NOTE),
        LogDecision::Log => Some(""),
    }
}
