//! Requests of web pages from other origins (CORS).

use super::*;

const ORIGIN: &str = "https://crm.example";
const REQUEST: HeaderName = HeaderName::AccessControlRequestMethod;

fn desk() -> Desk {
    Desk::with("CORS_ALLOW_ORIGIN=https://crm.example")
}

#[test]
fn a_preflight_of_an_allowed_origin_is_told_what_it_may_send() {
    let desk = desk();
    for (path, methods) in [
        ("onlineagent/101", "PUT"),
        ("agentevent/101", "GET"),
        ("health", "GET, HEAD"),
        ("elsewhere", ""),
    ] {
        let preflight = call(Method::Options, path)
            .header(HeaderName::Origin, ORIGIN)
            .header(REQUEST, "PUT");
        let reply = desk.ask(&preflight);
        assert_eq!((reply.status, &*reply.body), (204, ""), "{path}");
        let fields = [
            "Access-Control-Allow-Methods",
            "Access-Control-Allow-Headers",
            "Access-Control-Max-Age",
            "Access-Control-Allow-Origin",
            "Vary",
        ];
        let headers = "Guid, Content-Type, Range, If-Range, If-Match, If-Unmodified-Since, If-None-Match, \
                       If-Modified-Since, X-Requested-With, service_token";
        assert_eq!(
            fields.map(|name| reply.field(name)),
            [methods, headers, "600", ORIGIN, "Origin"].map(Some),
            "{path}"
        );
    }
}

#[test]
fn what_is_no_preflight_of_an_allowed_origin_is_a_wrong_method() {
    let desk = desk();
    let options = || call(Method::Options, "onlineagent/101");
    for call in [
        options(),
        options().header(HeaderName::Origin, ORIGIN),
        options().header(REQUEST, "PUT"),
        options()
            .header(HeaderName::Origin, "https://else.example")
            .header(REQUEST, "PUT"),
        post("onlineagent/101")
            .header(HeaderName::Origin, ORIGIN)
            .header(REQUEST, "PUT"),
    ] {
        assert_eq!(desk.ask(&call).status, 405);
    }
}

#[test]
fn every_kind_of_answer_can_be_read_by_an_allowed_origin_and_by_no_other() {
    let desk = desk();
    desk.mount.file("1/0/20201202/101/1.mp4", b"video");
    let guid = desk.sign_in(101);
    for call in [
        get("health"),
        get("agentevent/101"),
        get("recordfile/101/videofiledownloadEx?recordId=Y:/1/0/20201202/101/1.mp4").guid(&guid),
    ] {
        let allowed = desk.ask(&call.clone().header(HeaderName::Origin, ORIGIN));
        assert_eq!(
            [
                "Access-Control-Allow-Origin",
                "Access-Control-Expose-Headers",
                "Vary"
            ]
            .map(|name| allowed.field(name)),
            [
                ORIGIN,
                "Set-GUID, JSON-Type, Accept-Ranges, Content-Disposition, Content-Range, ETag, Retry-After",
                "Origin"
            ]
            .map(Some)
        );
        for call in [
            call.clone(),
            call.header(HeaderName::Origin, "https://else.example"),
        ] {
            let reply = desk.ask(&call);
            assert!(reply.headers.iter().all(|(name, _)| *name != "Vary"));
            assert_eq!(reply.field("Access-Control-Allow-Origin"), None);
        }
    }
}
