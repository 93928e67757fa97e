//! Idle connections: handed out for an equal key only, and closed politely.

use std::time::Duration;

use mail_types::HostName;
use smtp_client::{Connection, Connector, Pool, PoolKey, PoolLimits, Posture};

use crate::ca::Ca;
use crate::peer::{Scripted, Step, greet, secure};
use crate::transactions::{CONTENT, recipients, send};
use crate::{MX, config, peer_of, roots};

async fn open(ca: &Ca, scripted: &Scripted, posture: Posture) -> Connection {
    Connector::new(config(), roots(ca))
        .connect_with(&peer_of(scripted), posture)
        .await
        .unwrap()
}

#[tokio::test]
async fn i1_12_only_an_equal_key_gets_a_connection() {
    let ca = Ca::new("Root");
    let pool = Pool::new(PoolLimits::default());
    let scripted = Scripted::start(secure(ca.leaf(&[MX]).server(), &[]));
    let connection = open(&ca, &scripted, Posture::DangerousOpportunistic).await;
    let key = connection.key().clone();
    assert!(
        connection
            .facts()
            .tls
            .as_ref()
            .unwrap()
            .verdict
            .would_verify()
    );
    pool.put(connection);
    assert_eq!(pool.len(), 1);
    let other_name = HostName::parse("mx2.d.test").unwrap();
    for (other, why) in [
        (
            PoolKey {
                posture: Posture::Authenticate,
                ..key.clone()
            },
            "posture",
        ),
        (
            PoolKey {
                mx: other_name.clone(),
                ..key.clone()
            },
            "name",
        ),
        (
            PoolKey {
                tls_name: other_name,
                ..key.clone()
            },
            "name in the certificate",
        ),
        (
            PoolKey {
                port: 1,
                ..key.clone()
            },
            "port",
        ),
        (
            PoolKey {
                route: Some("r".into()),
                ..key.clone()
            },
            "route",
        ),
        (
            PoolKey {
                source: Some([127, 0, 0, 1].into()),
                ..key.clone()
            },
            "source",
        ),
        (
            PoolKey {
                roots_generation: 99,
                ..key.clone()
            },
            "generation",
        ),
    ] {
        assert!(pool.take(&other).is_none(), "{why}");
    }
    assert!(pool.take(&key).is_some());
    assert!(pool.is_empty());
}

#[tokio::test]
async fn closed_by_the_peer_meanwhile() {
    let ca = Ca::new("Root");
    let pool = Pool::new(PoolLimits::default());
    for goodbye in [
        vec![Step::Close],
        vec![crate::peer::say("421 idle\r\n"), Step::Close],
    ] {
        let mut script = greet(&[]);
        script.extend(goodbye);
        let scripted = Scripted::start(script);
        let connection = open(&ca, &scripted, Posture::DangerousPlain).await;
        let key = connection.key().clone();
        scripted.heard().await; // The peer is gone.
        pool.put(connection);
        assert!(pool.take(&key).is_none());
    }
}

#[tokio::test]
async fn caps_and_polite_ends() {
    let ca = Ca::new("Root");
    let limits = PoolLimits {
        per_key: 1,
        ..PoolLimits::default()
    };
    let pool = Pool::new(limits);
    let scripted = Scripted::start_sessions(vec![greet(&[]), greet(&[])]);
    for _ in 0..2 {
        pool.put(open(&ca, &scripted, Posture::DangerousPlain).await);
    }
    assert_eq!(pool.len(), 1);
    assert_eq!(pool.close().await, 1);
    for heard in scripted.all_heard().await {
        assert_eq!(heard.lines, ["EHLO us.test", "QUIT"]);
    }
}

#[tokio::test]
async fn idle_time_lifetime_and_generation() {
    let ca = Ca::new("Root");
    let unlimited = PoolLimits::default();
    for limits in [
        PoolLimits {
            idle: Duration::ZERO,
            ..unlimited
        },
        PoolLimits {
            lifetime: Duration::ZERO,
            ..unlimited
        },
        PoolLimits {
            total: 0,
            ..unlimited
        },
        PoolLimits {
            transactions: 0,
            ..unlimited
        },
    ] {
        let scripted = Scripted::start(greet(&[]));
        let pool = Pool::new(limits);
        let connection = open(&ca, &scripted, Posture::DangerousPlain).await;
        pool.put(connection);
        assert!(pool.is_empty(), "{limits:?}");
        assert_eq!(scripted.heard().await.lines, ["EHLO us.test", "QUIT"]);
    }
    let scripted = Scripted::start(greet(&[]));
    let pool = Pool::new(unlimited);
    pool.put(open(&ca, &scripted, Posture::DangerousPlain).await);
    assert_eq!(pool.sweep().await, 0);
    assert_eq!(pool.close().await, 1);
    assert_eq!(scripted.heard().await.lines, ["EHLO us.test", "QUIT"]);
}

#[tokio::test]
async fn a_connection_that_failed_is_not_kept() {
    let ca = Ca::new("Root");
    let pool = Pool::new(PoolLimits::default());
    let mut script = greet(&[]);
    script.push(Step::Close);
    let scripted = Scripted::start(script);
    let mut connection = open(&ca, &scripted, Posture::DangerousPlain).await;
    assert!(
        send(&mut connection, &recipients(1), CONTENT)
            .await
            .is_err()
    );
    pool.put(connection);
    assert!(pool.is_empty());
}
