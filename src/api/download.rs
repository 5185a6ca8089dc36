//! `GET /recordfile/{id}/videofiledownloadEx`: the video.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::code::ResultCode;
use super::gateway::Gateway;
use super::later::{Answer, Later};
use super::reply::Reply;
use super::request::{Field, Request};
use super::router::parameter;
use crate::config::DownloadScope;
use crate::ops::latch::Parcel;
use crate::recording::{
    Conditions, Download, Lost, Mount, OpenError, OpenRequest, RecordId, Selection, Target, Video, attachment,
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
        if let Err(answer) = self.admit(agent, request, now) {
            return answer;
        }
        let Asked { mount, target, allowed } = match self.asked(agent, request.query) {
            Ok(asked) => asked,
            Err(code) => return Reply::failure(code).into(),
        };
        if !allowed {
            // Whether the file server is there comes first; nothing of the recording is touched.
            let parcel = Arc::new(Parcel::default());
            let (answer, within) = (Arc::clone(&parcel), mount.probe_timeout());
            mount.probe(move |result| answer.deliver(result));
            return wait(parcel, within, Err(Lost::Silent), |_, result| match result {
                Ok(()) => Reply::failure(ResultCode::NOT_OWN_RECORDING).into(),
                Err(_) => Reply::failure(ResultCode::MOUNT_LOST).into(),
            });
        }
        let field = |field| request.fields.value(field).map(str::to_owned);
        let conditions = Conditions {
            if_match: field(Field::IfMatch),
            if_unmodified_since: field(Field::IfUnmodifiedSince),
            range: field(Field::Range),
            if_range: field(Field::IfRange),
        };
        let parcel = Arc::new(Parcel::default());
        let (answer, within) = (Arc::clone(&parcel), mount.open_timeout(&target));
        mount.open(OpenRequest { target, conditions }, move |result| answer.deliver(result));
        let refusal = Err(OpenError::Unavailable(Lost::Silent));
        wait(parcel, within, refusal, move |gateway, opened| gateway.hand_over(agent, opened))
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
                return Reply::failure(match error {
                    OpenError::NotFound => ResultCode::NO_RECORDING,
                    OpenError::Unreadable(_) => ResultCode::UNREADABLE,
                    _ => ResultCode::MOUNT_LOST,
                })
                .into();
            }
        };
        match video.selection() {
            Selection::Unsatisfiable => {
                return Reply::fault(416, ResultCode::INVALID_PARAMETER)
                    .with("Content-Range", format!("bytes */{}", video.length()))
                    .with("Accept-Ranges", "bytes")
                    .with("ETag", video.etag().as_str())
                    .into();
            }
            Selection::PreconditionFailed => {
                return Reply::fault(412, ResultCode::INVALID_PARAMETER)
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

/// A file server is asked by threads of its own; the client's thread waits for them.
fn wait<T: Send + 'static>(
    parcel: Arc<Parcel<T>>,
    within: Duration,
    refusal: T,
    finish: impl FnOnce(&Gateway, T) -> Answer + Send + 'static,
) -> Answer {
    let delivered = Arc::clone(parcel.delivered());
    let finish = move |gateway: &Gateway, _: &_| finish(gateway, parcel.take().unwrap_or(refusal));
    Answer::Later(Later::when(delivered, Instant::now() + within, finish))
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
