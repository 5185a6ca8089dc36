//! What replies look like, and the ways of sessions that many tests go.

use cc_gateway::api::ResultCode;

use super::client::{Client, Reply};
use super::server::{Server, Setup, eventually};
use super::sockets::connect_from;

/// The type of every JSON reply, to the letter.
pub const JSON: &str = "application/json;charset=UTF-8";
/// The answer to a poll without events, to the letter.
pub const EMPTY_POLL: &str = r#"{"message":"","retcode":"0"}"#;
/// What signs an agent of the fixture in.
pub const SIGN_IN: &str = r#"{"password":"secret"}"#;

/// Waits until any Guid that was issued before this call has the age of GUIDINTERVAL. Agent 102
/// shows it.
pub fn let_guids_age(server: &Server) {
    let guid = server.sign_in_again(102);
    let poll = || server.client().get("/agentevent/102", Some(&guid));
    eventually("a renewal", || poll().guid().is_some());
}

impl Reply {
    /// The names of the fields in the order they came.
    pub fn field_names(&self) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| Some(line.split_once(": ")?.0))
            .collect()
    }

    /// The reply is JSON as every JSON reply is, with these fields beside the usual ones and no
    /// others.
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

    /// The reply is the failure with this code, to the letter, in HTTP 200.
    #[track_caller]
    pub fn assert_failure(&self, code: &str) {
        self.assert_http_error(200, code, &[]);
    }

    /// The reply is the failure with this status and code, to the letter: a result stands only
    /// where the Guid check refuses.
    #[track_caller]
    pub fn assert_http_error(&self, status: u16, code: &str, more: &[&str]) {
        let result = if ["000-003", "100-006"].contains(&code) {
            r#","result":"""#
        } else {
            ""
        };
        self.assert_error_body(status, code, more, result);
    }

    /// The reply is the failure of a video download with this code, to the letter.
    #[track_caller]
    pub fn assert_video_failure(&self, code: &str) {
        self.assert_error_body(200, code, &[], r#","result":"""#);
    }

    /// The reply is the failure of a client who casts the result to an object, to the letter.
    #[track_caller]
    pub fn assert_object_failure(&self, code: &str) {
        self.assert_error_body(200, code, &[], r#","result":{}"#);
    }

    /// The reply is the failure with this status and code, and ends with this after the message.
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
    /// Polls that wait ten minutes unless something answers them before: a test that has to wait
    /// for one fails.
    pub fn endless_polls(self) -> Setup {
        self.set("AGENT_POLL_WAIT_FLAG", "ON")
            .set("AGENT_POLL_WAIT_TIMES", "6000")
            .set("TIMEOUT_FLAG", "OFF")
            .expect_log("a poll waits 600000 ms")
    }
}

impl Server {
    /// A new connection from another address of this machine, for instance 127.0.0.2.
    pub fn client_from(&self, source: &str) -> Client {
        let socket = connect_from(source, self.address(), None);
        Client::over(socket, &self.scratch().path().join("certificate.pem"))
    }

    /// The value of a sample of `/metrics`, by name and labels; 0 where there is none.
    pub fn metric(&self, sample: &str) -> u64 {
        self.metrics().value(sample)
    }

    /// Sends a poll on a connection of its own and waits until it is parked.
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
