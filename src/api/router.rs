//! Routes paths to interfaces.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::interfaces::{INTERFACES, Interface, InterfaceSpec};

/// The base path of all interfaces.
pub(crate) const BASE: &[&str] = &["agentgateway", "resource"];

/// The result of routing a path.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface, or [`Interface::Unknown`].
    pub(crate) interface: Interface,
    /// The agent in the path, decoded but not validated; empty if the interface has none.
    pub agent: String,
    /// The other path parameters, decoded and in order.
    pub(crate) parameters: Vec<String>,
}

impl Route {
    /// A path parameter by index; empty if there are fewer.
    pub(crate) fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }
}

/// Finds the interface of a path; `None` if the path is not below the base path.
///
/// Empty segments are dropped: one vendor client joins base address and path with a double slash,
/// another appends a slash. Segments are decoded once, after splitting, so an encoded slash stays
/// in its segment and matches nothing.
pub fn route(path: &str) -> Option<Route> {
    let mut segments = path
        .strip_prefix('/')?
        .split('/')
        .filter(|segment| !segment.is_empty());
    let mut next = || {
        segments
            .next()
            .map(|segment| percent_decode_str(segment).decode_utf8())
    };
    for base in BASE {
        if next()?.ok()? != *base {
            return None;
        }
    }
    let names: Result<Vec<_>, _> = std::iter::from_fn(next).collect();
    let unknown = Route {
        interface: Interface::Unknown,
        agent: String::new(),
        parameters: Vec::new(),
    };
    let Ok(names) = names else {
        return Some(unknown);
    };
    // First without an agent, whose segment may have been empty and dropped.
    let found = [false, true].into_iter().find_map(|has_agent| {
        INTERFACES
            .iter()
            .find_map(|entry| matched(entry, &names, has_agent))
    });
    Some(found.unwrap_or(unknown))
}

/// The route, if the segments match the interface's path, with or without its agent.
fn matched(entry: &InterfaceSpec, names: &[Cow<'_, str>], has_agent: bool) -> Option<Route> {
    let mut names = names.iter();
    let mut route = Route {
        interface: entry.interface,
        agent: String::new(),
        parameters: Vec::new(),
    };
    for part in entry.path.split('/') {
        match part {
            "{id}" if !has_agent => {}
            "{id}" => names.next()?.as_ref().clone_into(&mut route.agent),
            parameter if parameter.starts_with('{') => {
                route.parameters.push(names.next()?.as_ref().to_owned())
            }
            name if names.next()? == name => {}
            _ => return None,
        }
    }
    names.next().is_none().then_some(route)
}

/// The value of a query parameter, form-decoded (`+` is a blank) as vendor clients encode it. The
/// first occurrence counts, as with the vendor's servlet; unknown parameters are ignored. Fails if
/// the value is not UTF-8.
pub fn parameter(query: &str, name: &str) -> Result<Option<String>, std::str::Utf8Error> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8()
            .map(|decoded| decoded.into_owned())
    };
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key).is_ok_and(|key| key == name) {
            return decode(value).map(Some);
        }
    }
    Ok(None)
}

/// The value of a query parameter; empty if absent or not UTF-8.
pub(crate) fn parameter_or_empty(query: &str, name: &str) -> String {
    parameter(query, name).ok().flatten().unwrap_or_default()
}

