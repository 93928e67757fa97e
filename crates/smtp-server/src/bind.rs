//! Opens ports, with errors that say which.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else has the port.
    #[error(
        "listener {listener:?}: {address} is in use by another program (or another listener): \
         stop it, or choose another address"
    )]
    InUse {
        /// The listener's name.
        listener: Box<str>,
        /// The address.
        address: SocketAddr,
    },
    /// Ports below 1024 need a privilege.
    #[error(
        "listener {listener:?}: no permission to listen on {address}: ports below 1024 need root \
         or CAP_NET_BIND_SERVICE"
    )]
    NotPermitted {
        /// The listener's name.
        listener: Box<str>,
        /// The address.
        address: SocketAddr,
    },
    /// The machine does not have the address.
    #[error("listener {listener:?}: this machine has no address {}", address.ip())]
    NotLocal {
        /// The listener's name.
        listener: Box<str>,
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("listener {listener:?}: cannot listen on {address}: {source}")]
    Other {
        /// The listener's name.
        listener: Box<str>,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// TLS without a certificate.
    #[error("listener {listener:?}: its tls setting needs certificate and private-key")]
    NoCertificate {
        /// The listener's name.
        listener: Box<str>,
    },
}

/// Opens one port. Within a tokio runtime.
pub(crate) fn open(listener: &str, address: SocketAddr) -> Result<TcpListener, BindError> {
    socket(address).map_err(|source| {
        let listener = listener.into();
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { listener, address },
            io::ErrorKind::PermissionDenied => BindError::NotPermitted { listener, address },
            io::ErrorKind::AddrNotAvailable => BindError::NotLocal { listener, address },
            _ => BindError::Other {
                listener,
                address,
                source,
            },
        }
    })
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two listeners, on every system.
        socket.set_only_v6(true)?;
    }
    // A restart does not wait for old connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

const BACKLOG: i32 = 1024;
