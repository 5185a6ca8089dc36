//! Events delivered by polls, byte for byte as clients expect them (protocol facts, section 9.4).

use std::fmt::Write as _;

use super::agent::AgentId;

/// An event waiting for an agent's poll.
///
/// Small for state changes, which every session has; only recordings carry text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    kind: EventKind,
    epoch_ms: u64,
    content: Content,
}

/// The types of events this gateway sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EventKind {
    /// The first of every session.
    InService,
    /// The agent is idle.
    Ready,
    /// The agent is busy.
    SetNotReady,
    /// No longer busy.
    CancelNotReady,
    /// In wrap-up at the agent's request.
    SetWork,
    /// In wrap-up by the platform, as at a sign-in with `status` 5.
    Work,
    /// No longer in wrap-up.
    CancelWork,
    /// Resting.
    SetRest,
    /// No longer resting.
    CancelRest,
    /// The rest's time is up; the agent is still resting.
    RestTimeout,
    /// A recording of the agent has appeared.
    Record,
    /// A recording of the agent is complete.
    StopRecordDone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Null,
    /// `{"reason":"N"}`.
    Reason(u8),
    /// A JSON object.
    Object(Box<str>),
}

/// What was recorded. Determines types and order of an event's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// `fileMediaType` `"1"`, a string.
    Audio,
    /// `fileMediaType` `2`, a number.
    Video,
}

/// The content of [`Event::record`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordContent<'a> {
    /// Matches the event to its [`Event::stop_record_done`].
    pub(crate) task_id: u64,
    /// The caller's number; `""` if unknown.
    pub(crate) caller: &'a str,
    /// The called number; `""` if unknown.
    pub(crate) called: &'a str,
    /// The serial form, such as `Yc1v3a1203d20261124t0915307`, without the final dot of a video's.
    pub(crate) record_id: &'a str,
    /// The node, or 65535 outside pool mode.
    pub(crate) location_id: u32,
    /// The path to download the recording with.
    pub(crate) file_name: &'a str,
    /// The call, such as `1795511730-412`; `""` if unknown.
    pub(crate) call_id: &'a str,
}

/// The content of [`Event::stop_record_done`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct StopRecordContent<'a> {
    /// When the recording began, in milliseconds since 1970.
    pub(crate) begin_ms: u64,
    /// When it ended, in milliseconds since 1970.
    pub(crate) end_ms: u64,
    /// 0 default, 1 24K VOX, 2 32K VOX, 3 A-law.
    pub(crate) record_format: u8,
    /// As in the event of the recording.
    pub(crate) task_id: u64,
    /// As in the event of the recording.
    pub(crate) call_id: &'a str,
}

impl Event {
    /// An event without content. `epoch_ms` is the wall clock, in milliseconds since 1970.
    pub(crate) fn new(kind: EventKind, epoch_ms: u64) -> Event {
        Event {
            kind,
            epoch_ms,
            content: Content::Null,
        }
    }

    /// An event whose content is a reason, `"0"` for none.
    pub(crate) fn with_reason(kind: EventKind, reason: u8, epoch_ms: u64) -> Event {
        Event {
            kind,
            epoch_ms,
            content: Content::Reason(reason),
        }
    }

    /// `AgentMediaEvent_Record`.
    ///
    /// Keys are in the order of the documented samples. It differs between audio and video, as do
    /// the type of `fileMediaType` and the dot that ends a video's `recordID`.
    pub(crate) fn record(media: Media, content: &RecordContent<'_>, epoch_ms: u64) -> Event {
        let RecordContent {
            task_id,
            location_id,
            ..
        } = content;
        let [caller, called, file_name, call_id] = [
            content.caller,
            content.called,
            content.file_name,
            content.call_id,
        ]
        .map(quoted);
        let object = match media {
            Media::Audio => {
                let record_id = quoted(content.record_id);
                format!(
                    r#"{{"taskId":{task_id},"caller":{caller},"recordID":{record_id},"called":{called},"locationId":"{location_id}","fileName":{file_name},"fileMediaType":"1","callId":{call_id}}}"#
                )
            }
            Media::Video => {
                let record_id = quoted(&format!("{}.", content.record_id));
                format!(
                    r#"{{"recordID":{record_id},"callId":{call_id},"fileName":{file_name},"caller":{caller},"called":{called},"locationId":"{location_id}","taskId":{task_id},"fileMediaType":2}}"#
                )
            }
        };
        Event {
            kind: EventKind::Record,
            epoch_ms,
            content: Content::Object(object.into()),
        }
    }

