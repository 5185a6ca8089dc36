//! The result codes of the interface: what `retcode` says and the sentence beside it.
//!
//! The numbers and their meaning are the vendor's (protocol facts, section 2), except the 108 group, of
//! which only the set is documented: what each of them means here is this project's own assignment.

/// A result code, as it travels in `retcode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultCode {
    wire: &'static str,
    message: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal, $message:literal;)*) => {
        impl ResultCode {
            $($(#[$doc])* pub const $name: ResultCode = ResultCode { wire: $wire, message: $message };)*

            /// Every code this server sends, in the order of their numbers.
            pub const ALL: &'static [ResultCode] = &[$(ResultCode::$name),*];
        }
    };
}

codes! {
    /// The request was carried out.
    SUCCESS = "0", "success";
    /// A path, parameter or request is wrong.
    INVALID_PARAMETER = "000-002", "a URL or interface parameter is invalid";
    /// The Guid is missing, wrong or expired. The sentence is the one of the vendor's page.
    NO_RIGHT = "000-003", "no right to invite resource";
    /// Too much of this at once; try again later.
    BUSY = "000-007", "too many requests of this kind at once, try again later";
    /// The content of a sign-in, or a handshake token, is empty or invalid.
    INVALID_SIGN_IN = "100-001", "a sign-in parameter is empty or invalid";
    /// The agent has a session already; forcelogin replaces it.
    ALREADY_SIGNED_IN = "100-002", "the agent has signed in already";
    /// Agent unknown or password wrong; the two are not told apart.
    WRONG_PASSWORD = "100-004", "the agent or the password is wrong";
    /// The reason of a sign-out is invalid.
    INVALID_SIGN_OUT = "100-005", "a sign-out parameter is invalid";
    /// The agent has no session.
    NOT_SIGNED_IN = "100-006", "the agent has not signed in";
    /// Something failed inside the server.
    INTERNAL = "100-007", "an internal error occurred";
    /// The state of the agent does not permit what it wishes.
    WRONG_STATE = "100-009", "the state of the agent does not permit this";
    /// A sign-in of this agent is still being answered.
    SIGNING_IN = "100-021", "a sign-in of the agent is still running";
    /// The download of audio is switched off.
    RECORDING_OFF = "104-001", "the recording download is switched off";
    /// The recording is another agent's.
    NOT_OWN_RECORDING = "104-002", "no right to the recording of another agent";
    /// The recordId is not the path of a recording of the kind that the interface sends.
    INVALID_RECORD_ID = "104-003", "the recording file name is invalid";
    /// No mount directory is configured for the drive of an audio recording.
    NO_DRIVE = "104-004", "no mount directory is configured for the drive of the recording";
    /// No such audio recording.
    NO_AUDIO = "104-005", "the recording file does not exist";
    /// The file has no suffix of an audio recording.
    NOT_AUDIO = "104-007", "the format of the recording is not supported";
    /// The node id is missing in pool mode, or belongs to no configured node.
    NO_LOCATION = "104-010", "the recording node is not given or not configured";
    /// `VIDEO_DOWNLOAD_FLAG` is not ON.
    DOWNLOAD_OFF = "108-001", "the video download is switched off";
    /// `IF_SUPPORT_VIDEO` is not ON.
    VIDEO_OFF = "108-002", "video is not supported";
    /// No such recording.
    NO_RECORDING = "108-009", "the recording does not exist";
    /// No mount directory is configured for the drive.
    NO_MOUNT = "108-011", "no mount directory is configured for the recording";
    /// The mount directory is absent, not mounted, or does not answer.
    MOUNT_LOST = "108-012", "the file server does not answer";
    /// The file is there and cannot be read as a video.
    UNREADABLE = "108-013", "the recording cannot be read";
    /// Too many failed sign-ins of this agent from this address.
    LOCKED = "110-016", "the agent is locked after failed sign-ins, try again later";
}

impl ResultCode {
    /// The code as it travels, for instance `000-003`.
    pub fn wire(self) -> &'static str {
        self.wire
    }

    /// The sentence for people; clients act on the code alone.
    pub fn message(self) -> &'static str {
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_unique_and_plain() {
        assert!(ResultCode::ALL.windows(2).all(|pair| pair[0].wire < pair[1].wire));
        for code in ResultCode::ALL {
            assert!(
                code.message
                    .bytes()
                    .all(|byte| matches!(byte, b' ' | b',' | b'a'..=b'z' | b'I' | b'U' | b'R' | b'L' | b'-'))
            );
        }
    }
}
