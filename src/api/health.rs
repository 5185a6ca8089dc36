//! `GET /health`: whether a load balancer may use this node.

use super::code::ResultCode;
use super::gateway::Gateway;
use super::reply::Reply;

impl Gateway {
    /// 200 while the service can do its work, 503 while it drains or a mount is lost. Reads the
    /// results of the mount watch, so it never waits for a file server.
    pub(super) fn health(&self) -> Reply {
        if self.is_draining() {
            Reply::http_error(503, ResultCode::BUSY)
        } else if self.mounts.any_lost() {
            Reply::http_error(503, ResultCode::MOUNT_LOST)
        } else {
            Reply::success()
        }
    }

    /// The status of `/health` without a body, for load balancers that send `OPTIONS *`, `OPTIONS
    /// /` or `HEAD /`.
    pub(super) fn health_status(&self) -> Reply {
        let health = self.health();
        Reply::new(health.status, health.code, "text/plain", String::new())
    }
}