    /// `AgentMediaEvent_StopRecordDone`. No sample for a video is public; its `fileMediaType` is a
    /// number, as in the event of the recording.
    pub(crate) fn stop_record_done(
        media: Media,
        content: &StopRecordContent<'_>,
        epoch_ms: u64,
    ) -> Event {
        let StopRecordContent {
            begin_ms,
            end_ms,
            record_format,
            task_id,
            ..
        } = content;
        let file_media_type = match media {
            Media::Audio => r#""1""#,
            Media::Video => "2",
        };
        let call_id = quoted(content.call_id);
        let object = format!(
            r#"{{"beginTime":{begin_ms},"endTime":{end_ms},"fileMediaType":{file_media_type},"recordFormat":"{record_format}","taskId":{task_id},"callId":{call_id}}}"#
        );
        Event {
            kind: EventKind::StopRecordDone,
            epoch_ms,
            content: Content::Object(object.into()),
        }
    }

    /// The type.
    #[cfg(test)]
    pub(crate) fn kind(&self) -> EventKind {
        self.kind
    }

    /// The body of the poll reply that delivers the event to `agent`.
    pub(crate) fn poll_body(&self, agent: AgentId) -> String {
        let mut body = format!(
            r#"{{"message":"","retcode":"0","event":{{"eventType":"{}","eventGenTime":{},"workNo":"{agent}","content":"#,
            self.kind.name(),
            self.epoch_ms,
        );
        // Writing to a String cannot fail.
        let _ = match &self.content {
            Content::Null => write!(body, "null}}}}"),
            Content::Reason(reason) => write!(body, r#"{{"reason":"{reason}"}}}}}}"#),
            Content::Object(object) => write!(body, "{object}}}}}"),
        };
        body
    }
}

impl EventKind {
    /// Every type.
    #[cfg(test)]
    pub(crate) const ALL: [EventKind; 12] = [
        EventKind::InService,
        EventKind::Ready,
        EventKind::SetNotReady,
        EventKind::CancelNotReady,
        EventKind::SetWork,
        EventKind::Work,
        EventKind::CancelWork,
        EventKind::SetRest,
        EventKind::CancelRest,
        EventKind::RestTimeout,
        EventKind::Record,
        EventKind::StopRecordDone,
    ];

    /// The value of `eventType`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            EventKind::InService => "AgentOther_InService",
            EventKind::Ready => "AgentState_Ready",
            EventKind::SetNotReady => "AgentState_SetNotReady_Success",
            EventKind::CancelNotReady => "AgentState_CancelNotReady_Success",
            EventKind::SetWork => "AgentState_SetWork_Success",
            EventKind::Work => "AgentState_Work",
            EventKind::CancelWork => "AgentState_CancelWork_Success",
            EventKind::SetRest => "AgentState_SetRest_Success",
            EventKind::CancelRest => "AgentState_CancelRest_Success",
            EventKind::RestTimeout => "AgentState_Rest_Timeout",
            EventKind::Record => "AgentMediaEvent_Record",
            EventKind::StopRecordDone => "AgentMediaEvent_StopRecordDone",
        }
    }
}

