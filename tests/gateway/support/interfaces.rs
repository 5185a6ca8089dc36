//! Every interface in the program's table, with a valid request.

use std::sync::LazyLock;

use cc_gateway::api;

use super::client::Reply;
use super::server::Server;
use super::shape::SIGN_IN;

/// An interface with a valid request.
pub struct Interface {
    pub name: &'static str,
    pub method: &'static str,
    /// `{}` stands for the agent, and `WORKNO` for the queried agent, which is the same in
    /// [`Interface::ask`].
    pub path: String,
    /// `{}` stands for the agent.
    pub body: &'static str,
    needs_guid: bool,
}

/// The interfaces, and `forceLogoutWithReason` once more with the invalid reason 0.
pub static INTERFACES: LazyLock<Vec<Interface>> = LazyLock::new(|| {
    let mut all: Vec<Interface> = api::INTERFACES.iter().map(Interface::from).collect();
    let with_reason = all
        .iter()
        .find(|interface| interface.name == "forceLogoutWithReason")
        .unwrap();
    let (method, path) = (with_reason.method, with_reason.path.replace("/255", "/0"));
    all.push(Interface {
        name: "forceLogoutWithReason 0",
        method,
        path,
        body: "",
        needs_guid: true,
    });
    all
});

impl From<&'static api::interfaces::InterfaceSpec> for Interface {
    fn from(entry: &'static api::interfaces::InterfaceSpec) -> Interface {
        let parts = entry.path.split('/').map(|part| match part {
            "{id}" => "{}",
            "{reason}" => "255",
            "{autoflag}" | "{flag}" | "{isautoanswer}" => "true",
            "{time}" => "60",
            "{restcause}" => "0",
            "{workno}" => "WORKNO",
            "{vdnid}" => "512",
            part => {
                assert!(!part.starts_with('{'), "{part} needs a value here");
                part
            }
        });
        let query = match entry.log_name {
            "downloadVideoFileEx" => "?recordId=Y:/1/0/20201202/503/1714442.mp4",
            "downloadRecordFile" => "?recordId=Y:/1/0/20201202/503/1714442.V3",
            "recordfiledownloadEx" => {
                "?callId=1606900483-31&hwFileName=Y:/1/0/20201202/503/1714442.mp4"
            }
            "getLocalRecordPath" => "?format=1&recordId=Y:/1/0/20201202/503/1714442.V3",
            "downloadLocalRecordFile" => {
                "?token=TOKEN&localRecordPath=Y:/1/0/20201202/503/1714442.V3"
            }
            _ => "",
        };
        let path = format!("/{}{query}", parts.collect::<Vec<_>>().join("/"));
        let name = entry.log_name;
        let body = match name {
            "login" | "forceLogin" => SIGN_IN,
            "queryAgentInfoWithoutSkills" => r#"{"agentlist":["{}"]}"#,
            "queryStatInfoOfAcd" => r#"{"skills":["1"]}"#,
            _ => "",
        };
        Interface {
            name,
            method: entry.method.name(),
            path,
            body,
            needs_guid: entry.needs_guid,
        }
    }
}

impl Interface {
    pub fn ask(&self, server: &Server, agent: &str, guid: Option<&str>) -> Reply {
        let mut path = self.path.replace("{}", agent).replace("WORKNO", agent);
        if path.contains("TOKEN") {
            let first = INTERFACES
                .iter()
                .find(|interface| interface.name == "getLocalRecordPath")
                .unwrap();
            let first = first.ask(server, agent, guid).json();
            path = path.replace("TOKEN", first["result"]["token"].as_str().unwrap_or("none"));
        }
        server
            .client()
            .request(self.method, &path, guid, &self.body.replace("{}", agent))
    }

    /// Asserts the exact failure of this interface with this code. One client casts the result to
    /// an object.
    #[track_caller]
    pub fn assert_failure(&self, reply: &Reply, code: &str) {
        match self.name {
            "getLocalRecordPath" => reply.assert_object_failure(code),
            _ => reply.assert_failure(code),
        }
    }

    pub fn is_sign_in(&self) -> bool {
        !self.needs_guid && self.path.contains("{}")
    }

    pub fn is_for_everybody(&self) -> bool {
        !self.path.contains("{}")
    }
}
