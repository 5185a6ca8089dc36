//! Every interface with a request that it carries out.

use super::client::Reply;
use super::server::Server;
use super::shape::SIGN_IN;

/// An interface with a request that it carries out for an agent with a right to it.
pub struct Interface {
    pub name: &'static str,
    pub method: &'static str,
    /// `{}` stands for the agent.
    pub path: &'static str,
    pub body: &'static str,
}

const fn interface(name: &'static str, method: &'static str, path: &'static str, body: &'static str) -> Interface {
    Interface { name, method, path, body }
}

/// The interfaces; the one with a reason is there twice, the second time with none.
pub const INTERFACES: [Interface; 13] = [
    interface("login", "PUT", "/onlineagent/{}", SIGN_IN),
    interface("forceLogin", "PUT", "/onlineagent/{}/forcelogin", SIGN_IN),
    interface("logout", "DELETE", "/onlineagent/{}/logout", ""),
    interface("forceLogout", "DELETE", "/onlineagent/{}/forcelogout", ""),
    interface("forceLogoutWithReason", "DELETE", "/onlineagent/{}/forcelogoutwithreason/255", ""),
    interface("forceLogoutWithReason 0", "DELETE", "/onlineagent/{}/forcelogoutwithreason/0", ""),
    interface("updateGuid", "PUT", "/onlineagent/{}/updateGuid", ""),
    interface("handShake", "POST", "/onlineagent/{}/handshake", ""),
    interface("heartBeat", "PUT", "/onlineagent/{}/heartbeat", ""),
    interface("getAgentEvent", "GET", "/agentevent/{}", ""),
    interface(
        "downloadVideoFileEx",
        "GET",
        "/recordfile/{}/videofiledownloadEx?recordId=Y:/1/0/20201202/503/1714442.mp4",
        "",
    ),
    interface("health", "GET", "/health", ""),
    interface("metrics", "GET", "/metrics", ""),
];

impl Interface {
    pub fn ask(&self, server: &Server, agent: &str, guid: Option<&str>) -> Reply {
        server.client().request(self.method, &self.path.replace("{}", agent), guid, self.body)
    }

    pub fn is_sign_in(&self) -> bool {
        matches!(self.name, "login" | "forceLogin")
    }

    pub fn is_for_everybody(&self) -> bool {
        matches!(self.name, "health" | "metrics")
    }
}
