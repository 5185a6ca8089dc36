//! From method and path to an interface.

use percent_encoding::percent_decode_str;

use super::request::Method;

/// Everything the gateway offers lies below this path.
pub const BASE: [&str; 2] = ["agentgateway", "resource"];

/// The interfaces of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interface {
    /// Sign in.
    Login,
    /// Sign in, ending an earlier session.
    ForceLogin,
    /// Sign out.
    Logout,
    /// Sign out, whatever the agent is doing.
    ForceLogout,
    /// Sign out for a numbered reason.
    ForceLogoutWithReason,
    /// A new Guid at once.
    UpdateGuid,
    /// Keep alive.
    Handshake,
    /// Keep alive, the older form.
    Heartbeat,
    /// Long poll for events.
    GetAgentEvent,
    /// Download of a video recording.
    DownloadVideoFileEx,
    /// Health of the service.
    Health,
    /// Counters of the service.
    Metrics,
    /// No interface: the path leads nowhere.
    Unknown,
}

impl Interface {
    /// Every interface there is.
    pub const ALL: [Interface; 12] = [
        Interface::Login,
        Interface::ForceLogin,
        Interface::Logout,
        Interface::ForceLogout,
        Interface::ForceLogoutWithReason,
        Interface::UpdateGuid,
        Interface::Handshake,
        Interface::Heartbeat,
        Interface::GetAgentEvent,
        Interface::DownloadVideoFileEx,
        Interface::Health,
        Interface::Metrics,
    ];

    /// The vendor's method name in logs.
    pub fn log_name(self) -> &'static str {
        match self {
            Interface::Login => "login",
            Interface::ForceLogin => "forceLogin",
            Interface::Logout => "logout",
            Interface::ForceLogout => "forceLogout",
            Interface::ForceLogoutWithReason => "forceLogoutWithReason",
            Interface::UpdateGuid => "updateGuid",
            Interface::Handshake => "handShake",
            Interface::Heartbeat => "heartBeat",
            Interface::GetAgentEvent => "getAgentEvent",
            Interface::DownloadVideoFileEx => "downloadVideoFileEx",
            Interface::Health => "health",
            Interface::Metrics => "metrics",
            Interface::Unknown => "unknown",
        }
    }

    /// The one method the interface answers to; the page of each says that no other is supported.
    pub fn method(self) -> Method {
        match self {
            Interface::Login | Interface::ForceLogin | Interface::UpdateGuid | Interface::Heartbeat => Method::Put,
            Interface::Logout | Interface::ForceLogout | Interface::ForceLogoutWithReason => Method::Delete,
            Interface::Handshake => Method::Post,
            Interface::GetAgentEvent
            | Interface::DownloadVideoFileEx
            | Interface::Health
            | Interface::Metrics
            | Interface::Unknown => Method::Get,
        }
    }

    /// The value of an `Allow` field.
    pub fn allow(self) -> &'static str {
        match self {
            Interface::Health => "GET, HEAD",
            _ => self.method().name(),
        }
    }
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface.
    pub interface: Interface,
    /// The agent as the path names it, decoded and not yet checked; empty where the interface has none.
    pub agent: String,
    /// What follows the interface's name: the reason of a sign-out, else empty.
    pub rest: String,
}

/// Finds the interface of a path; `None` is an unknown path.
///
/// Empty segments are dropped: a vendor client joins its base address and a path with a doubled slash,
/// and another appends a slash. Segments are decoded once, after the split, so that an encoded slash
/// stays inside its segment and matches nothing.
pub fn route(path: &str) -> Option<Route> {
    let segments: Vec<String> = path
        .strip_prefix('/')?
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8().map(|text| text.into_owned()))
        .collect::<Result<_, _>>()
        .ok()?;
    let mut names = segments.iter().map(String::as_str);
    if !BASE.iter().all(|base| names.next() == Some(base)) {
        return None;
    }
    let (agent, (interface, rest)) = match names.collect::<Vec<_>>().as_slice() {
        ["health"] => ("", (Interface::Health, "")),
        ["metrics"] => ("", (Interface::Metrics, "")),
        [group, names @ ..] => match (of_agent(group, names), names) {
            // No agent at all: its segment was empty and has been dropped.
            (Some(found), _) => ("", found),
            (None, [agent, names @ ..]) => (*agent, of_agent(group, names)?),
            (None, []) => return None,
        },
        [] => return None,
    };
    Some(Route { interface, agent: agent.to_owned(), rest: rest.to_owned() })
}

