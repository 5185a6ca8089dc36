//! `GET /recordfile/{id}/videofiledownloadEx`: the video.

use std::sync::Arc;
use std::time::Instant;

use super::code::ResultCode;
use super::deferred::{Answer, Deferred, Ticket};
use super::gateway::{Gateway, RequestContext};
use super::reply::{FailureResult, Reply};
use super::request::{HeaderName, Request};
use super::router::{is_misspelt, parameter};
use crate::config::DownloadScope;
use crate::recording::{
    Conditions, Download, Mount, OpenError, OpenRequest, RecordId, Selection, Target, Video, attachment,
};
use crate::session::{AgentId, Role};

/// The type of a video, spelled as the vendor's page does.
const OCTETS: &str = "application/octet-stream;charset=utf-8";

/// What a download asks for, once everything that needs no file server has been checked.
struct Asked {
    mount: Arc<Mount>,
    target: Target,
    /// Whether the agent may have it.
    allowed: bool,
}

impl Gateway {
    /// The checks of design.md section 5, in its order.
    pub(super) fn download(&self, agent: AgentId, request: &Request<'_>, now: Instant) -> Answer {
        if let Err(answer) = self.authenticate(agent, request, now) {
            return answer;
        }
        let Asked { mount, target, allowed } = match self.asked(agent, request.query) {
            Ok(asked) => asked,
            Err(code) => return refused(code),
        };
        if !allowed {
            // Whether the file server is there comes first; nothing of the recording is touched.
            let until = now + mount.probe_timeout();
            return wait_for_mount(until, move |_, ticket| {
                mount.probe(move |answer| {
                    ticket.complete(move |_, _| {
                        refused(match answer {
                            Ok(()) => ResultCode::NOT_OWN_RECORDING,
                            Err(_) => ResultCode::MOUNT_LOST,
                        })
                    });
                });
            });
        }
        let header = |name| request.headers.value(name).map(str::to_owned);
        let conditions = Conditions {
            if_match: header(HeaderName::IfMatch),
            if_unmodified_since: header(HeaderName::IfUnmodifiedSince),
            range: header(HeaderName::Range),
            if_range: header(HeaderName::IfRange),
        };
        let until = now + mount.open_timeout(&target);
        wait_for_mount(until, move |_, ticket| {
            mount.open(OpenRequest { target, conditions }, move |opened| {
                ticket.complete(move |gateway, _| gateway.hand_over(agent, opened));
            });
        })
    }

    fn asked(&self, agent: AgentId, query: &str) -> Result<Asked, ResultCode> {
        let settings = &self.settings;
        if !settings.video_download {
            return Err(ResultCode::DOWNLOAD_OFF);
        }
        if !settings.support_video {
            return Err(ResultCode::VIDEO_OFF);
        }
        let location = if settings.pool_mode { Some(self.location(query)?) } else { None };
        // Such a query would mean the latest recording, which its client does not want.
        if is_misspelt(query, "recordId") {
            return Err(ResultCode::INVALID_RECORD_ID);
        }
        let record_id = parameter(query, "recordId").map_err(|_| ResultCode::INVALID_RECORD_ID)?;
        let record_id = match record_id.filter(|text| !text.is_empty()) {
            Some(text) => {
                Some(RecordId::parse(&text, &settings.video_suffixes).map_err(|_| ResultCode::INVALID_RECORD_ID)?)
            }
            None => None,
        };
        let drive = record_id.as_ref().map_or(settings.mapping_disk, RecordId::drive);
        let mount = Arc::clone(self.mounts.find(location, drive).ok_or(ResultCode::NO_MOUNT)?);
        Ok(match record_id {
            Some(record_id) => {
                let allowed = self.may_have(agent, record_id.owner());
                Asked { mount, target: Target::Path(record_id.into_path()), allowed }
            }
            None => {
                let suffixes = settings.video_suffixes.clone();
                Asked { mount, target: Target::Latest { agent: agent.number(), suffixes }, allowed: true }
            }
        })
    }

    /// The node of a pool; the interface has it as an int.
    fn location(&self, query: &str) -> Result<u32, ResultCode> {
        let text = parameter(query, "locationId").ok().flatten();
        text.and_then(|text| text.parse().ok())
            .filter(|&location| self.mounts.has_location(location))
            .ok_or(ResultCode::NO_LOCATION)
    }

    fn may_have(&self, agent: AgentId, owner: Option<u32>) -> bool {
        self.settings.download_scope == DownloadScope::All
            || owner == Some(agent.number())
            || self.roster().agent(agent).is_some_and(|entry| entry.role == Role::Inspector)
    }

    fn hand_over(&self, agent: AgentId, opened: Result<Video, OpenError>) -> Answer {
        let video = match opened {
            Ok(video) => video,
            Err(OpenError::Busy) => return Reply::busy().into(),
            Err(error) => {
                return refused(match error {
                    OpenError::NotFound => ResultCode::NO_RECORDING,
                    OpenError::Unreadable(_) => ResultCode::UNREADABLE,
                    _ => ResultCode::MOUNT_LOST,
                });
            }
        };
        match video.selection() {
            Selection::Unsatisfiable => {
                return Reply::http_error(416, ResultCode::INVALID_PARAMETER)
                    .with("Content-Range", format!("bytes */{}", video.length()))
                    .with("Accept-Ranges", "bytes")
                    .with("ETag", video.etag().as_str())
                    .into();
            }
            Selection::PreconditionFailed => {
                return Reply::http_error(412, ResultCode::INVALID_PARAMETER)
                    .with("Accept-Ranges", "bytes")
                    .with("ETag", video.etag().as_str())
                    .with("Last-Modified", video.last_modified())
                    .into();
            }
            Selection::Whole | Selection::Part(_) => {}
        }
        match self.downloads.take(agent.number(), self.mounts.stalled()) {
            Some(permit) => Answer::Download(head(&video), Box::new(Download::new(video, permit))),
            None => Reply::busy().into(),
        }
    }
}

/// The failures of this interface have the result of their documented sample.
fn refused(code: ResultCode) -> Answer {
    Reply::failure(200, code, FailureResult::EmptyText).into()
}

/// A file server is asked by threads of its own, and has until then.
fn wait_for_mount(until: Instant, start: impl FnOnce(&Gateway, Ticket) + Send + 'static) -> Answer {
    let timed_out = |_: &Gateway, _: &RequestContext| refused(ResultCode::MOUNT_LOST);
    Answer::Deferred(Deferred::until_event(until, timed_out, start))
}

fn head(video: &Video) -> Reply {
    let (status, range) = match video.selection() {
        Selection::Part(range) => (206, Some(range.content_range(video.length()))),
        _ => (200, None),
    };
    let reply = Reply::new(status, ResultCode::SUCCESS, OCTETS, String::new())
        .with("Accept-Ranges", "bytes")
        .with("ETag", video.etag().as_str())
        .with("Last-Modified", video.last_modified())
        .with("Content-Disposition", attachment(video.name()))
        .with("X-Content-Type-Options", "nosniff");
    match range {
        Some(range) => reply.with("Content-Range", range),
        None => reply,
    }
}
