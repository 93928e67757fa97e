//! The way to a policy host: checked addresses, no TLS sessions, and how far a fetch has come.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use ipnet::IpNet;
use mail_types::{AddressClass, DnsError, HostName, Resolver};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use tower_layer::Layer;
use tower_service::Service;

use crate::fetch::{FetchError, Stage};

/// How far a fetch has come, and what DNS said if it stopped there.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stage: AtomicU8,
    refused: OnceLock<FetchError>,
}

impl Progress {
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

    /// Why no address could be given to the HTTP client.
    pub(super) fn refused(&self) -> Option<&FetchError> {
        self.refused.get()
    }
}

/// Our resolver as reqwest wants it. Addresses of special use never come out of it, so the address
/// that was checked is the one that is connected to (row H1-22).
pub(super) struct CheckedResolver {
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) allow: Arc<[IpNet]>,
    pub(super) progress: Arc<Progress>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = Arc::clone(&self.resolver);
        let allow = Arc::clone(&self.allow);
        let progress = Arc::clone(&self.progress);
        Box::pin(async move {
            match addresses(&*resolver, &allow, name.as_str()).await {
                Ok(found) => {
                    progress.reach(Stage::Connect);
                    let found = found.into_iter().map(|ip| SocketAddr::new(ip, 0));
                    Ok(Box::new(found) as Addrs)
                }
                Err(e) => {
                    let _ = progress.refused.set(e.clone());
                    Err(e.into())
                }
            }
        })
    }
}

async fn addresses(
    resolver: &dyn Resolver,
    allow: &[IpNet],
    name: &str,
) -> Result<Vec<IpAddr>, FetchError> {
    let host = HostName::parse(name).map_err(|e| FetchError::Local(e.to_string()))?;
    let answer = resolver
        .addresses(&host)
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

/// Notes when the connector is done: TCP and TLS are there, headers are next.
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
    S: Service<T>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let connecting = self.inner.call(target);
        let progress = Arc::clone(&self.progress);
        Box::pin(async move {
            let connected = connecting.await?;
            progress.reach(Stage::Headers);
            Ok(connected)
        })
    }
}
