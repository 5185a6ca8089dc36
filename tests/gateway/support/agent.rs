//! A signed-in agent.

use super::client::{Client, Reply};
use super::server::Server;

/// An agent with the Guid of its session.
pub struct Agent<'a> {
    server: &'a Server,
    pub number: u32,
    pub guid: String,
}

impl Server {
    /// Signs an agent in with the password `secret`.
    pub fn agent(&self, number: u32) -> Agent<'_> {
        self.agent_with(number, &self.sign_in(number))
    }

    /// An agent who has signed in already.
    pub fn agent_with(&self, number: u32, guid: &str) -> Agent<'_> {
        Agent {
            server: self,
            number,
            guid: guid.to_owned(),
        }
    }
}

impl Agent<'_> {
    /// The path of a download with this query.
    pub fn path(&self, query: &str) -> String {
        format!("/recordfile/{}/videofiledownloadEx?{query}", self.number)
    }

    /// Requests a path below the base path on a new connection; `{}` stands for the agent.
    pub fn get(&self, path: &str, fields: &str) -> Reply {
        let mut client = self.server.client();
        let path = path.replace("{}", &self.number.to_string());
        client.send_get(&path, &self.guid, fields);
        client.reply()
    }

    /// The result code for a path.
    pub fn code_of(&self, path: &str) -> String {
        code(&self.get(path, ""), path)
    }

    /// Downloads on a new connection, with `query` and header lines `fields` (each with CRLF) sent
    /// verbatim.
    pub fn ask(&self, query: &str, fields: &str) -> Reply {
        let (mut client, mut reply) = self.begin(query, fields);
        reply.body = client.bytes(reply.length());
        reply
    }

    /// The result code of a download.
    pub fn code(&self, query: &str) -> String {
        code(&self.ask(query, ""), query)
    }

    /// Requests a download on a new connection and reads only the head of the reply.
    pub fn begin(&self, query: &str, fields: &str) -> (Client, Reply) {
        let mut client = self.server.client();
        client.send_get(&self.path(query), &self.guid, fields);
        let reply = client.head();
        (client, reply)
    }
}

/// The result code of a reply that may be a recording.
fn code(reply: &Reply, asked: &str) -> String {
    assert_eq!(reply.status, 200, "{asked}: {reply:?}");
    match reply.field("Content-Type") {
        Some("application/octet-stream;charset=utf-8") => "0".to_owned(),
        _ => reply.code(),
    }
}
