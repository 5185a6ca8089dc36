//! The keys of basic.properties that the gateway reads. All other keys belong to other components.

/// A key, or one form of a key whose name has variable parts.
///
/// The installed sample, the manual page and docs/configuration.md are generated from this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The name, with variable parts in angle brackets, as in `MOUNT_DIR.<drive>`.
    pub name: &'static str,
    /// The value if the file does not set it.
    pub default: DefaultValue,
    /// What the key controls, with units and bounds, in full sentences.
    pub meaning: &'static str,
    /// Its line in the installed sample, if not `name = default`. A leading `#` comments it out.
    pub sample: Option<&'static str>,
}

/// The value of a key that the file does not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// None: the key is optional, or must be set.
    Unset,
    /// This value, as written in a file.
    Fixed(&'static str),
    /// A value derived from another key, described by the text.
    Derived(&'static str),
}

impl DefaultValue {
    /// The value, if it does not depend on the file.
    pub fn fixed(self) -> Option<&'static str> {
        match self {
            DefaultValue::Fixed(value) => Some(value),
            DefaultValue::Unset | DefaultValue::Derived(_) => None,
        }
    }

    /// The value, or the rule to derive it, for the documentation; `None` if unset.
    pub fn shown(self) -> Option<&'static str> {
        match self {
            DefaultValue::Fixed(text) | DefaultValue::Derived(text) => Some(text),
            DefaultValue::Unset => None,
        }
    }
}

/// A group of related keys, with its title in the documentation.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The title.
    pub title: &'static str,
    /// The name of its first key. The section ends where the next one begins.
    pub first: &'static str,
}

/// The sections of [`KEYS`], in order.
pub const SECTIONS: &[Section] = &[
    section("Set before the first start", "MOUNT_DIR"),
    section("Recordings", "MAPPINGDISK"),
    section("Agents", "AGENTS_FILE"),
    section("Sessions", "AUTHMODE"),
    section("Network", "LISTEN"),
    section("Limits", "WORKER_THREADS"),
    section("Operation", "DRAIN_TIMEOUT"),
];

