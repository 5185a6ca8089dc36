//! The two-step download of quality control: `localrecordpath` returns a token and a path,
//! `recordfile` takes them.
//!
//! The only known client writes whatever the second step returns into a sound file. So the first
//! step makes every check it can and even opens the recording.

use std::time::Instant;

use super::access::Caller;
use super::code::ResultCode;
use super::deferred::Answer;
use super::download::{AUDIO, DownloadRequest, open, rejected};
use super::gateway::{Gateway, RequestContext};
use super::reply::Reply;
use super::request::Request;
use super::router::parameter_or_empty;
use crate::recording::{Conditions, RecordId};
use crate::session::AgentId;

impl Gateway {
    /// `localrecordpath`. `format` requests a conversion and is ignored: the file is sent
    /// unchanged.
    pub(super) fn local_record_path(
        &self,
        context: &RequestContext,
        caller: Caller,
        query: &str,
    ) -> Answer {
        match self.parse_local_path_query(context, caller.agent, query) {
            Ok((path, asked)) => open(
                asked,
                Conditions::default(),
                caller.now,
                move |gateway, context, _| gateway.issue_path_token(context, caller, &path).into(),
            ),
            Err(code) => rejected(context.interface, code).into(),
        }
    }

    fn parse_local_path_query(
        &self,
        context: &RequestContext,
        agent: AgentId,
        query: &str,
    ) -> Result<(String, DownloadRequest), ResultCode> {
        if !self.settings.record_download {
            return Err(ResultCode::RECORDING_OFF);
        }
        let location = self.location(context, query)?;
        let record_id = self
            .record_id(query, "recordId", &AUDIO)?
            .ok_or(ResultCode::INVALID_RECORD_ID)?;
        let path = local_path(location, &record_id);
        Ok((
            path,
            self.locate(context, agent, location, record_id, &AUDIO)?,
        ))
    }

    fn issue_path_token(&self, context: &RequestContext, caller: Caller, path: &str) -> Reply {
        let session = caller.authenticated.session;
        match self
            .tokens
            .issue(caller.agent, session, path, Instant::now())
        {
            Ok(token) => {
                let path = serde_json::Value::from(path);
                Reply::result(&format!(
                    r#"{{"token":"{}","localRecordPath":{path}}}"#,
                    token.expose()
                ))
            }
            Err(error) => {
                log::error!("cannot issue a download token: {error}");
                rejected(context.interface, ResultCode::INTERNAL)
            }
        }
    }

    /// `recordfile` of quality control.
    pub(super) fn local_record_file(
        &self,
        context: &RequestContext,
        caller: Caller,
        request: &Request<'_>,
    ) -> Answer {
        let Caller {
            agent,
            authenticated,
            now,
        } = caller;
        if !self.settings.record_download {
            return rejected(context.interface, ResultCode::RECORDING_OFF).into();
        }
        let path = parameter_or_empty(request.query, "localRecordPath");
        let token = parameter_or_empty(request.query, "token");
        let asked = self.parse_local_path(&path);
        // Logged even if the token is invalid.
        if let Ok((location, record_id)) = &asked {
            context.trail().note_record(record_id.path());
            location
                .iter()
                .for_each(|&location| context.trail().note_location(location));
        }
        if !self
            .tokens
            .redeem(agent, authenticated.session, &token, &path, now)
        {
            return Gateway::delayed(now, Reply::rejected(ResultCode::NO_RIGHT));
        }
        // Rights are checked again: they may have changed since the token was issued.
        match asked.and_then(|(location, record_id)| {
            self.locate(context, agent, location, record_id, &AUDIO)
        }) {
            Ok(asked) => self.start_download(caller, asked, request.headers),
            Err(code) => rejected(context.interface, code).into(),
        }
    }

    fn parse_local_path(&self, path: &str) -> Result<(Option<u32>, RecordId), ResultCode> {
        let (location, record_id) = match path.split_once('/') {
            Some((location, rest)) if self.settings.pool_mode => (
                Some(location.parse().map_err(|_| ResultCode::NO_LOCATION)?),
                rest,
            ),
            _ => (None, path),
        };
        Ok((location, self.parse_record_id(record_id, &AUDIO)?))
    }
}

/// The recordId with forward slashes, in pool mode prefixed with its node, since the second step
/// has no locationId. The only known client names its file after the part behind the last slash.
fn local_path(location: Option<u32>, record_id: &RecordId) -> String {
    location.map_or_else(
        || record_id.to_string(),
        |location| format!("{location}/{record_id}"),
    )
}
