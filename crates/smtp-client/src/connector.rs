//! Opens sessions.

use crate::{Connection, ConnectorConfig, Peer, PoolKey, Posture, Roots, SessionError};

/// Opens sessions. Cheap to clone; one per set of roots and source address.
#[derive(Clone)]
pub struct Connector {
    config: ConnectorConfig,
    roots: Roots,
}

impl Connector {
    /// With its settings and trust anchors.
    #[must_use]
    pub const fn new(config: ConnectorConfig, roots: Roots) -> Self {
        Self { config, roots }
    }

    /// Opens a session that is authenticated: STARTTLS and a certificate valid for the MX name.
    ///
    /// # Errors
    /// Where it stopped and why; the connection is closed.
    pub async fn connect(&self, peer: &Peer) -> Result<Connection, SessionError> {
        self.connect_with(peer, Posture::Authenticate).await
    }

    /// Opens a session that meets this posture.
    ///
    /// # Errors
    /// Where it stopped and why; the connection is closed.
    pub async fn connect_with(
        &self,
        peer: &Peer,
        posture: Posture,
    ) -> Result<Connection, SessionError> {
        let _ = (peer, posture, &self.config, &self.roots);
        unimplemented!()
    }

    /// The key under which the pool would have a connection to this peer, now.
    pub fn pool_key(&self, peer: &Peer, posture: Posture) -> PoolKey {
        PoolKey {
            mx: peer.mx.clone(),
            port: peer.addr.port(),
            route: self.config.route.clone(),
            source: self.config.source,
            posture,
            roots_generation: self.roots.current().generation(),
        }
    }
}