/// A JSON string. File names can hold anything but a slash and NUL.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agent() -> AgentId {
        AgentId::parse("1203", 59_999).unwrap()
    }

    const RECORDING: RecordContent<'_> = RecordContent {
        task_id: 6110,
        caller: "80021",
        called: "90044",
        record_id: "Yc1v3a1203d20261124t0915307",
        location_id: 65_535,
        file_name: "Y:/3/0/20261124/1203/0915307.V3",
        call_id: "1795511730-412",
    };

    #[test]
    fn events_have_the_bytes_of_the_documented_samples() {
        let video = RecordContent {
            file_name: "Y:/3/0/20261124/1203/0915307.mp4",
            ..RECORDING
        };
        let stop = StopRecordContent {
            begin_ms: 1_795_511_730_000,
            end_ms: 1_795_511_772_000,
            record_format: 3,
            task_id: 6110,
            call_id: "1795511730-412",
        };
        for (event, body) in [
            (
                Event::new(EventKind::InService, 1_795_511_730_412),
                r#"{"message":"","retcode":"0","event":{"eventType":"AgentOther_InService","eventGenTime":1795511730412,"workNo":"1203","content":null}}"#,
            ),
            (
                Event::with_reason(EventKind::SetNotReady, 210, 1_795_511_730_900),
                r#"{"message":"","retcode":"0","event":{"eventType":"AgentState_SetNotReady_Success","eventGenTime":1795511730900,"workNo":"1203","content":{"reason":"210"}}}"#,
            ),
            (
                Event::record(Media::Audio, &RECORDING, 1_795_511_730_412),
                r#"{"message":"","retcode":"0","event":{"eventType":"AgentMediaEvent_Record","eventGenTime":1795511730412,"workNo":"1203","content":{"taskId":6110,"caller":"80021","recordID":"Yc1v3a1203d20261124t0915307","called":"90044","locationId":"65535","fileName":"Y:/3/0/20261124/1203/0915307.V3","fileMediaType":"1","callId":"1795511730-412"}}}"#,
            ),
            (
                Event::record(Media::Video, &video, 1_795_511_730_412),
                r#"{"message":"","retcode":"0","event":{"eventType":"AgentMediaEvent_Record","eventGenTime":1795511730412,"workNo":"1203","content":{"recordID":"Yc1v3a1203d20261124t0915307.","callId":"1795511730-412","fileName":"Y:/3/0/20261124/1203/0915307.mp4","caller":"80021","called":"90044","locationId":"65535","taskId":6110,"fileMediaType":2}}}"#,
            ),
            (
                Event::stop_record_done(Media::Audio, &stop, 1_795_511_772_000),
                r#"{"message":"","retcode":"0","event":{"eventType":"AgentMediaEvent_StopRecordDone","eventGenTime":1795511772000,"workNo":"1203","content":{"beginTime":1795511730000,"endTime":1795511772000,"fileMediaType":"1","recordFormat":"3","taskId":6110,"callId":"1795511730-412"}}}"#,
            ),
        ] {
            assert_eq!(event.poll_body(agent()), body);
        }
        let stop = Event::stop_record_done(Media::Video, &stop, 0).poll_body(agent());
        assert!(
            stop.contains(r#""fileMediaType":2,"recordFormat""#),
            "{stop}"
        );
    }

    #[test]
    fn every_type_has_a_name_of_its_own_and_events_are_small() {
        let names: std::collections::HashSet<_> =
            EventKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), EventKind::ALL.len());
        assert!(size_of::<Event>() <= 40, "{}", size_of::<Event>());
    }

    proptest! {
        #[test]
        fn any_name_of_a_file_reads_back_as_it_is(file_name in any::<String>(), is_video in any::<bool>()) {
            let media = if is_video { Media::Video } else { Media::Audio };
            let content = RecordContent { file_name: &file_name, ..RECORDING };
            let body = Event::record(media, &content, 1).poll_body(agent());
            let read: serde_json::Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(read["event"]["content"]["fileName"].as_str(), Some(&*file_name));
        }
    }
}
