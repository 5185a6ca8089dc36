//! A request as the interfaces see it, independent of transport.

use std::net::IpAddr;

/// The methods the interfaces know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
    /// `OPTIONS`, for the preflight of browser clients.
    Options,
    /// Any other method.
    Other,
}

impl Method {
    /// Parses a method name, which is case-sensitive (RFC 9110 section 9.1).
    pub(crate) fn from_name(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "PUT" => Method::Put,
            "POST" => Method::Post,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }

    /// The name, for the `Allow` header and the forwarded request.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Other => "OTHER",
        }
    }
}

/// A request header that an interface reads; the front forwards no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderName {
    /// The agent's Guid.
    Guid,
    /// RFC 9110 section 14.2.
    Range,
    /// RFC 9110 section 13.1.5.
    IfRange,
    /// RFC 9110 section 13.1.1.
    IfMatch,
    /// RFC 9110 section 13.1.4. If-None-Match and If-Modified-Since are ignored: a vendor client
    /// sends one with every download but cannot handle a 304.
    IfUnmodifiedSince,
    /// The origin of a browser client (Fetch standard).
    Origin,
    /// The method of a preflight.
    AccessControlRequestMethod,
    /// Optional token of a handshake.
    ServiceToken,
}

impl HeaderName {
    /// Every header, in declaration order.
    pub(crate) const ALL: [HeaderName; 8] = [
        HeaderName::Guid,
        HeaderName::Range,
        HeaderName::IfRange,
        HeaderName::IfMatch,
        HeaderName::IfUnmodifiedSince,
        HeaderName::Origin,
        HeaderName::AccessControlRequestMethod,
        HeaderName::ServiceToken,
    ];

    /// The name, as written in the forwarded request.
    pub(crate) fn name(self) -> &'static str {
        match self {
            HeaderName::Guid => "Guid",
            HeaderName::Range => "Range",
            HeaderName::IfRange => "If-Range",
            HeaderName::IfMatch => "If-Match",
            HeaderName::IfUnmodifiedSince => "If-Unmodified-Since",
            HeaderName::Origin => "Origin",
            HeaderName::AccessControlRequestMethod => "Access-Control-Request-Method",
            HeaderName::ServiceToken => "service_token",
        }
    }

    /// The header with this name, in any case (RFC 9110 section 5.1).
    pub(crate) fn from_name(name: &str) -> Option<HeaderName> {
        HeaderName::ALL
            .into_iter()
            .find(|field| field.name().eq_ignore_ascii_case(name))
    }
}

/// The header values of a request; `None` if absent.
#[derive(Debug, Clone, Default)]
pub struct Headers([Option<String>; HeaderName::ALL.len()]);

impl Headers {
    /// Adds a value. Repeated headers are joined with commas (RFC 9110 section 5.2), which makes
    /// the single-valued headers here invalid: two Guids count as none.
    pub(crate) fn add(&mut self, field: HeaderName, value: &str) {
        if let Some(place) = self.0.get_mut(field as usize) {
            match place {
                Some(earlier) => {
                    earlier.push_str(", ");
                    earlier.push_str(value);
                }
                None => *place = Some(value.to_owned()),
            }
        }
    }

    /// The value of a header.
    pub(crate) fn value(&self, field: HeaderName) -> Option<&str> {
        self.0.get(field as usize).and_then(Option::as_deref)
    }

    /// The headers present.
    pub fn present(&self) -> impl Iterator<Item = (HeaderName, &str)> {
        HeaderName::ALL
            .into_iter()
            .filter_map(|field| Some((field, self.value(field)?)))
    }
}

/// A request whose syntax the front has checked.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// The path, percent-encoded as the client sent it.
    pub(crate) path: &'a str,
    /// The query without its question mark; empty if absent.
    pub(crate) query: &'a str,
    pub(crate) headers: &'a Headers,
    /// The body, at most 64 KiB.
    pub(crate) body: &'a [u8],
    /// The client's address.
    pub(crate) peer: IpAddr,
    /// The trusted proxy that named the client, if one did.
    pub(crate) via: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_in_any_case() {
        for (name, field) in [
            ("guid", Some(HeaderName::Guid)),
            ("GUID", Some(HeaderName::Guid)),
            ("if-range", Some(HeaderName::IfRange)),
            ("if-unmodified-since", Some(HeaderName::IfUnmodifiedSince)),
            ("If-None-Match", None),
            ("Service_Token", Some(HeaderName::ServiceToken)),
            ("Cookie", None),
            ("", None),
        ] {
            assert_eq!(HeaderName::from_name(name), field, "{name}");
        }
    }

    #[test]
    fn two_lines_of_a_field_are_one_value() {
        let mut headers = Headers::default();
        headers.add(HeaderName::Guid, "a");
        headers.add(HeaderName::Guid, "b");
        assert_eq!(headers.value(HeaderName::Guid), Some("a, b"));
        assert_eq!(headers.value(HeaderName::Range), None);
        assert_eq!(
            headers.present().collect::<Vec<_>>(),
            [(HeaderName::Guid, "a, b")]
        );
    }
    #[test]
    fn a_method_is_known_by_its_exact_name() {
        for (name, method) in [
            ("GET", Method::Get),
            ("HEAD", Method::Head),
            ("PUT", Method::Put),
            ("POST", Method::Post),
            ("DELETE", Method::Delete),
            ("OPTIONS", Method::Options),
        ] {
            assert_eq!((Method::from_name(name), method.name()), (method, name));
            assert_eq!(Method::from_name(&name.to_lowercase()), Method::Other);
        }
        assert_eq!(Method::from_name("PATCH").name(), "OTHER");
    }

    #[test]
    fn every_field_is_written_with_its_name_and_read_back() {
        let mut names = Vec::new();
        for field in HeaderName::ALL {
            assert_eq!(HeaderName::from_name(field.name()), Some(field));
            names.push(field.name());
        }
        assert_eq!(
            names,
            [
                "Guid",
                "Range",
                "If-Range",
                "If-Match",
                "If-Unmodified-Since",
                "Origin",
                "Access-Control-Request-Method",
                "service_token"
            ]
        );
    }
}
