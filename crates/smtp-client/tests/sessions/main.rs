//! Sessions against scripted peers on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test support: a panic is the failure report"
)]

mod ca;
mod conduct;
mod dane;
mod login;
mod opening;
mod peer;
mod pool;
mod tls;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use mail_types::{HostName, Timestamp};
use smtp_client::{Connector, ConnectorConfig, Peer, RootSet, RootSource, Roots};

use crate::ca::Ca;
use crate::peer::Scripted;

/// The name that all peers have.
const MX: &str = "mx1.d.test";

/// Trust anchors with this CA only.
fn roots(ca: &Ca) -> Roots {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ca.pem()).unwrap();
    let source = RootSource::File(file.path().to_owned());
    let (set, warnings) = RootSet::load(&[source]).unwrap();
    assert!(warnings.is_empty());
    Roots::new(set)
}

/// The time of all tests: within the validity of good certificates.
fn now() -> Timestamp {
    Timestamp::from_secs(1_772_366_400) // 2026-03-01
}

fn config() -> ConnectorConfig {
    let mut config = ConnectorConfig::new("us.test", Arc::new(now));
    config.timeouts.quit = Duration::from_secs(1);
    config
}

fn connector(ca: &Ca) -> Connector {
    Connector::new(config(), roots(ca))
}

fn peer_of(scripted: &Scripted) -> Peer {
    Peer::new(HostName::parse(MX).unwrap(), scripted.addr)
}
