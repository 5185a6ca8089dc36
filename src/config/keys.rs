//! The keys of basic.properties that belong to the gateway; every other key belongs to another component.

/// One key, or one form of a key where its name has variable parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The name; variable parts stand in angle brackets, as in `MOUNT_DIR.<drive>`.
    pub name: &'static str,
    /// The value in force where the file has none.
    pub default: DefaultValue,
    /// What the key decides, in one line.
    pub meaning: &'static str,
}

/// What is in force where the file does not set a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// Nothing: the key is optional, or must be set.
    Unset,
    /// This value, written as in a file.
    Fixed(&'static str),
    /// A value that follows from another key; the text says how.
    Derived(&'static str),
}

impl DefaultValue {
    /// The value where it is the same for every file.
    pub fn fixed(self) -> Option<&'static str> {
        match self {
            DefaultValue::Fixed(value) => Some(value),
            DefaultValue::Unset | DefaultValue::Derived(_) => None,
        }
    }

    /// The value or the rule it follows, as the documentation shows it; `None` where there is none.
    pub fn shown(self) -> Option<&'static str> {
        match self {
            DefaultValue::Fixed(text) | DefaultValue::Derived(text) => Some(text),
            DefaultValue::Unset => None,
        }
    }
}

/// Every key, in the order in which the documentation and the `check` command show them.
///
/// The names down to `CTI_POOL_MODE`, and their defaults, are those existing gateways use; the rest are ours.
pub const KEYS: &[Key] = &[
    key("VIDEO_DOWNLOAD_FLAG", "OFF", "ON allows the download of videos"),
    key("IF_SUPPORT_VIDEO", "OFF", "ON where calls have video; the download needs both switches"),
    key("AUTHMODE", "2", "1: a Guid lasts as long as its session; 2: it is renewed all the time"),
    key("GUIDINTERVAL", "60000", "ms after which a Guid is renewed; less than GUIDTIMEOUT"),
    key("GUIDTIMEOUT", "120000", "ms after its issue at which a Guid expires"),
    key("AGENT_POLL_WAIT_FLAG", "ON", "ON: a poll waits while there is no event; OFF: it is answered at once"),
    key("AGENT_POLL_WAIT_TIMES", "100", "how many intervals a poll waits at most"),
    key("AGENT_POLL_WAIT_INTERVAL", "100", "ms of one such interval"),
    key("TIMEOUT_FLAG", "ON", "ON: an agent that is not heard for MAXTIME is signed out"),
    key("MAXTIME", "120000", "ms an agent may be silent"),
    key("MAPPINGDISK", "Y", "drive letter that the short forms of MOUNT_DIR mean"),
    key("CTI_POOL_MODE", "OFF", "ON: a download names its locationId, which selects the mount"),
    bare("MOUNT_DIR", "mount directory of the drive MAPPINGDISK"),
    bare("MOUNT_DIR.<drive>", "mount directory of another drive"),
    bare("MOUNT_DIR.<locationId>", "pool mode: mount directory of a node, for the drive MAPPINGDISK"),
    bare("MOUNT_DIR.<locationId>.<drive>", "pool mode: mount directory of a node, for another drive"),
    key("MOUNT_CHECK", "ON", "ON: a mount directory without a file system of its own is out of service"),
    key("VIDEO_FILE_SUFFIXES", "mp4,m4v,mov,avi,mkv,webm,flv,ts,3gp", "suffixes of the videos that may be downloaded"),
    key("AUDIO_FILE_SUFFIXES", "v3,wav,mp3,vox,au", "suffixes of the voice recordings that may be downloaded"),
    key("DOWNLOAD_SCOPE", "OWN", "OWN: an agent gets its own recordings, an inspector all; ALL: everyone gets all"),
    key("RECORD_SCAN_INTERVAL", "2000", "ms between two looks for new recordings of signed-in agents; 0: no events"),
    key("AGENT_ID_MAX", "59999", "highest agent id; the lowest is 101"),
    key("AGENTS_FILE", "agents.properties", "file that names who may sign in"),
    key("SERVER_NAME", "AgentGateway", "name at the end of each Guid and in the reply to a sign-in"),
    key("NODE_INDEX", "0", "number after that name at the end of each Guid"),
    key("LISTEN", "0.0.0.0:8043,[::]:8043", "addresses and ports to listen on"),
    bare("TLS_CERTIFICATE", "PEM file of the certificate and its chain; must be set"),
    bare("TLS_PRIVATE_KEY", "PEM file of its private key; must be set"),
    key("WORKER_THREADS", "8", "threads that answer requests, at most; no more are started than there are processors"),
    key("MAX_CONNECTIONS", "10000", "client connections at once"),
    derived("MAX_CONNECTIONS_PER_ADDRESS", "half of MAX_CONNECTIONS", "client connections at once from one address"),
    bare("TRUSTED_PROXIES", "addresses and prefixes of load balancers that may name the client they speak for"),
    key("MAX_DOWNLOADS", "128", "downloads at once"),
    key("MAX_DOWNLOADS_PER_AGENT", "4", "downloads at once of one agent"),
    bare("CORS_ALLOW_ORIGIN", "origins whose pages may call the gateway from a browser"),
    key("DRAIN_TIMEOUT", "30000", "ms that running downloads may take to finish when the service stops"),
    key("LOG_LEVEL", "info", "error, warn, info, debug or trace"),
];

