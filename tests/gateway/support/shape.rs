//! Assertions on replies, and common session helpers.

use cc_gateway::api::ResultCode;

use super::client::{Client, Reply};
use super::server::{Server, Setup, eventually};
use super::sockets::connect_from;

/// The content type of JSON replies.
pub const JSON: &str = "application/json;charset=UTF-8";
/// The exact reply to a poll without events.
pub const EMPTY_POLL: &str = r#"{"message":"","retcode":"0"}"#;
/// The sign-in body for the default agents.
pub const SIGN_IN: &str = r#"{"password":"secret"}"#;

/// Waits until every Guid issued before this call is GUIDINTERVAL old, using agent 102.
pub fn let_guids_age(server: &Server) {
    let guid = server.sign_in_again(102);
    let poll = || server.client().get("/agentevent/102", Some(&guid));
    eventually("a renewal", || poll().guid().is_some());
}

impl Reply {
    /// The header names, in order.
    pub fn field_names(&self) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| Some(line.split_once(": ")?.0))
            .collect()
    }

    /// Asserts a JSON reply with the usual headers, those in `more`, and no others.
    #[track_caller]
    pub fn assert_json(&self, status: u16, more: &[&str]) {
        let reason = self
            .head
            .lines()
            .next()
            .unwrap()
            .strip_prefix(&format!("HTTP/1.1 {status} "));
        assert!(reason.is_some_and(|reason| !reason.is_empty()), "{self:?}");
        assert_eq!(self.field("Content-Type"), Some(JSON), "{self:?}");
        assert_eq!(self.field("Cache-Control"), Some("no-store"), "{self:?}");
        assert_eq!(
            self.field("Content-Length"),
            Some(&*self.body.len().to_string()),
            "{self:?}"
        );
        assert!(self.json().is_object());
        let mut names = self.field_names();
        let json_type = self.field("JSON-Type");
        assert_eq!(json_type, Some("application/json"), "{self:?}");
        let usual = "Cache-Control Connection Content-Length Content-Type Date JSON-Type";
        let mut usual: Vec<_> = usual.split(' ').chain(more.iter().copied()).collect();
        names.sort_unstable();
        usual.sort_unstable();
        assert_eq!(names, usual, "{self:?}");
    }

    /// Asserts the exact failure with this code, in HTTP 200.
    #[track_caller]
    pub fn assert_failure(&self, code: &str) {
        self.assert_http_error(200, code, &[]);
    }

    /// Asserts the exact failure with this status and code; it has a result only for codes of the
    /// Guid check.
    #[track_caller]
    pub fn assert_http_error(&self, status: u16, code: &str, more: &[&str]) {
        let result = if ["000-003", "100-006"].contains(&code) {
            r#","result":"""#
        } else {
            ""
        };
        self.assert_error_body(status, code, more, result);
    }

    /// Asserts the exact failure of a video download.
    #[track_caller]
    pub fn assert_video_failure(&self, code: &str) {
        self.assert_error_body(200, code, &[], r#","result":"""#);
    }

    /// Asserts the exact failure for a client that casts the result to an object.
    #[track_caller]
    pub fn assert_object_failure(&self, code: &str) {
        self.assert_error_body(200, code, &[], r#","result":{}"#);
    }

    /// Asserts the failure with this status and code, and `end` after the message.
    #[track_caller]
    pub fn assert_error_body(&self, status: u16, code: &str, more: &[&str], end: &str) {
        self.assert_json(status, more);
        let message = ResultCode::ALL
            .iter()
            .find(|known| known.wire() == code)
            .unwrap()
            .message();
        assert_eq!(
            self.text(),
            format!(r#"{{"retcode":"{code}","message":"{message}"{end}}}"#)
        );
    }
}

impl Setup {
    /// Polls wait ten minutes, so a test that has to wait for the timeout of one fails.
    pub fn endless_polls(self) -> Setup {
        self.set("AGENT_POLL_WAIT_FLAG", "ON")
            .set("AGENT_POLL_WAIT_TIMES", "6000")
            .set("TIMEOUT_FLAG", "OFF")
            .expect_log("a poll waits 600000 ms")
    }
}

impl Server {
    /// A new connection from another loopback address, such as 127.0.0.2.
    pub fn client_from(&self, source: &str) -> Client {
        let socket = connect_from(source, self.address(), None);
        Client::over(socket, &self.scratch().path().join("certificate.pem"))
    }

    /// The value of a sample of `/metrics`, by name and labels; 0 if missing.
    pub fn metric(&self, sample: &str) -> u64 {
        self.metrics().value(sample)
    }

    /// Sends a poll on a new connection and waits until it is parked.
    pub fn park(&self, agent: u32, guid: &str) -> Client {
        let before = self.metric("cc_gateway_polls_parked");
        let mut client = self.client();
        client.send_get(&format!("/agentevent/{agent}"), guid, "");
        eventually("a parked poll", || {
            self.metric("cc_gateway_polls_parked") > before
        });
        client
    }
}
