//! `GET /recordfile/{id}/videofiledownloadEx`: the video.

use std::sync::Arc;
use std::time::Instant;

use super::code::ResultCode;
use super::gateway::Gateway;
use super::deferred::{Answer, Deferred};
use super::reply::Reply;
use super::request::{HeaderName, Request};
use super::router::parameter;
use crate::config::DownloadScope;
use crate::recording::{Ask, Download, Mount, OpenError, Pending, RecordId, Selection, Video, Wanted, attachment};
use crate::session::{AgentId, Role};

/// The type of a video, spelled as the vendor's page does.
const OCTETS: &str = "application/octet-stream;charset=utf-8";

/// What a download asks for, once everything that needs no file server has been checked.
struct Target {
    mount: Arc<Mount>,
    wanted: Wanted,
    /// Whether the agent may have it.
    allowed: bool,
}

impl Gateway {
    /// The checks of design.md section 5, in its order.
    pub(super) fn download(&self, agent: AgentId, request: &Request<'_>, now: Instant) -> Answer {
        if let Err(answer) = self.authenticate(agent, request, now) {
            return answer;
        }
        let Target { mount, wanted, allowed } = match self.target(agent, request.query) {
            Ok(target) => target,
            Err(code) => return Reply::rejected(code).into(),
        };
        if !allowed {
            // Whether the file server is there comes first; nothing of the recording is touched.
            return wait(mount.probe(), |_, answer| match answer {
                Ok(()) => Reply::rejected(ResultCode::NOT_OWN_RECORDING).into(),
                Err(_) => Reply::rejected(ResultCode::MOUNT_LOST).into(),
            });
        }
        let field = |field| request.headers.value(field).map(str::to_owned);
        let ask = Ask { wanted, range: field(HeaderName::Range), if_range: field(HeaderName::IfRange) };
        wait(mount.open(ask), move |gateway, opened| gateway.hand_over(agent, opened))
    }

    fn target(&self, agent: AgentId, query: &str) -> Result<Target, ResultCode> {
        let settings = &self.settings;
        if !settings.video_download {
            return Err(ResultCode::DOWNLOAD_OFF);
        }
        if !settings.support_video {
            return Err(ResultCode::VIDEO_OFF);
        }
        let location = if settings.pool_mode { Some(self.location(query)?) } else { None };
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
                Target { mount, wanted: Wanted::At(record_id.into_path()), allowed }
            }
            None => {
                let suffixes = settings.video_suffixes.clone();
                Target { mount, wanted: Wanted::Latest { agent: agent.number(), suffixes }, allowed: true }
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
            Err(error) => {
                return Reply::rejected(match error {
                    OpenError::Unavailable => ResultCode::MOUNT_LOST,
                    OpenError::NotFound => ResultCode::NO_RECORDING,
                    OpenError::Unreadable => ResultCode::UNREADABLE,
                })
                .into();
            }
        };
        if video.selection() == Selection::Unsatisfiable {
            return Reply::http_error(416, ResultCode::INVALID_PARAMETER)
                .with("Content-Range", format!("bytes */{}", video.length()))
                .with("Accept-Ranges", "bytes")
                .with("ETag", video.etag().as_str())
                .into();
        }
        match self.downloads.take(agent.number(), self.mounts.stalled()) {
            Some(permit) => Answer::Download(head(&video), Box::new(Download::new(video, permit))),
            None => Reply::busy().into(),
        }
    }
}

/// A file server is asked by threads of its own; the client's thread waits for them.
fn wait<T: Send + 'static>(pending: Pending<T>, finish: impl FnOnce(&Gateway, T) -> Answer + Send + 'static) -> Answer {
    let delivered = Arc::clone(pending.delivered());
    let until = pending.deadline();
    Answer::Deferred(Deferred::until_event(
        until,
        |_, _| Reply::rejected(ResultCode::MOUNT_LOST).into(),
        move |_, ticket| {
            delivered.when_raised(move || ticket.complete(move |gateway, _| finish(gateway, pending.take())));
        },
    ))
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
