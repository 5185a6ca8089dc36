//! The result codes of the interface: `retcode` and its message.
//!
//! Numbers and meanings are the vendor's (protocol facts, section 2). For the 108 group only the
//! numbers are documented; their meanings are this project's assignment.

/// A result code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultCode {
    wire: &'static str,
    message: &'static str,
}

macro_rules! codes {
    ($(#[doc = $meaning:literal] $name:ident = $wire:literal, $message:literal;)*) => {
        impl ResultCode {
            $(
                #[doc = $meaning]
                pub const $name: ResultCode = ResultCode { wire: $wire, message: $message };
            )*

            /// Every code this server sends, in the order of their numbers.
            pub const ALL: &'static [ResultCode] = &[$(ResultCode::$name),*];

            /// When each code is sent, for the documentation, in the order of [`ResultCode::ALL`].
            pub const MEANINGS: &'static [&'static str] = &[$($meaning),*];
        }
    };
}

// The comment on each code is also its meaning in docs/api.md.
codes! {
    /// The request was carried out.
    SUCCESS = "0", "success";
    /// Events are polled by each agent for itself; there is no poll for those of all agents. Answered after half a second.
    WRONG_EVENT_METHOD = "000-001", "events are polled by each agent for itself";
    /// The agent id, the path, the method or the request as a whole is invalid.
    INVALID_PARAMETER = "000-002", "a URL or interface parameter is invalid";
    /// The Guid is missing, wrong or expired. Answered after half a second.
    NO_RIGHT = "000-003", "no right to invite resource";
    /// Too much of this at once: downloads, sign-ins or requests altogether. Sent with HTTP 503.
    BUSY = "000-007", "too many requests of this kind at once, try again later";
    /// A field of a sign-in, or the `service_token` of a handshake, is empty or invalid.
    INVALID_SIGN_IN = "100-001", "a sign-in parameter is empty or invalid";
    /// The agent has signed in already; `forcelogin` replaces its session.
    ALREADY_SIGNED_IN = "100-002", "the agent has signed in already";
    /// The agent is unknown or the password is wrong. The two are not told apart.
    WRONG_PASSWORD = "100-004", "the agent or the password is wrong";
    /// The reason of a sign-out is not 1 to 255.
    INVALID_SIGN_OUT = "100-005", "a sign-out parameter is invalid";
    /// The agent has no session. Answered after half a second.
    NOT_SIGNED_IN = "100-006", "the agent has not signed in";
    /// Something failed inside the gateway. The log has the details.
    INTERNAL = "100-007", "an internal error occurred";
    /// The state of the agent does not permit this, for instance `cancelbusy` when not busy.
    WRONG_STATE = "100-009", "the state of the agent does not permit this";
    /// A sign-in of this agent from this address is still running.
    SIGNING_IN = "100-021", "a sign-in of the agent is still running";
    /// Agents sign in by their ids; there are no accounts. Answered after half a second.
    NO_ACCOUNTS = "100-060", "there are no accounts, sign in by agent id";
    /// Audio: `RECORD_DOWNLOAD_FLAG` is not ON.
    RECORDING_OFF = "104-001", "the recording download is switched off";
    /// The recording is another agent's, and this agent is not an inspector.
    NOT_OWN_RECORDING = "104-002", "no right to the recording of another agent";
    /// The recordId is not the path of a recording of that kind, or the query nearly names it.
    INVALID_RECORD_ID = "104-003", "the recording file name is invalid";
    /// Audio: no mount directory is configured for the drive.
    NO_DRIVE = "104-004", "no mount directory is configured for the drive of the recording";
    /// Audio: there is no such recording.
    NO_AUDIO = "104-005", "the recording file does not exist";
    /// Audio: the file has none of the suffixes in `AUDIO_FILE_SUFFIXES`.
    NOT_AUDIO = "104-007", "the format of the recording is not supported";
    /// Pool mode: the locationId is missing, or no such node is configured.
    NO_LOCATION = "104-010", "the recording node is not given or not configured";
    /// Audio: the file server does not answer, or the recording cannot be read, is not a regular file, or is empty.
    NOT_FETCHED = "104-012", "the recording cannot be fetched from its file server";
    /// `VIDEO_DOWNLOAD_FLAG` is not ON.
    DOWNLOAD_OFF = "108-001", "the video download is switched off";
    /// `IF_SUPPORT_VIDEO` is not ON.
    VIDEO_OFF = "108-002", "video is not supported";
    /// There is no such recording.
    NO_RECORDING = "108-009", "the recording does not exist";
    /// No mount directory is configured for the drive.
    NO_MOUNT = "108-011", "no mount directory is configured for the recording";
    /// The mount directory is absent, not mounted, or does not answer.
    MOUNT_LOST = "108-012", "the file server does not answer";
    /// The recording cannot be read, is not a regular file, or is empty.
    UNREADABLE = "108-013", "the recording cannot be read";
    /// Agent and address are locked after failed sign-ins.
    LOCKED = "110-016", "the agent is locked after failed sign-ins, try again later";
}

impl ResultCode {
    /// The value of `retcode`, such as `000-003`.
    pub fn wire(self) -> &'static str {
        self.wire
    }

    /// The message, for humans; clients act on the code alone.
    pub fn message(self) -> &'static str {
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_plain() {
        assert!(
            ResultCode::ALL
                .windows(2)
                .all(|pair| pair[0].wire < pair[1].wire)
        );
        for code in ResultCode::ALL {
            assert!(code.message.bytes().all(|byte| matches!(
                byte,
                b' ' | b',' | b'a'..=b'z' | b'I' | b'U' | b'R' | b'L' | b'-'
            )));
        }
    }
    #[test]
    fn each_code_has_a_sentence_of_its_own_and_a_meaning() {
        let messages: Vec<_> = ResultCode::ALL.iter().map(|code| code.message()).collect();
        for (index, message) in messages.iter().enumerate() {
            assert!(message.len() > 6 && !messages[..index].contains(message));
        }
        assert_eq!(ResultCode::SUCCESS.message(), "success");
        assert_eq!(ResultCode::MEANINGS.len(), messages.len());
    }
}
