//! Binds the addresses of `LISTEN`, skips families the kernel lacks, and explains failures.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::ops::fatal_error::{Exit, FatalError};

/// Clients that the kernel queues while the loop is busy. It caps this at net.core.somaxconn.
const BACKLOG: i32 = 1024;

/// Bound listeners; nothing accepts from them yet.
#[derive(Debug)]
pub struct Listeners(pub(super) Vec<TcpListener>);

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The error for the operator.
    pub(crate) cause: FatalError,
    /// Whether a retry may succeed: another program may end, an interface may come up.
    pub(crate) is_transient: bool,
}

impl Listeners {
    /// Listens on every address whose family the kernel supports, and logs a warning for each other
    /// one.
    ///
    /// # Errors
    /// The first address that cannot be bound; none of them is then. Also if no family is
    /// supported.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Listeners, BindError> {
        let (listeners, skipped) = open_each(addresses, listen)?;
        skipped.iter().for_each(|warning| log::warn!("{warning}"));
        Ok(Listeners(listeners))
    }

    /// The addresses with their real ports.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }
}

/// Tries [`Listeners::bind`] while a service may be running already, by using port 0 instead.
/// Returns the warnings.
///
/// # Errors
/// As with `bind`, except for ports that are taken or forbidden.
pub(crate) fn try_addresses(addresses: &[SocketAddr]) -> Result<Vec<String>, BindError> {
    let bound = open_each(addresses, |mut address| {
        address.set_port(0);
        socket(address).map(drop)
    });
    bound.map(|(_, skipped)| skipped)
}

/// Listens on one address. Nonblocking, because a waiting client may be gone before it is accepted.
fn listen(address: SocketAddr) -> Result<TcpListener, Errno> {
    let socket = socket(address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn socket(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd =
        rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // LISTEN has separate entries for IPv4.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Calls `open` for each address. Addresses whose family the kernel lacks are skipped with a
/// warning, as long as another remains.
fn open_each<T>(
    addresses: &[SocketAddr],
    mut open: impl FnMut(SocketAddr) -> Result<T, Errno>,
) -> Result<(Vec<T>, Vec<String>), BindError> {
    let mut opened = Vec::new();
    let mut skipped = Vec::new();
    for &address in addresses {
        match open(address) {
            Ok(one) => opened.push(one),
            Err(error) if lacks_family(address, error) => skipped.push((address, error)),
            Err(error) => return Err(bind_error(address, error)),
        }
    }
    match skipped.first() {
        Some(&(address, error)) if opened.is_empty() => Err(bind_error(address, error)),
        _ => {
            let warn = |(address, _): &(SocketAddr, Errno)| {
                format!(
                    "LISTEN: {address} is skipped: this machine has no {}; remove it from LISTEN",
                    family(*address)
                )
            };
            Ok((opened, skipped.iter().map(warn).collect()))
        }
    }
}

/// Whether the machine lacks the whole family of the address: the kernel was started without it
/// (`ipv6.disable=1`), or has it switched off, in which case not even its loopback address can be
/// bound.
fn lacks_family(address: SocketAddr, error: Errno) -> bool {
    let is_everywhere = address.ip().is_unspecified() || address.ip().is_loopback();
    error == Errno::AFNOSUPPORT || error == Errno::ADDRNOTAVAIL && is_everywhere
}

fn family(address: SocketAddr) -> &'static str {
    if address.is_ipv6() { "IPv6" } else { "IPv4" }
}

/// Exits with 69, or with 77 for a missing permission, or with 78 for a missing family; says what
/// to do.
fn bind_error(address: SocketAddr, error: Errno) -> BindError {
    let (exit, is_transient, advice) = match error {
        // Waiting does not help: it takes another LISTEN or another kernel.
        _ if lacks_family(address, error) => (
            Exit::Config,
            false,
            "this machine has no such protocol; remove the address from LISTEN",
        ),
        Errno::ADDRINUSE => (
            Exit::Unavailable,
            true,
            "another program listens there; stop it or change LISTEN",
        ),
        Errno::ADDRNOTAVAIL => (
            Exit::Unavailable,
            true,
            "no interface of this machine has that address; change LISTEN",
        ),
        Errno::ACCESS => (
            Exit::Permission,
            false,
            "ports below 1024 need CAP_NET_BIND_SERVICE; change LISTEN",
        ),
        _ => (Exit::Unavailable, false, "change LISTEN"),
    };
    let text = format!("cannot listen on {address}: {error}; {advice}");
    BindError {
        cause: FatalError::new(exit, text),
        is_transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// A kernel on which these addresses fail.
    fn without(
        failing: &'static [(&'static str, Errno)],
    ) -> impl FnMut(SocketAddr) -> Result<SocketAddr, Errno> {
        move |address| {
            let error = failing.iter().find(|(text, _)| text.parse() == Ok(address));
            error.map_or(Ok(address), |(_, error)| Err(*error))
        }
    }

    #[test]
    fn a_family_the_kernel_lacks_is_left_out_and_nothing_else_is() {
        let both = addresses(&["0.0.0.0:8043", "[::]:8043"]);
        for error in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL] {
            let failing: &'static _ = Box::leak(Box::new([("[::]:8043", error)]));
            let (opened, skipped) = open_each(&both, without(failing)).unwrap();
            assert_eq!(opened, both[..1]);
            assert_eq!(
                skipped,
                ["LISTEN: [::]:8043 is skipped: this machine has no IPv6; remove it from LISTEN"]
            );
        }
        for (failing, part, exit, is_transient) in [
            (
                &[("[::]:8043", Errno::ADDRINUSE)][..],
                "cannot listen on [::]:8043: ",
                Exit::Unavailable,
                true,
            ),
            (
                &[("0.0.0.0:8043", Errno::ACCESS)],
                "CAP_NET_BIND_SERVICE",
                Exit::Permission,
                false,
            ),
            (
                &[
                    ("0.0.0.0:8043", Errno::AFNOSUPPORT),
                    ("[::]:8043", Errno::AFNOSUPPORT),
                ],
                "no such protocol",
                Exit::Config,
                false,
            ),
        ] {
            let error = open_each(&both, without(failing)).unwrap_err();
            assert!(error.cause.to_string().contains(part), "{}", error.cause);
            assert_eq!(
                (error.cause.exit(), error.is_transient),
                (exit, is_transient)
            );
        }
        // A specific address may be added to an interface later.
        let own = addresses(&["0.0.0.0:1", "[2001:db8::1]:1"]);
        let error =
            open_each(&own, without(&[("[2001:db8::1]:1", Errno::ADDRNOTAVAIL)])).unwrap_err();
        assert!(
            error.is_transient && error.cause.to_string().contains("no interface"),
            "{}",
            error.cause
        );
    }

    #[test]
    fn an_address_in_use_is_free_to_be_tried() {
        let taken = Listeners::bind(&addresses(&["127.0.0.1:0"])).unwrap();
        assert!(
            Listeners::bind(&taken.addresses())
                .unwrap_err()
                .is_transient
        );
        assert_eq!(try_addresses(&taken.addresses()).unwrap(), [""; 0]);
    }
}
