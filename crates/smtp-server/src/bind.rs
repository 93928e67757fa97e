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
    /// A socket that was passed to us cannot be used.
    #[error("listener {listener:?}: the socket that was passed cannot be used: {source}")]
    Passed {
        /// The listener's name.
        listener: Box<str>,
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

/// Takes a socket that listens already. Within a tokio runtime.
pub(crate) fn adopt(
    listener: &str,
    socket: std::net::TcpListener,
) -> Result<TcpListener, BindError> {
    let passed = |source| BindError::Passed {
        listener: listener.into(),
        source,
    };
    socket.set_nonblocking(true).map_err(passed)?;
    TcpListener::from_std(socket).map_err(passed)
}

/// Where a socket listens.
pub(crate) fn local(listener: &str, socket: &TcpListener) -> Result<SocketAddr, BindError> {
    socket.local_addr().map_err(|source| BindError::Passed {
        listener: listener.into(),
        source,
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