/// Every key, in the order used by the documentation and the `check` command.
///
/// docs/migration.md lists the keys that have the names and defaults of existing gateways; the rest
/// are our own.
pub const KEYS: &[Key] = &[
    without_default(
        "MOUNT_DIR",
        "Directory where the file server of the drive MAPPINGDISK is mounted. Required for downloads.",
    )
    .sample("#MOUNT_DIR = /mnt/records"),
    without_default("TLS_CERTIFICATE", "PEM file of the certificate, followed by its chain. Required.")
        .sample("TLS_CERTIFICATE = certificate.pem"),
    without_default("TLS_PRIVATE_KEY", "PEM file of the private key, not encrypted. Required.")
        .sample("TLS_PRIVATE_KEY = private-key.pem"),
    key("VIDEO_DOWNLOAD_FLAG", "OFF", "ON: videos can be downloaded.").sample("VIDEO_DOWNLOAD_FLAG = ON"),
    key(
        "IF_SUPPORT_VIDEO",
        "OFF",
        "ON: calls have video, and polls announce new recordings. A video download needs both switches.",
    )
    .sample("IF_SUPPORT_VIDEO = ON"),
    key("MAPPINGDISK", "Y", "Drive letter that the forms of MOUNT_DIR without a drive stand for."),
    without_default("MOUNT_DIR.<drive>", "Mount directory of another drive.")
        .sample("#MOUNT_DIR.Z = /mnt/older-records"),
    key(
        "CTI_POOL_MODE",
        "OFF",
        "ON: each download names its recording node (locationId), which selects the mount. Then only the next two \
         forms of MOUNT_DIR have an effect.",
    ),
    without_default("MOUNT_DIR.<locationId>", "Pool mode: mount directory of a node, for the drive MAPPINGDISK.")
        .sample("#MOUNT_DIR.256 = /mnt/node-256"),
    without_default("MOUNT_DIR.<locationId>.<drive>", "Pool mode: mount directory of a node, for another drive.")
        .sample("#MOUNT_DIR.256.Z = /mnt/node-256-older"),
    key(
        "MOUNT_CHECK",
        "ON",
        "ON: a directory on which nothing is mounted is out of service, not empty. OFF: recordings are kept on the \
         gateway itself.",
    ),
    key("RECORD_DOWNLOAD_FLAG", "ON", "ON: voice recordings can be downloaded."),
    key("VIDEO_FILE_SUFFIXES", "mp4,m4v,mov,avi,mkv,webm,flv,ts,3gp", "Suffixes of the videos that may be downloaded."),
    key("AUDIO_FILE_SUFFIXES", "v3,wav,mp3,vox,au", "Suffixes of the voice recordings that may be downloaded."),
    key(
        "RECORD_SCAN_INTERVAL",
        "2000",
        "Time between two looks for new recordings of signed-in agents, 100 to 3600000 ms. 0: no events of recordings.",
    ),
    key("DOWNLOAD_SCOPE", "OWN", "OWN: an agent gets its own recordings, an inspector all. ALL: every agent gets all."),
    key("AGENTS_FILE", "agents.properties", "File that says who may sign in."),
    key("AGENT_ID_MAX", "59999", "Highest agent id, up to 999999. The lowest is 101."),
    key(
        "AUTHMODE",
        "2",
        "1: a Guid lasts as long as its session. 2: it is renewed by polls and handshakes. Choose 1 for clients that \
         do not take over a renewed Guid from a poll.",
    ),
    key("GUIDINTERVAL", "60000", "Age at which a Guid is renewed, in ms. Must be less than GUIDTIMEOUT."),
    key("GUIDTIMEOUT", "120000", "Age at which a Guid expires, in ms, up to a day."),
    key("AGENT_POLL_WAIT_FLAG", "ON", "ON: a poll waits for an event. OFF: it is answered at once."),
    key(
        "AGENT_POLL_WAIT_TIMES",
        "100",
        "A poll waits at most this number times AGENT_POLL_WAIT_INTERVAL. Some clients give up after 12000 ms.",
    ),
    key("AGENT_POLL_WAIT_INTERVAL", "100", "See AGENT_POLL_WAIT_TIMES; 1 to 60000 ms."),
    key("TIMEOUT_FLAG", "ON", "ON: an agent that is silent for MAXTIME is signed out."),
    key("MAXTIME", "120000", "How long an agent may be silent, in ms, up to a day."),
    key("SERVER_NAME", "AgentGateway", "Name at the end of each Guid, from letters, digits and hyphens."),
    key(
        "NODE_INDEX",
        "0",
        "Number after that name, 0 to 65535. Give nodes behind one load balancer different numbers.",
    ),
    key(
        "LISTEN",
        "0.0.0.0:8043,[::]:8043",
        "Addresses and ports to listen on. 0.0.0.0 is every IPv4 address, [::] every IPv6 one. A family that the \
         kernel lacks is skipped with a warning while another address remains.",
    ),
    without_default(
        "TRUSTED_PROXIES",
        "Addresses and prefixes of load balancers. The client that such a proxy names, by PROXY protocol or \
         X-Forwarded-For, counts as the client.",
    )
    .sample("#TRUSTED_PROXIES = 192.0.2.10,10.0.0.0/8"),
    without_default("CORS_ALLOW_ORIGIN", "Origins whose web pages may call the gateway from a browser.")
        .sample("#CORS_ALLOW_ORIGIN = https://crm.example.com,https://desk.example.com:8443"),
    key(
        "WORKER_THREADS",
        "8",
        "Threads that answer requests, 1 to 256; no more are started than there are processors. Downloads and \
         waiting polls hold none of them.",
    ),
    key(
        "MAX_CONNECTIONS",
        "10000",
        "Client connections at once, up to 16384. Where open files are too few for the default, fewer clients are \
         accepted, with a warning; a value of your own then stops the start.",
    ),
    derived(
        "MAX_CONNECTIONS_PER_ADDRESS",
        "half of MAX_CONNECTIONS",
        "Client connections at once from one address. Raise it where most agents share an address.",
    )
    .sample("#MAX_CONNECTIONS_PER_ADDRESS = 5000"),
    key("MAX_DOWNLOADS", "128", "Downloads at once, up to 16384."),
    key("MAX_DOWNLOADS_PER_AGENT", "4", "Downloads at once of one agent."),
    key("DRAIN_TIMEOUT", "30000", "How long running downloads may take to finish at a stop, up to 3600000 ms."),
    key("LOG_LEVEL", "info", "One of error, warn, info, debug and trace."),
];

