//! Reports by HTTPS (RFC 8460 section 5.4).
//!
//! Whoever publishes a record chooses where the request goes. So it goes to port 443 of public addresses only, checked
//! after the look-up and connected to as checked; the certificate always has to be valid (decision AMB-22), redirects
//! are not followed, and of the answer nothing is read but its head.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use mail_types::{AddressClass, BoxFuture, Clean, HostName, Resolver};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ClientConfig;
use rustls::client::Resumption;
use tls_rpt::Endpoint;

use crate::ports::{BoxError, Post};

/// Posts reports, each with a client of its own: nothing leaks from one to the next.
pub struct HttpsPost {
    resolver: Arc<dyn Resolver>,
    tls: Arc<TlsSource>,
    allow: ArcSwap<Vec<IpNet>>,
    port: u16,
    within: Duration,
}

/// Makes the TLS configuration of one connection from the trust anchors of that moment.
pub type TlsSource = dyn Fn() -> ClientConfig + Send + Sync;

impl HttpsPost {
    /// `tls` brings roots, provider and versions; `allow` is `reporting.allow-special-use`.
    ///
    /// # Errors
    /// The HTTP client refuses the configuration: told at the start rather than at the first report.
    pub fn new(
        resolver: Arc<dyn Resolver>,
        tls: Arc<TlsSource>,
        allow: Vec<IpNet>,
    ) -> Result<Self, BoxError> {
        Self::with_port(resolver, tls, allow, 443)
    }

    /// As [`HttpsPost::new`], to another port than the standard's.
    pub(crate) fn with_port(
        resolver: Arc<dyn Resolver>,
        tls: Arc<TlsSource>,
        allow: Vec<IpNet>,
        port: u16,
    ) -> Result<Self, BoxError> {
        let post = Self {
            resolver,
            tls,
            allow: ArcSwap::from_pointee(allow),
            port,
            within: WITHIN,
        };
        post.client(IpAddr::V4(Ipv4Addr::LOCALHOST))
            .map_err(|e| words(&e))?;
        Ok(post)
    }

    /// Other networks of special use are allowed from now on.
    pub fn allow(&self, allow: Vec<IpNet>) {
        self.allow.store(Arc::new(allow));
    }

    /// Makes a client that connects to this checked address and to no other.
    fn client(&self, address: IpAddr) -> reqwest::Result<reqwest::Client> {
        let mut tls = (self.tls)();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.enable_sni = true;
        tls.enable_early_data = false;
        tls.resumption = Resumption::disabled();
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Only(address))
            .connect_timeout(CONNECT)
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

    async fn send(
        &self,
        to: &Endpoint,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<(), String> {
        let addresses = self.addresses(&to.host).await?;
        let url = match self.port {
            443 => format!("https://{}{}", to.host, to.path_and_query),
            port => format!("https://{}:{port}{}", to.host, to.path_and_query),
        };
        let mut failed = String::from("it has no address");
        for address in addresses.into_iter().take(MOST_ADDRESSES) {
            let client = self.client(address).map_err(|e| words(&e))?;
            let request = client.post(&url).header("content-type", media_type);
            match request.body(body.clone()).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                // The request has arrived: another address would only get it once more.
                Ok(answer) => return Err(refusal(&answer)),
                Err(e) if e.is_connect() => failed = words(&e),
                Err(e) => return Err(words(&e)),
            }
        }
        Err(failed)
    }

    /// Addresses of special use never come out of it (row B4-26).
    async fn addresses(&self, host: &HostName) -> Result<Vec<IpAddr>, String> {
        let answer = self.resolver.addresses(host).await;
        let mut addresses = answer.map_err(|e| e.to_string())?.value;
        let allow = self.allow.load();
        let mut refused = None;
        addresses.retain(|ip| {
            let class = AddressClass::of(*ip);
            let ok = class.is_global() || allow.iter().any(|net| net.contains(ip));
            if !ok {
                refused.get_or_insert((*ip, class));
            }
            ok
        });
        match refused {
            Some((ip, class)) if addresses.is_empty() => Err(format!(
                "it resolves to {ip}, {class}, which is not allowed (reporting.allow-special-use)"
            )),
            _ => Ok(addresses),
        }
    }
}

impl Post for HttpsPost {
    fn post<'a>(
        &'a self,
        to: &'a Endpoint,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let sent = self.send(to, media_type, body);
            match tokio::time::timeout(self.within, sent).await {
                Ok(sent) => sent.map_err(Into::into),
                Err(_) => Err(format!("no answer within {} seconds", self.within.as_secs()).into()),
            }
        })
    }
}

/// The one address that a client connects to, whatever it asks for: it was checked before.
struct Only(IpAddr);

impl Resolve for Only {
    fn resolve(&self, _: Name) -> Resolving {
        let address = SocketAddr::new(self.0, 0);
        Box::pin(async move { Ok(Box::new(std::iter::once(address)) as Addrs) })
    }
}

fn refusal(answer: &reqwest::Response) -> String {
    let status = answer.status();
    let is_redirect = status.is_redirection();
    let note = if is_redirect {
        " (redirects are not followed)"
    } else {
        ""
    };
    format!("HTTP status {}{note}", status.as_u16())
}

/// The innermost error's words, cleaned and short.
fn words(error: &reqwest::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    Clean::new(&last.to_string(), MAX_SHOWN).to_string()
}

const USER_AGENT: &str = concat!(
    "Sealpost/",
    env!("CARGO_PKG_VERSION"),
    " (TLS report; RFC 8460)"
);
const MAX_HEADERS: usize = 64;
const MAX_SHOWN: usize = 200;
const MOST_ADDRESSES: usize = 4;
const CONNECT: Duration = Duration::from_secs(10);
/// For all addresses, and a report of ten megabytes.
const WITHIN: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests;
