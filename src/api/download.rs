//! Downloads. All interfaces share this code; they differ in their parameters (`download_query`)
//! and in [`Media`].

use std::sync::Arc;
use std::time::Instant;

use super::access::Caller;
use super::code::ResultCode;
use super::deferred::{Answer, Deferred, Ticket};
use super::gateway::{Gateway, RequestContext};
use super::interfaces::Interface;
use super::reply::{EMPTY_TEXT, Reply};
use super::request::{HeaderName, Headers, Request};
use crate::config::Settings;
use crate::recording::{
    Conditions, Download, Mount, OpenError, OpenRequest, Selection, Target, Video, attachment,
};
use crate::session::{AgentId, Roster};

/// The type of a recording, spelled as the vendor's page does.
const OCTETS: &str = "application/octet-stream;charset=utf-8";

/// What differs between videos and voice recordings: suffixes and result codes.
pub(super) struct Media {
    /// Allowed suffixes.
    pub(super) suffixes: fn(&Settings) -> &[String],
    /// The code for any other suffix.
    pub(super) wrong_suffix: ResultCode,
    /// No mount directory for the drive.
    pub(super) no_mount: ResultCode,
    /// The mount is absent, not mounted, or silent.
    mount_lost: ResultCode,
    /// No such recording.
    pub(super) missing: ResultCode,
    /// It exists and cannot be read.
    unreadable: ResultCode,
}

/// Videos, with the 108 group.
pub(super) static VIDEO: Media = Media {
    suffixes: |settings| &settings.video_suffixes,
    wrong_suffix: ResultCode::INVALID_RECORD_ID,
    no_mount: ResultCode::NO_MOUNT,
    mount_lost: ResultCode::MOUNT_LOST,
    missing: ResultCode::NO_RECORDING,
    unreadable: ResultCode::UNREADABLE,
};

/// Voice recordings, with the 104 group. Its one code for a recording that cannot be fetched covers
/// both a lost mount and an unreadable file; "does not exist" would make clients forget the
/// recording.
pub(super) static AUDIO: Media = Media {
    suffixes: |settings| &settings.audio_suffixes,
    wrong_suffix: ResultCode::NOT_AUDIO,
    no_mount: ResultCode::NO_DRIVE,
    mount_lost: ResultCode::NOT_FETCHED,
    missing: ResultCode::NO_AUDIO,
    unreadable: ResultCode::NOT_FETCHED,
};

/// A download request that has passed every check that needs no file server.
pub(super) struct DownloadRequest {
    pub(super) mount: Arc<Mount>,
    pub(super) target: Target,
    /// Whether the agent may download it.
    pub(super) allowed: bool,
    pub(super) media: &'static Media,
}

impl Gateway {
    /// Checks in the order of design.md section 5, then starts the download.
    pub(super) fn download(
        &self,
        context: &RequestContext,
        caller: Caller,
        request: &Request<'_>,
    ) -> Answer {
        match self.parse_download(context, caller.agent, request.query) {
            Ok(download) => self.start_download(caller, download, request.headers),
            Err(code) => rejected(context.interface, code).into(),
        }
    }

    /// Answers with the recording, or the range that the headers ask for.
    pub(super) fn start_download(
        &self,
        caller: Caller,
        request: DownloadRequest,
        headers: &Headers,
    ) -> Answer {
        let header = |name| headers.value(name).map(str::to_owned);
        let conditions = Conditions {
            if_match: header(HeaderName::IfMatch),
            if_unmodified_since: header(HeaderName::IfUnmodifiedSince),
            range: header(HeaderName::Range),
            if_range: header(HeaderName::IfRange),
        };
        let roster = self.roster();
        let Caller { agent, now, .. } = caller;
        open(request, conditions, now, move |gateway, context, video| {
            gateway.answer_with_recording(context, agent, &roster, video)
        })
    }

    fn answer_with_recording(
        &self,
        context: &RequestContext,
        agent: AgentId,
        roster: &Roster,
        video: Video,
    ) -> Answer {
        // Only known now if the request had no recordId.
        context.trail().note_record(video.path());
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
            Selection::Part(range) => context.trail().note_range(range),
            Selection::Whole => {}
        }
        let Some(permit) = self
            .downloads
            .acquire(agent.number(), self.mounts.stalled())
        else {
            return Reply::busy().into();
        };
        // A reload may have revoked the right while the file server was busy. Checked with the
        // permit in hand, so that a later reload finds the download.
        if !roster.is_unchanged(agent, &self.roster()) {
            return Reply::rejected(ResultCode::NOT_SIGNED_IN).into();
        }
        Answer::Download(
            download_head(&video),
            Box::new(Download::new(video, permit)),
        )
    }
}

/// Opens the recording, if the agent may download it, and calls `then` with it.
pub(super) fn open(
    request: DownloadRequest,
    conditions: Conditions,
    now: Instant,
    then: impl FnOnce(&Gateway, &RequestContext, Video) -> Answer + Send + 'static,
) -> Answer {
    let DownloadRequest {
        mount,
        target,
        allowed,
        media,
    } = request;
    if !allowed {
        // A lost mount takes precedence; the recording itself is not touched.
        let until = now + mount.probe_timeout();
        return wait_for_mount(until, media, move |_, ticket| {
            mount.probe(move |answer| {
                ticket.complete(move |_, context| match answer {
                    Ok(()) => rejected(context.interface, ResultCode::NOT_OWN_RECORDING).into(),
                    Err(lost) => open_failed(context, media, &OpenError::Unavailable(lost)),
                });
            });
        });
    }
    let until = now + mount.open_timeout(&target);
    wait_for_mount(until, media, move |_, ticket| {
        mount.open(OpenRequest { target, conditions }, move |opened| {
            ticket.complete(move |gateway, context| match opened {
                Ok(video) => then(gateway, context, video),
                Err(error) => open_failed(context, media, &error),
            });
        });
    })
}

/// A failure with the `result` that the interface's clients expect: `""` for downloads, as
/// documented, and `{}` for `localrecordpath`, whose only known client casts it to an object.
pub(super) fn rejected(interface: Interface, code: ResultCode) -> Reply {
    match interface {
        Interface::GetLocalRecordPath => Reply::error(200, code, Some("{}")),
        Interface::DownloadVideoFileEx
        | Interface::DownloadRecordFile
        | Interface::RecordFileDownloadEx => Reply::error(200, code, EMPTY_TEXT),
        _ => Reply::rejected(code),
    }
}

fn open_failed(context: &RequestContext, media: &Media, error: &OpenError) -> Answer {
    context.trail().note_failure(error);
    let code = match error {
        OpenError::Busy => return Reply::busy().into(),
        OpenError::NotFound => media.missing,
        OpenError::Unreadable(_) => media.unreadable,
        OpenError::Unavailable(_) => media.mount_lost,
    };
    rejected(context.interface, code).into()
}

/// Defers the answer until `until`, while the mount's own threads query the file server.
fn wait_for_mount(
    until: Instant,
    media: &'static Media,
    start: impl FnOnce(&Gateway, Ticket) + Send + 'static,
) -> Answer {
    let timed_out = |_: &Gateway, context: &RequestContext| {
        rejected(context.interface, media.mount_lost).into()
    };
    Answer::Deferred(Deferred::until_event(until, timed_out, start))
}

fn download_head(video: &Video) -> Reply {
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