/// The common start of all mount directory keys.
pub(super) const MOUNT_DIR: &str = "MOUNT_DIR";

/// Whether `key` is a mount directory key, well-formed or not.
pub(super) fn is_mount_key(key: &str) -> bool {
    key.strip_prefix(MOUNT_DIR)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether `key` belongs to the gateway.
pub(super) fn is_known(key: &str) -> bool {
    is_mount_key(key) || find(key).is_some()
}

/// The key of that name. Forms of `MOUNT_DIR` go by their names in [`KEYS`].
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key that an unknown one was probably meant to be: one that differs in at most two characters
/// (one if it is short), ignoring case. Swapping two adjacent characters counts as one difference.
pub(super) fn closest_match(unknown: &str) -> Option<&'static str> {
    // Only the forms of MOUNT_DIR contain a dot.
    let stem = unknown.split('.').next().unwrap_or(unknown);
    let names = KEYS
        .iter()
        .map(|key| key.name)
        .filter(|name| !name.contains('.'));
    let close = names.filter_map(|name| {
        let written = if name == MOUNT_DIR { stem } else { unknown };
        let limit = if name.len() < 8 { 1 } else { 2 };
        distance(written, name, limit).map(|distance| (distance, name))
    });
    close.min().map(|(_, name)| name)
}

/// The edit distance between two texts, ignoring case, with swaps of adjacent characters; `None` if
/// above `limit`.
fn distance(from: &str, to: &str, limit: usize) -> Option<usize> {
    // Bounds the work: long keys are not compared at all.
    if from.len().abs_diff(to.len()) > limit {
        return None;
    }
    let found = strsim::osa_distance(&from.to_ascii_uppercase(), &to.to_ascii_uppercase());
    (found <= limit).then_some(found)
}

impl Key {
    const fn sample(mut self, line: &'static str) -> Key {
        self.sample = Some(line);
        self
    }
}

const fn section(title: &'static str, first: &'static str) -> Section {
    Section { title, first }
}

const fn key(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key {
        default: DefaultValue::Fixed(default),
        ..without_default(name, meaning)
    }
}

const fn derived(name: &'static str, rule: &'static str, meaning: &'static str) -> Key {
    Key {
        default: DefaultValue::Derived(rule),
        ..without_default(name, meaning)
    }
}

const fn without_default(name: &'static str, meaning: &'static str) -> Key {
    Key {
        name,
        default: DefaultValue::Unset,
        meaning,
        sample: None,
    }
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
            assert_eq!(closest_match(written), meant, "{written}");
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
    fn sections_begin_at_keys_in_their_order() {
        let firsts: Vec<_> = SECTIONS
            .iter()
            .map(|section| KEYS.iter().position(|key| key.name == section.first))
            .collect();
        assert_eq!(firsts.first(), Some(&Some(0)));
        assert!(
            firsts
                .windows(2)
                .all(|pair| pair[0].is_some() && pair[0] < pair[1])
        );
    }

    #[test]
    fn no_key_is_mistaken_for_another() {
        for key in KEYS.iter().filter(|key| !key.name.contains('.')) {
            assert_eq!(closest_match(key.name), Some(key.name));
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
