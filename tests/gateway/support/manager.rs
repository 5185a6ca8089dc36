//! A service manager's end of the notification protocol, sd_notify(3).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use super::server::PATIENCE;

/// The socket that receives a service's state.
pub struct Manager {
    socket: UnixDatagram,
    /// The value for `NOTIFY_SOCKET`.
    pub name: String,
}

impl Manager {
    /// Listens at a path.
    pub fn at(path: &Path) -> Manager {
        Manager::over(
            UnixDatagram::bind(path).unwrap(),
            path.to_str().unwrap().to_owned(),
        )
    }

    /// Listens at an abstract address.
    pub fn abstract_at(name: &str) -> Manager {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        Manager::over(
            UnixDatagram::bind_addr(&address).unwrap(),
            format!("@{name}"),
        )
    }

    fn over(socket: UnixDatagram, name: String) -> Manager {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, name }
    }

    /// The next message.
    pub fn message(&self) -> String {
        let mut buffer = [0; 1024];
        let length = self
            .socket
            .recv(&mut buffer)
            .expect("a message of the service");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next message other than a watchdog ping.
    pub fn news(&self) -> String {
        loop {
            let message = self.message();
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }
}
