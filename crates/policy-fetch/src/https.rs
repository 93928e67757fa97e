//! The real fetcher: reqwest over our own rustls configuration and our own DNS.
//!
//! Each address of each fetch has a client of its own. Fetches are rare and never reuse a connection, and
//! so nothing can leak from one to the next: no cookie, no pooled connection, no TLS session. It also
//! gives each address its own [`Progress`], from which a time-out knows its stage.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipnet::IpNet;
use mail_types::{BoxFuture, Domain, HostName, Resolver};
use mta_sts::{MAX_POLICY_SIZE, Parsed, Policy};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use rustls::ClientConfig;
use rustls::client::Resumption;
use tls_words::Untrusted;

use crate::fetch::{FetchError, FetchFailure, PolicyFetcher, Stage};

mod answer;
mod cause;
mod connect;
mod tries;

use answer::{is_text_plain, printable, retry_after};
use connect::{NoSessions, Only, Progress, Watch};
use tokio::task::JoinSet;
pub use tries::CONNECTIONS;
use tries::{Pace, Places, Tries, by_turns};

/// Fetches policies as RFC 8461 section 3.3 says: `GET
/// https://mta-sts.<domain>/.well-known/mta-sts.txt` on port 443, over HTTP/1.1, with SNI, and with
/// no redirect, proxy, cookie, cache, content coding, retry or body.
pub struct HttpsFetcher {
    resolver: Arc<dyn Resolver>,
    tls: Arc<TlsSource>,
    allow: Arc<[IpNet]>,
    port: u16,
    pace: Pace,
}

/// Makes the TLS configuration of one connection from the trust anchors of that moment, so that a reload
/// of them counts for the next fetch (row I3-04).
pub type TlsSource = dyn Fn(Note) -> ClientConfig + Send + Sync;

/// Takes why a chain is not trusted, as whoever verifies it finds: the error does not say.
pub type Note = Arc<dyn Fn(Untrusted) + Send + Sync>;

/// The HTTP client does not take our settings.
#[derive(Debug, thiserror::Error)]
#[error("the HTTPS client cannot be made: {0}")]
pub struct HttpsFetcherError(String);

impl HttpsFetcher {
    /// `tls` brings roots, provider and versions (1.2 and up), anew for each connection; ALPN, SNI and
    /// resumption are set here. `allow` is `egress.allow-special-use`.
    ///
    /// # Errors
    /// The HTTP client refuses the configuration: told at start rather than at the first fetch.
    pub fn new(
        resolver: Arc<dyn Resolver>,
        tls: Arc<TlsSource>,
        allow: Vec<IpNet>,
    ) -> Result<Self, HttpsFetcherError> {
        Self::with_port(resolver, tls, allow, 443)
    }

    /// As [`HttpsFetcher::new`], to another port than the standard's.
    pub(crate) fn with_port(
        resolver: Arc<dyn Resolver>,
        tls: Arc<TlsSource>,
        allow: Vec<IpNet>,
        port: u16,
    ) -> Result<Self, HttpsFetcherError> {
        let fetcher = Self {
            resolver,
            tls,
            allow: allow.into(),
            port,
            pace: Pace::default(),
        };
        let anywhere = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let progress = Tries::default().begin(anywhere, Duration::ZERO, Duration::ZERO);
        fetcher
            .client(anywhere, &progress)
            .map_err(|e| HttpsFetcherError(cause::words(&e)))?;
        Ok(fetcher)
    }

