//! The way to a policy host: checked addresses, no TLS sessions, and how far a fetch has come.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ipnet::IpNet;
use mail_types::{AddressClass, DnsError, HostName, Resolver};
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use tls_words::Untrusted;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;
use tower_service::Service;

use crate::fetch::{FetchError, Stage};

type BoxError = Box<dyn Error + Send + Sync>;

/// How far one address of a fetch has come.
pub(super) struct Progress {
    stage: AtomicU8,
    /// How long TCP and TLS may take.
    limit: Duration,
    /// How long nobody else is asked once the request was sent.
    patience: Duration,
    turn: Arc<Semaphore>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
    asking: Notify,
    untrusted: Mutex<Option<Untrusted>>,
}

impl Progress {
    pub(super) fn new(limit: Duration, patience: Duration, turn: Arc<Semaphore>) -> Self {
        Self {
            stage: AtomicU8::new(1),
            limit,
            patience,
            turn,
            held: Mutex::new(None),
            asking: Notify::new(),
            untrusted: Mutex::new(None),
        }
    }

    pub(super) fn reach(&self, stage: Stage) {
        let n = match stage {
            Stage::Queue | Stage::Dns => 0,
            Stage::Connect => 1,
            Stage::Tls => 2,
            Stage::Headers => 3,
            Stage::Body => 4,
        };
        self.stage.fetch_max(n, Ordering::Relaxed);
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Dns,
            1 => Stage::Connect,
            2 => Stage::Tls,
            3 => Stage::Headers,
            _ => Stage::Body,
        }
    }

    /// Returns when the request was sent so long ago that others should have their turn.
    pub(super) async fn asked_for_long(&self) {
        self.asking.notified().await;
        tokio::time::sleep(self.patience).await;
    }

    /// Why the host's certificates lead to no authority that is trusted.
    pub(super) fn note_untrusted(&self, why: Untrusted) {
        *self.untrusted.lock() = Some(why);
    }

    pub(super) fn untrusted(&self) -> Option<Untrusted> {
        self.untrusted.lock().clone()
    }

    /// Lets another address send its request.
    pub(super) fn end_turn(&self) {
        drop(self.held.lock().take());
    }

    async fn take_turn(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = Arc::clone(&self.turn).acquire_owned().await {
            *self.held.lock() = Some(permit);
        }
        self.asking.notify_one();
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stage().fmt(f)
    }
}

/// The one address that a client connects to, whatever it asks for: it was checked before (row H1-22).
pub(super) struct Only(pub(super) IpAddr);

impl Resolve for Only {
    fn resolve(&self, _: Name) -> Resolving {
        let address = SocketAddr::new(self.0, 0);
        Box::pin(async move { Ok(Box::new(std::iter::once(address)) as Addrs) })
    }
}

/// Where the policy host is. Addresses of special use never come out of it (row H1-22).
pub(super) async fn addresses(
    resolver: &dyn Resolver,
    allow: &[IpNet],
    host: &HostName,
) -> Result<Vec<IpAddr>, FetchError> {
    let answer = resolver
        .addresses(host)
        .await
        .map_err(|error| unanswered(error, resolver))?;
    let mut refused = None;
    let mut good = answer.value;
    good.retain(|ip| {
        let class = AddressClass::of(*ip);
        let ok = class.is_global() || allow.iter().any(|net| net.contains(ip));
        if !ok {
            refused.get_or_insert((*ip, class));
        }
        ok
    });
    match (good.is_empty(), refused) {
        (true, Some((address, class))) => Err(FetchError::RefusedAddress { address, class }),
        (true, None) => Err(FetchError::Dns(DnsError::Temporary("no address".into()))),
        (false, _) => Ok(good),
    }
}

/// Name servers of ours that answer nobody say nothing about this host.
fn unanswered(error: DnsError, resolver: &dyn Resolver) -> FetchError {
    match (&error, resolver.fault()) {
        (DnsError::Local(_), _) => FetchError::Local(error.to_string()),
        (DnsError::Temporary(_), Some(fault)) => {
            FetchError::Local(fault.trim_end_matches('.').to_owned())
        }
        _ => FetchError::Dns(error),
    }
}

/// Keeps no TLS session. rustls asks for one as it begins a handshake, and for nothing else before
/// TCP is there, so this also knows that the TLS stage is reached.
#[derive(Debug)]
pub(super) struct NoSessions(pub(super) Arc<Progress>);

impl ClientSessionStore for NoSessions {
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.reach(Stage::Tls);
        None
    }
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

/// Bounds the time for TCP and TLS, and waits for the turn before the request is sent: headers are next.
#[derive(Clone)]
pub(super) struct Watch(pub(super) Arc<Progress>);

/// A connector under a [`Watch`].
#[derive(Clone)]
pub(super) struct Watched<S> {
    inner: S,
    progress: Arc<Progress>,
}

impl<S> Layer<S> for Watch {
    type Service = Watched<S>;
    fn layer(&self, inner: S) -> Watched<S> {
        Watched {
            inner,
            progress: Arc::clone(&self.0),
        }
    }
}

impl<S, T> Service<T> for Watched<S>
where
    S: Service<T, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let connecting = self.inner.call(target);
        let progress = Arc::clone(&self.progress);
        Box::pin(async move {
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let connected = tokio::time::timeout(progress.limit, connecting).await;
            let connected = connected.map_err(late)??;
            progress.take_turn().await;
            progress.reach(Stage::Headers);
            Ok(connected)
        })
    }
}