/// Whether the query has a parameter that differs from `name` only in case or in characters other
/// than letters and digits, such as `record_id` or `recordId[]`, or one after a semicolon, as in
/// `amp;recordId` from a client that HTML-escaped the query.
pub(crate) fn is_misspelt(query: &str, name: &str) -> bool {
    let letters = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_lowercase())
            .collect()
    };
    let wanted = letters(name);
    query.split('&').any(|pair| {
        let Ok(pair) = percent_decode_str(pair).decode_utf8() else {
            return false;
        };
        let key = |part| {
            str::split_once(part, '=')
                .map_or(part, |(key, _)| key)
                .to_owned()
        };
        let whole = key(&pair);
        (letters(&whole) == wanted && whole != name)
            || pair
                .split(';')
                .skip(1)
                .any(|part| letters(&key(part)) == wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(Interface, String, Vec<String>)> {
        route(path).map(|route| (route.interface, route.agent, route.parameters))
    }

    #[test]
    fn every_interface_has_its_path_with_and_without_its_agent() {
        for entry in INTERFACES {
            for agent in ["101", ""] {
                let mut parameters = Vec::new();
                let parts = entry
                    .path
                    .split('/')
                    .map(|part| match part.strip_prefix('{') {
                        Some("id}") => agent.to_owned(),
                        Some(name) => {
                            parameters.push(format!("a {name}"));
                            format!("a%20{name}")
                        }
                        None => part.to_owned(),
                    });
                let path = format!(
                    "/agentgateway/resource/{}",
                    parts.collect::<Vec<_>>().join("/")
                );
                let agent = if entry.path.contains("{id}") {
                    agent
                } else {
                    ""
                };
                assert_eq!(
                    found(&path),
                    Some((entry.interface, agent.into(), parameters.clone())),
                    "{path}"
                );
                for spelling in [format!("{path}/"), path.replace('/', "//")] {
                    assert_eq!(found(&spelling), found(&path), "{spelling}");
                }
            }
        }
    }

    #[test]
    fn segments_are_decoded_once() {
        for (path, interface, agent) in [
            (
                "/agentgateway/resource/onlineagent/%31%30%31",
                Interface::Login,
                "101",
            ),
            (
                "/agentgateway/resource/onlineagent/%2531",
                Interface::Login,
                "%31",
            ),
            (
                "/agentgateway/resource/onlineagent/101%2Flogout",
                Interface::Login,
                "101/logout",
            ),
            (
                "/agentgateway/resource/onlineagent/logout/logout",
                Interface::Logout,
                "logout",
            ),
            (
                "/agentgateway/resource/agentevent/",
                Interface::GetAgentEvent,
                "",
            ),
        ] {
            assert_eq!(
                found(path),
                Some((interface, agent.into(), vec![])),
                "{path}"
            );
        }
    }

    #[test]
    fn other_paths_below_the_base_are_of_no_interface() {
        for path in [
            "/agentgateway/resource",
            "/agentgateway/resource/health/more",
            "/agentgateway/resource/Health",
            "/agentgateway/resource/../resource/health",
            "/agentgateway/resource/recordfile/101/other",
            "/agentgateway/resource/onlineagent/101/updateguid",
            "/agentgateway/resource/onlineagent/101/logout/1",
            "/agentgateway/resource/onlineagent/101/rest/5",
            "/agentgateway/resource/%ff/101",
        ] {
            assert_eq!(
                found(path),
                Some((Interface::Unknown, String::new(), vec![])),
                "{path}"
            );
        }
    }

    #[test]
    fn paths_outside_the_base_lead_nowhere() {
        for path in [
            "",
            "*",
            "/",
            "/agentgateway",
            "agentgateway/resource/health",
            "/agentgateway/resource%2Fhealth",
            "/Agentgateway/resource/health",
            "/agentgateway/%ff/health",
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

    #[test]
    fn a_parameter_of_nearly_the_name_is_misspelt() {
        for (query, misspelt) in [
            ("recordId=a", false),
            ("", false),
            ("recordid=a", true),
            ("RECORDID", true),
            ("a=1&amp;recordId=b", true),
            ("a=1&AMP;recordid=b", true),
            ("amp%3BrecordId=b", true),
            ("recordId=a&record%49D=b", true),
            ("record_id=a", true),
            ("recordId%20=a", true),
            ("+recordId=a", true),
            ("recordId[]=a", true),
            ("?recordId=a", true),
            (";recordId=a", true),
            ("a=1;recordId=b", true),
            ("recordId;=a", true),
            ("recordIds=a&amp;=b&xrecordId=c&%ff=d&e=recordId", false),
        ] {
            assert_eq!(is_misspelt(query, "recordId"), misspelt, "{query}");
        }
    }
}