    /// Makes a client that connects to this checked address and to no other.
    fn client(
        &self,
        address: IpAddr,
        progress: &Arc<Progress>,
    ) -> reqwest::Result<reqwest::Client> {
        let noted = Arc::clone(progress);
        let mut tls = (self.tls)(Arc::new(move |why| noted.note_untrusted(why)));
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.enable_sni = true;
        tls.enable_early_data = false;
        tls.resumption = Resumption::store(Arc::new(NoSessions(Arc::clone(progress))));
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Only(address))
            .connector_layer(Watch(Arc::clone(progress)))
            .https_only(true)
            .http1_only()
            .http1_max_headers(MAX_HEADERS)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .pool_max_idle_per_host(0)
            .user_agent(USER_AGENT)
            .build()
    }

    async fn get(
        &self,
        domain: &Domain,
        within: Duration,
        tries: &Arc<Tries>,
    ) -> Result<Parsed, FetchFailure> {
        let host = domain
            .prefixed("mta-sts")
            .map_err(|_| FetchError::NameTooLong)?;
        let found = connect::addresses(&*self.resolver, &self.allow, &host).await?;
        let Some(answer) = self.first_answer(&host, found, within, tries).await else {
            return Err(tries.verdict().into());
        };
        let Answering {
            mut response,
            progress,
        } = answer;
        progress.reach(Stage::Body);
        check_head(response.status().as_u16(), response.headers())?;
        if response
            .content_length()
            .is_some_and(|n| n > MAX_POLICY_SIZE as u64)
        {
            return Err(FetchError::Oversize.into());
        }
        let mut body = Vec::new();
        loop {
            let read = body.len();
            let chunk = response.chunk().await;
            match chunk.map_err(|e| cause::of(&e, &host, &progress, read))? {
                Some(chunk) if read + chunk.len() > MAX_POLICY_SIZE => {
                    return Err(FetchError::Oversize.into());
                }
                Some(chunk) => body.extend_from_slice(&chunk),
                None => break,
            }
            tries.bytes.store(body.len(), Ordering::Relaxed);
        }
        Policy::parse(&body).map_err(|e| FetchError::Policy(e).into())
    }

    /// The first answer that any of the addresses begins. None: all have failed, and said so in `tries`.
    async fn first_answer(
        &self,
        host: &HostName,
        found: Vec<IpAddr>,
        within: Duration,
        tries: &Arc<Tries>,
    ) -> Option<Answering> {
        let mut waiting = by_turns(found).into_iter();
        let mut running = JoinSet::new();
        let mut next = true;
        let places = Arc::new(Places::default());
        loop {
            if next && let Some(address) = waiting.next() {
                let limit = self.pace.limit(within, waiting.len());
                places.take(waiting.len());
                let places = Arc::clone(&places);
                let progress = tries.begin(address, limit, self.pace.patience);
                let client = self.client(address, &progress);
                let (url, host) = (self.url(host), host.clone());
                let tries = Arc::clone(tries);
                running.spawn(async move {
                    let asked = ask(client, &url, &host, &progress, &places).await;
                    places.leave();
                    let failed = asked.map_err(|cause| tries.fail(address, cause));
                    let response = failed.ok()?;
                    Some(Answering { response, progress })
                });
            }
            let may_begin = waiting.len() > 0 && running.len() < CONNECTIONS;
            next = tokio::select! {
                ended = running.join_next() => match ended? {
                    Ok(Some(answer)) => return Some(answer),
                    Ok(None) | Err(_) => true,
                },
                () = tokio::time::sleep(self.pace.stagger), if may_begin => tries.nobody_asks(),
            };
        }
    }

    fn url(&self, host: &HostName) -> String {
        match self.port {
            443 => format!("https://{host}/.well-known/mta-sts.txt"),
            port => format!("https://{host}:{port}/.well-known/mta-sts.txt"),
        }
    }
}

/// A host whose answer has begun.
struct Answering {
    response: reqwest::Response,
    progress: Arc<Progress>,
}

/// Asks one address. An answer that does not begin soon lets another one be asked beside, and if all places
/// are taken also has its own.
async fn ask(
    client: reqwest::Result<reqwest::Client>,
    url: &str,
    host: &HostName,
    progress: &Progress,
    places: &Places,
) -> Result<reqwest::Response, FetchError> {
    let client = client.map_err(|e| FetchError::Local(cause::words(&e)))?;
    let request = client.get(url).header("accept", "text/plain");
    let mut sending = std::pin::pin!(request.send());
    let sent = tokio::select! {
        sent = &mut sending => sent,
        () = progress.asked_for_long() => {
            progress.end_turn();
            if places.are_wanted() {
                let stage = progress.stage();
                return Err(FetchError::Timeout { stage, bytes: 0 });
            }
            sending.await
        }
    };
    sent.map_err(|e| cause::of(&e, host, progress, 0).cause)
}

impl PolicyFetcher for HttpsFetcher {
    fn fetch<'a>(
        &'a self,
        domain: &'a Domain,
        within: Duration,
    ) -> BoxFuture<'a, Result<Parsed, FetchFailure>> {
        Box::pin(async move {
            let tries = Arc::new(Tries::default());
            let get = self.get(domain, within, &tries);
            match tokio::time::timeout(within, get).await {
                Ok(result) => result,
                Err(_) => Err(tries.verdict().into()),
            }
        })
    }
}

/// Status line and headers: anything but 200 `text/plain` without coding is no policy.
fn check_head(status: u16, headers: &HeaderMap) -> Result<(), FetchFailure> {
    if status != 200 {
        let location = headers
            .get(LOCATION)
            .filter(|_| (300..400).contains(&status));
        return Err(FetchFailure {
            cause: FetchError::Status {
                status,
                location: location.map(|v| printable(v.as_bytes())),
            },
            retry_after: headers.get(RETRY_AFTER).and_then(retry_after),
        });
    }
    if let Some(coding) = headers.get(CONTENT_ENCODING) {
        return Err(FetchError::ContentEncoding(printable(coding.as_bytes())).into());
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(one), None) if is_text_plain(one.as_bytes()) => Ok(()),
        (one, _) => Err(FetchError::MediaType(one.map(|v| printable(v.as_bytes()))).into()),
    }
}

/// Some CDNs refuse requests without one.
const USER_AGENT: &str = concat!(
    "Sealpost/",
    env!("CARGO_PKG_VERSION"),
    " (MTA-STS policy fetch; RFC 8461)"
);
const MAX_HEADERS: usize = 64;

#[cfg(test)]
mod tests;
