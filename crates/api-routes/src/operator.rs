//! Who acts on the API, and what they may do.

use std::net::IpAddr;
use std::sync::Arc;

use api_types::Role;

/// Who sent a request. Whatever serves the router puts one into each request's extensions; without it
/// nothing is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Through the control socket: may do everything.
    Socket {
        /// User id of the peer, if the system told.
        uid: Option<u32>,
    },
    /// Over HTTP, with a token or a session made with one.
    Http {
        /// The token's name.
        name: Arc<str>,
        /// What it may do.
        role: Role,
        /// Where from: the other end of the connection, which may be a proxy.
        address: IpAddr,
    },
}

impl Operator {
    /// What it may do.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Socket { .. } => Role::Admin,
            Self::Http { role, .. } => *role,
        }
    }

    /// For logs and for what is remembered of an order: `uid 0`, `token alice`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Socket { uid: Some(uid) } => format!("uid {uid}"),
            Self::Socket { uid: None } => "unknown user".to_owned(),
            Self::Http { name, .. } => format!("token {name}"),
        }
    }

    /// Where from: `socket`, or an address.
    #[must_use]
    pub fn origin(&self) -> String {
        match self {
            Self::Socket { .. } => "socket".to_owned(),
            Self::Http { address, .. } => address.to_string(),
        }
    }
}