/// The part that all keys of mount directories begin with.
pub(super) const MOUNT_DIR: &str = "MOUNT_DIR";

/// Whether `key` is one of a mount directory, well-formed or not.
pub(super) fn is_mount_key(key: &str) -> bool {
    key.strip_prefix(MOUNT_DIR).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether `key` belongs to the gateway.
pub(super) fn is_known(key: &str) -> bool {
    is_mount_key(key) || find(key).is_some()
}

/// The key of that name; the forms of `MOUNT_DIR` are found under the names they have in [`KEYS`].
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key an unknown one was probably meant to be: it differs in at most two characters, in one where it is
/// short, or in upper and lower case only. Two characters next to each other count as one when swapped.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    // The variable parts of MOUNT_DIR follow a dot, and no other key has one.
    let stem = unknown.split('.').next().unwrap_or(unknown);
    let names = KEYS.iter().map(|key| key.name).filter(|name| !name.contains('.'));
    let close = names.filter_map(|name| {
        let written = if name == MOUNT_DIR { stem } else { unknown };
        let limit = if name.len() < 8 { 1 } else { 2 };
        distance(written, name, limit).map(|distance| (distance, name))
    });
    close.min().map(|(_, name)| name)
}

/// How many characters to insert, remove, change or swap to get from one text to the other in any case;
/// `None` if more than `limit`.
fn distance(from: &str, to: &str, limit: usize) -> Option<usize> {
    // Keeps the work small for keys of any length: they are not even looked at.
    if from.len().abs_diff(to.len()) > limit {
        return None;
    }
    let found = strsim::osa_distance(&from.to_ascii_uppercase(), &to.to_ascii_uppercase());
    (found <= limit).then_some(found)
}

const fn key(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, default: DefaultValue::Fixed(default), meaning }
}

const fn derived(name: &'static str, rule: &'static str, meaning: &'static str) -> Key {
    Key { name, default: DefaultValue::Derived(rule), meaning }
}

const fn bare(name: &'static str, meaning: &'static str) -> Key {
    Key { name, default: DefaultValue::Unset, meaning }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_recognised() {
        for (written, meant) in [
            ("GUIDINTERVALL", Some("GUIDINTERVAL")),
            ("GUIDINTREVAL", Some("GUIDINTERVAL")),
            ("guidinterval", Some("GUIDINTERVAL")),
            ("GUIDTIMOUT", Some("GUIDTIMEOUT")),
            ("WORKERTHREADS", Some("WORKER_THREADS")),
            ("MAX-CONNECTIONS", Some("MAX_CONNECTIONS")),
            ("MAXDOWNLOAD", Some("MAX_DOWNLOADS")),
            ("TLS_CERTIFCATE", Some("TLS_CERTIFICATE")),
            ("MOUNTDIR", Some("MOUNT_DIR")),
            ("MOUNT_DIRS.256.Z", Some("MOUNT_DIR")),
            ("MAX_TIME", Some("MAXTIME")),
            ("LISTENS", Some("LISTEN")),
            ("LISTENER", None),
            ("MINTIME", None),
            ("EVENT_PUSH_HANDSHAKE_MAXTIME", None),
            ("RECORD_AUDIOENCODING", None),
            ("WEBSOCKET_PROTOCOL_SWITCH", None),
            ("LISTEN.Y", None),
            ("", None),
            ("\u{4f60}\u{597d}", None),
        ] {
            assert_eq!(nearest(written), meant, "{written}");
        }
    }

    #[test]
    fn every_form_of_the_mount_key_is_known_and_nothing_that_only_looks_like_one() {
        for (key, known) in [
            ("MOUNT_DIR", true),
            ("MOUNT_DIR.", true),
            ("MOUNT_DIR.256.Y", true),
            ("MOUNT_DIRS", false),
            ("MOUNT_CHECK.Y", false),
        ] {
            assert_eq!(is_known(key), known, "{key}");
        }
    }

    #[test]
    fn no_key_is_mistaken_for_another() {
        for key in KEYS.iter().filter(|key| !key.name.contains('.')) {
            assert_eq!(nearest(key.name), Some(key.name));
            assert_eq!(find(key.name), Some(key));
        }
    }

    #[test]
    fn two_swapped_characters_are_one_step_and_a_long_text_is_not_looked_at() {
        assert_eq!(distance("ABCD", "BADC", 2), Some(2));
        assert_eq!(distance("", "AB", 2), Some(2));
        assert_eq!(distance("", "ABC", 2), None);
        assert_eq!(distance(&"A".repeat(50_000_000), "LISTEN", 2), None);
    }
}