/// The interface of a path without its agent, and what follows the interface's name.
fn of_agent<'a>(group: &str, names: &[&'a str]) -> Option<(Interface, &'a str)> {
    let interface = match (group, names) {
        ("onlineagent", []) => Interface::Login,
        ("onlineagent", ["forcelogin"]) => Interface::ForceLogin,
        ("onlineagent", ["logout"]) => Interface::Logout,
        ("onlineagent", ["forcelogout"]) => Interface::ForceLogout,
        ("onlineagent", ["forcelogoutwithreason", reason]) => return Some((Interface::ForceLogoutWithReason, reason)),
        ("onlineagent", ["updateGuid"]) => Interface::UpdateGuid,
        ("onlineagent", ["handshake"]) => Interface::Handshake,
        ("onlineagent", ["heartbeat"]) => Interface::Heartbeat,
        ("agentevent", []) => Interface::GetAgentEvent,
        ("recordfile", ["videofiledownloadEx"]) => Interface::DownloadVideoFileEx,
        _ => return None,
    };
    Some((interface, ""))
}

/// The value of a query parameter, decoded as a form (`+` is a blank) because vendor clients encode so.
/// The first one counts, as for the servlet the clients know; unknown parameters are nobody's business.
/// `Err` is a value that is not UTF-8.
pub fn parameter(query: &str, name: &str) -> Result<Option<String>, std::str::Utf8Error> {
    let decode =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().map(|decoded| decoded.into_owned());
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key).is_ok_and(|key| key == name) {
            return decode(value).map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(Interface, String, String)> {
        route(path).map(|route| (route.interface, route.agent, route.rest))
    }

    #[test]
    fn every_interface_has_its_path() {
        for (path, interface, agent, rest) in [
            ("/agentgateway/resource/onlineagent/101", Interface::Login, "101", ""),
            ("/agentgateway/resource/onlineagent/101/", Interface::Login, "101", ""),
            ("/agentgateway/resource//onlineagent/101", Interface::Login, "101", ""),
            ("//agentgateway//resource/onlineagent/101", Interface::Login, "101", ""),
            ("/agentgateway/resource/onlineagent/%31%30%31", Interface::Login, "101", ""),
            ("/agentgateway/resource/onlineagent/101/forcelogin", Interface::ForceLogin, "101", ""),
            ("/agentgateway/resource/onlineagent/101/logout", Interface::Logout, "101", ""),
            ("/agentgateway/resource/onlineagent/101/forcelogout", Interface::ForceLogout, "101", ""),
            (
                "/agentgateway/resource/onlineagent/101/forcelogoutwithreason/7",
                Interface::ForceLogoutWithReason,
                "101",
                "7",
            ),
            ("/agentgateway/resource/onlineagent/101/updateGuid", Interface::UpdateGuid, "101", ""),
            ("/agentgateway/resource/onlineagent/101/handshake", Interface::Handshake, "101", ""),
            ("/agentgateway/resource/onlineagent/101/heartbeat", Interface::Heartbeat, "101", ""),
            ("/agentgateway/resource/agentevent/101", Interface::GetAgentEvent, "101", ""),
            ("/agentgateway/resource/recordfile/101/videofiledownloadEx", Interface::DownloadVideoFileEx, "101", ""),
            ("/agentgateway/resource/onlineagent", Interface::Login, "", ""),
            ("/agentgateway/resource/onlineagent//logout", Interface::Logout, "", ""),
            ("/agentgateway/resource/onlineagent//forcelogoutwithreason/7", Interface::ForceLogoutWithReason, "", "7"),
            ("/agentgateway/resource/onlineagent/logout/logout", Interface::Logout, "logout", ""),
            ("/agentgateway/resource/agentevent/", Interface::GetAgentEvent, "", ""),
            ("/agentgateway/resource/recordfile//videofiledownloadEx", Interface::DownloadVideoFileEx, "", ""),
            ("/agentgateway/resource/health", Interface::Health, "", ""),
            ("/agentgateway/resource/metrics", Interface::Metrics, "", ""),
        ] {
            assert_eq!(found(path), Some((interface, agent.into(), rest.into())), "{path}");
        }
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in [
            "",
            "*",
            "/",
            "/agentgateway",
            "/agentgateway/resource",
            "agentgateway/resource/health",
            "/agentgateway/resource/health/more",
            "/agentgateway/resource/Health",
            "/agentgateway/resource%2Fhealth",
            "/agentgateway/resource/../resource/health",
            "/agentgateway/resource/recordfile",
            "/agentgateway/resource/onlineagent/101/updateguid",
            "/agentgateway/resource/onlineagent/101/logout/1",
            "/agentgateway/resource/recordfile/101",
            "/agentgateway/resource/%ff/101",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn parameters_are_form_decoded_and_the_first_counts() {
        let query = "a=1&recordId=Y%3a%2F1%2f0+x&recordId=other&empty=&flag&bad=%ff&%72=5";
        for (name, value) in [
            ("a", Some("1")),
            ("recordId", Some("Y:/1/0 x")),
            ("empty", Some("")),
            ("flag", Some("")),
            ("r", Some("5")),
            ("missing", None),
        ] {
            assert_eq!(parameter(query, name).unwrap().as_deref(), value, "{name}");
        }
        assert!(parameter(query, "bad").is_err());
        assert_eq!(parameter("", "a").unwrap(), None);
    }
}
