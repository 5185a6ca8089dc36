//! The one log line of a request, and remarks about clients who get no request through. No Guid and
//! no password is near them, and of path and query nothing but the recording that a download names.

use std::fmt;
use std::io;
use std::time::Instant;

use log::Level;

use super::connection::Connection;
use super::refusal_limit::LogDecision;
use crate::api::{Interface, Reply, RequestContext, ResultCode};
use crate::ops::log_lines::Quoted;

/// What is logged of every request, whoever it comes from, since intrusion detection reads it: the
/// password checks and the delay of a locked sign-in bound its number.
const UNLIMITED: [ResultCode; 2] = [ResultCode::WRONG_PASSWORD, ResultCode::LOCKED];
/// The end of the last line that a client without a session has for a while.
const SUPPRESSION_NOTE: &str =
    " (further requests of this client without a session are not logged for up to 10 s)";

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
    connection
        .context
        .counters
        .count_request(interface.log_name(), code);
    let level = match interface {
        // Monitoring asks every few seconds, and strangers may ask for anything.
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

/// Logs at debug what is wrong with a client that has not got a request through, within the limit
/// of its requests.
pub(super) fn remark(connection: &Connection, text: fmt::Arguments<'_>) {
    if let Some(suppression_note) = suppression_note(connection, Level::Debug) {
        log::debug!(target: "cc_gateway", "{text}{suppression_note}");
    }
}

/// Counts a line of a client without a session and gives its end, or `None` if it is to be left
/// out. What the level of the log leaves out anyway does not count, or else the line that says so
/// could be among it.
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
