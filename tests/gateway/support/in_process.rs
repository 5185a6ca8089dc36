//! The service inside the test process, for short timeouts, which have no setting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cc_gateway::api::Gateway;
use cc_gateway::config;
use cc_gateway::front::{KeyPairFiles, Listeners, Service, Timeouts, Tls};
use cc_gateway::ops::counters::Counters;
use cc_gateway::ops::notify::ServiceManager;
use cc_gateway::session::Roster;

use super::client::Client;
use super::scratch::Scratch;
use super::server::Setup;
use super::shape::SIGN_IN;

/// Longer than any test lasts.
const NEVER: Duration = Duration::from_secs(600);

/// No timeout that a test could reach; each test shortens only the one it is about.
pub const NO_TIMEOUTS: Timeouts = Timeouts {
    handshake: NEVER,
    first_request: NEVER,
    head: NEVER,
    body: NEVER,
    idle: NEVER,
    response: NEVER,
    window: NEVER,
    linger: NEVER,
};

/// A running service, stopped on drop.
pub struct InProcess {
    service: Option<Service>,
    address: SocketAddr,
    counters: Arc<Counters>,
    scratch: Scratch,
}

impl Setup {
    /// Starts the service in this process.
    pub fn start_in_process(self, timeouts: Timeouts) -> InProcess {
        let scratch = self.into_files();
        let (settings, _) = config::read(&scratch.path().join("basic.properties")).unwrap();
        let (roster, _) = Roster::read(&settings.agents_file, settings.agent_id_max).unwrap();
        let files = KeyPairFiles {
            certificate: settings.tls_certificate.clone(),
            private_key: settings.tls_private_key.clone(),
        };
        let tls = Tls::new(files.load().unwrap()).unwrap();
        let listeners = Listeners::bind(&settings.listen).unwrap();
        let address = listeners.addresses()[0];
        let counters = Arc::new(Counters::default());
        let gateway = Arc::new(Gateway::new(settings, roster, Arc::clone(&counters)).unwrap());
        let manager = Arc::new(ServiceManager::default());
        let counted = Arc::clone(&counters);
        let service = Service::start(listeners, tls, gateway, timeouts, counted, manager).unwrap();
        InProcess {
            service: Some(service),
            address,
            counters,
            scratch,
        }
    }
}

impl InProcess {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.address, &self.scratch.path().join("certificate.pem"))
    }

    /// Does the handshake on a connected socket.
    pub fn client_over(&self, socket: std::net::TcpStream) -> Client {
        Client::over(socket, &self.scratch.path().join("certificate.pem"))
    }

    /// Stops the service as a signal does; returns how many downloads were cut.
    pub fn stop(mut self, drain: Duration) -> u64 {
        self.service.take().unwrap().stop(drain, || false)
    }

    /// Signs in with the password `secret` and returns the Guid.
    pub fn sign_in(&self, agent: u32) -> String {
        let path = format!("/onlineagent/{agent}");
        self.client().put(&path, None, SIGN_IN).new_guid()
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop(Duration::ZERO, || true);
        }
    }
}
