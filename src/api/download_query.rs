//! Parses download queries and checks switches, node, recordId and rights.

use std::sync::Arc;

use super::code::ResultCode;
use super::download::{AUDIO, DownloadRequest, Media, VIDEO};
use super::gateway::{Gateway, RequestContext};
use super::interfaces::Interface;
use super::router::{is_misspelt, parameter, parameter_or_empty};
use crate::config::DownloadScope;
use crate::recording::{Invalid, RecordId, RecordKind, Target};
use crate::session::AgentId;

/// A parsed query, or the code of its first error.
type Parsed = Result<DownloadRequest, ResultCode>;

impl Gateway {
    /// Parses the query of a download interface, or returns the code of the first error.
    pub(super) fn parse_download(
        &self,
        context: &RequestContext,
        agent: AgentId,
        query: &str,
    ) -> Parsed {
        match context.interface {
            Interface::DownloadRecordFile => self.parse_record_file_query(context, agent, query),
            Interface::RecordFileDownloadEx => self.parse_call_query(context, agent, query),
            _ => self.parse_video_query(context, agent, query),
        }
    }

    /// `videofiledownloadEx`.
    fn parse_video_query(&self, context: &RequestContext, agent: AgentId, query: &str) -> Parsed {
        let settings = &self.settings;
        if !settings.video_download {
            return Err(ResultCode::DOWNLOAD_OFF);
        }
        if !settings.support_video {
            return Err(ResultCode::VIDEO_OFF);
        }
        let location = self.location(context, query)?;
        if let Some(record_id) = self.record_id(query, "recordId", &VIDEO)? {
            return self.locate(context, agent, location, record_id, &VIDEO);
        }
        let mount = Arc::clone(
            self.mounts
                .find(location, settings.mapping_disk)
                .ok_or(VIDEO.no_mount)?,
        );
        let suffixes = settings.video_suffixes.clone();
        Ok(DownloadRequest {
            mount,
            target: Target::Latest {
                agent: agent.number(),
                suffixes,
            },
            allowed: true,
            media: &VIDEO,
        })
    }

    /// `recordfile`. `filetype` 1, the default, is a call, 2 a message; it must match the path.
    fn parse_record_file_query(
        &self,
        context: &RequestContext,
        agent: AgentId,
        query: &str,
    ) -> Parsed {
        if !self.settings.record_download {
            return Err(ResultCode::RECORDING_OFF);
        }
        let location = self.location(context, query)?;
        let file_type = parameter(query, "filetype").map_err(|_| ResultCode::INVALID_PARAMETER)?;
        let asks_for_message = match file_type.as_deref() {
            None | Some("" | "1") => false,
            Some("2") => true,
            Some(_) => return Err(ResultCode::INVALID_PARAMETER),
        };
        let record_id = self
            .record_id(query, "recordId", &AUDIO)?
            .ok_or(ResultCode::INVALID_RECORD_ID)?;
        if asks_for_message != (record_id.kind() == RecordKind::Message) {
            return Err(ResultCode::INVALID_RECORD_ID);
        }
        self.locate(context, agent, location, record_id, &AUDIO)
    }

    /// `recordfiledownloadEx`: the video named by `hwFileName`. Without it the request is for a
    /// call's voice recording, which only another product's server could look up.
    fn parse_call_query(&self, context: &RequestContext, agent: AgentId, query: &str) -> Parsed {
        if !self.settings.video_download {
            return Err(ResultCode::DOWNLOAD_OFF);
        }
        let location = self.location(context, query)?;
        if parameter_or_empty(query, "callId").is_empty() {
            return Err(ResultCode::INVALID_PARAMETER);
        }
        let record_id = self
            .record_id(query, "hwFileName", &VIDEO)?
            .ok_or(AUDIO.missing)?;
        self.locate(context, agent, location, record_id, &VIDEO)
    }

    /// The node of a pool, documented as an int.
    pub(super) fn location(
        &self,
        context: &RequestContext,
        query: &str,
    ) -> Result<Option<u32>, ResultCode> {
        if !self.settings.pool_mode {
            return Ok(None);
        }
        let location = parameter_or_empty(query, "locationId")
            .parse()
            .ok()
            .filter(|&location| self.mounts.has_location(location))
            .ok_or(ResultCode::NO_LOCATION)?;
        context.trail().note_location(location);
        Ok(Some(location))
    }

    /// The recordId in the query parameter `name`; `None` if absent or empty.
    pub(super) fn record_id(
        &self,
        query: &str,
        name: &str,
        media: &Media,
    ) -> Result<Option<RecordId>, ResultCode> {
        // Otherwise a misspelt parameter would silently select the latest recording.
        if is_misspelt(query, name) {
            return Err(ResultCode::INVALID_RECORD_ID);
        }
        let text = parameter(query, name).map_err(|_| ResultCode::INVALID_RECORD_ID)?;
        text.filter(|text| !text.is_empty())
            .map(|text| self.parse_record_id(&text, media))
            .transpose()
    }

    /// Parses a recordId for this kind of recording.
    pub(super) fn parse_record_id(
        &self,
        text: &str,
        media: &Media,
    ) -> Result<RecordId, ResultCode> {
        RecordId::parse(text, (media.suffixes)(&self.settings)).map_err(|invalid| match invalid {
            Invalid::Suffix => media.wrong_suffix,
            Invalid::TooLong | Invalid::Drive | Invalid::Path => ResultCode::INVALID_RECORD_ID,
        })
    }

    /// Finds the mount of the recording, and whether the agent may download it.
    pub(super) fn locate(
        &self,
        context: &RequestContext,
        agent: AgentId,
        location: Option<u32>,
        record_id: RecordId,
        media: &'static Media,
    ) -> Parsed {
        context.trail().note_record(record_id.path());
        let mount = Arc::clone(
            self.mounts
                .find(location, record_id.drive())
                .ok_or(media.no_mount)?,
        );
        let allowed = self.may_download(agent, record_id.owner());
        Ok(DownloadRequest {
            mount,
            target: Target::Path(record_id.into_path()),
            allowed,
            media,
        })
    }

    fn may_download(&self, agent: AgentId, owner: Option<u32>) -> bool {
        self.settings.download_scope == DownloadScope::All
            || owner == Some(agent.number())
            || self.roster().is_inspector(agent)
    }
}
