//! What stands before every route over HTTP: host, origin, login.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use admin::{Problem, ProblemKind};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mail_types::Clean;

use crate::access::Access;
use crate::places::Seat;
use crate::secret::Digest;

/// Both ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Whether whoever sent a request could still send it: for answers that go on.
#[derive(Clone)]
pub(crate) struct Standing(Arc<dyn Fn() -> bool + Send + Sync>);

impl Standing {
    pub(crate) fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    pub(crate) fn holds(&self) -> bool {
        (self.0)()
    }
}

/// Everything that is served over HTTP: does `Host` name us?
pub(crate) async fn host(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    let ends = request.extensions().get::<Ends>().copied();
    if let Err(problem) = one_host(&mut request) {
        return problem.into_response();
    }
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|value| value.to_str().ok());
    let ours = match (ends, host) {
        (Some(ends), Some(host)) => is_ours(host, ends.local.ip(), access.names()),
        _ => false,
    };
    if ours {
        return next.run(request).await;
    }
    let name = without_port(host.unwrap_or_default());
    let named = Clean::new(name, LONGEST_NAME);
    let detail = format!(
        "Host is \"{named}\", which is no name of this server: use the address of admin.http, or list the name \
         in the configuration (admin.names = [\"{named}\"]), also for a Prometheus that scrapes by name"
    );
    Problem::new(ProblemKind::WrongHost, detail).into_response()
}

/// RFC 9112 section 3.2: a server MUST answer 400 to several `Host` fields. Section 3.2.2: of a target in
/// absolute form it MUST take the authority and ignore `Host`.
fn one_host(request: &mut Request) -> Result<(), Problem> {
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        return Err(Problem::bad_request("Host is there more than once"));
    }
    if let Some(authority) = request.uri().authority() {
        let named = match authority.port() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        let host = HeaderValue::from_str(&named)
            .map_err(|_| Problem::bad_request("the target names no host"))?;
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(())
}

/// The API: from our own page or a program, and from somebody who has logged in.
pub(crate) async fn login(
    State(access): State<Access>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(ends) = request.extensions().get::<Ends>().copied() else {
        return Problem::unavailable("the connection is not known").into_response();
    };
    if !request.uri().path().starts_with("/v1/") {
        return Problem::not_found("there is no such page").into_response();
    }
    if !access.has_page() {
        let detail = "without admin.token-file only /metrics, /healthz and /readyz are served";
        return Problem::not_found(detail).into_response();
    }
    let acts = !request.method().is_safe();
    if acts && let Err(problem) = origin(request.headers()) {
        return problem.into_response();
    }
    let logs_in = request.method() == Method::POST && request.uri().path() == SESSION;
    if logs_in {
        return match with_login_body(&access, ends, request).await {
            Ok(request) => next.run(request).await,
            Err(problem) => problem.into_response(),
        };
    }
    let identity = match access.identify(request.headers(), ends.peer.ip()) {
        Ok(identity) => identity,
        Err(problem) => return problem.into_response(),
    };
    if let Some(session) = &identity.session {
        if acts && !has_csrf(request.headers(), &session.csrf) {
            let detail = format!("a session has to repeat its secret in the header {CSRF}");
            return Problem::new(ProblemKind::WrongOrigin, detail).into_response();
        }
        request.extensions_mut().insert(session.clone());
    }
    // Strangers' connections make room for others, also while they are answered; this one need not.
    if let Some(seat) = request.extensions().get::<Arc<Seat>>() {
        seat.is_known();
    }
    let headers = request.headers().clone();
    let still = move || access.still_allowed(&headers);
    let extensions = request.extensions_mut();
    extensions.insert(Standing::new(still));
    extensions.insert(identity.operator);
    next.run(request).await
}

/// Strangers send this body: only those who may try, a few octets of it, and soon.
async fn with_login_body(
    access: &Access,
    ends: Ends,
    request: Request,
) -> Result<Request, Problem> {
    access.may_try(ends.peer.ip())?;
    let (head, body) = request.into_parts();
    let taken = tokio::time::timeout(LOGIN_TIME, to_bytes(body, LOGIN_BODY)).await;
    let body = taken.map_err(|_| {
        let detail = format!("the body has to come within {} s", LOGIN_TIME.as_secs());
        Problem::new(ProblemKind::TimeLimit, detail)
    })?;
    // If it is the connection that broke nobody reads this.
    let body = body.map_err(|_| {
        let detail = format!("a login has a body of {LOGIN_BODY} octets at most");
        Problem::new(ProblemKind::TooLarge, detail)
    })?;
    Ok(Request::from_parts(head, Body::from(body)))
}

/// An address in `Host` cannot have been pointed here by anybody's DNS; a name can.
fn is_ours(host: &str, local: IpAddr, names: &[String]) -> bool {
    let name = without_port(host);
    let literal = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    if let Ok(address) = literal.unwrap_or(name).parse::<IpAddr>() {
        return address.to_canonical() == local.to_canonical();
    }
    let named = names.iter().any(|known| known.eq_ignore_ascii_case(name));
    named || (local.to_canonical().is_loopback() && name.eq_ignore_ascii_case("localhost"))
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host
            .find(']')
            .and_then(|end| host.get(..=end))
            .unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}

/// Browsers say where a request that acts comes from; programs say nothing.
fn origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    let own = match text(header::ORIGIN) {
        Some(origin) => origin
            .split_once("://")
            .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host)),
        // A session is a browser's, and browsers send Origin with whatever acts.
        None => headers.get(header::COOKIE).is_none(),
    };
    let site = headers.get("sec-fetch-site");
    let same_site = site.is_none_or(|site| site == "same-origin" || site == "none");
    if own && same_site {
        return Ok(());
    }
    let detail = "Origin is not this server: what acts is taken from its own page, or from programs with a token";
    Err(Problem::new(ProblemKind::WrongOrigin, detail))
}

fn has_csrf(headers: &HeaderMap, wanted: &str) -> bool {
    let said = headers.get(CSRF).and_then(|value| value.to_str().ok());
    said.is_some_and(|said| Digest::of(said).equals(&Digest::of(wanted)))
}

/// Octets of a name (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 255;
/// Octets of a login. A token has 64 or so.
const LOGIN_BODY: usize = 4096;
const LOGIN_TIME: Duration = Duration::from_secs(5);
/// The one route that logs in.
pub(crate) const SESSION: &str = "/v1/session";
/// What a session repeats.
pub(crate) const CSRF: &str = "x-sealpost-csrf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_ours() {
        let names = ["relay.example".to_owned()];
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let public: IpAddr = "2001:db8::1".parse().unwrap();
        for (host, at, want) in [
            ("127.0.0.1:8025", local, true),
            ("127.0.0.1", local, true),
            ("127.0.0.1:9000", local, true),
            ("localhost:8025", local, true),
            ("LOCALHOST", local, true),
            ("localhost", public, false),
            ("relay.example:8025", local, true),
            ("Relay.Example", public, true),
            ("[2001:db8::1]:8025", public, true),
            ("[2001:db8::2]:8025", public, false),
            ("127.0.0.2:8025", local, false),
            ("evil.example:8025", local, false),
            ("relay.example.evil.example", local, false),
            ("127.0.0.1.evil.example", local, false),
            ("localhost.evil.example", local, false),
            ("relay.example@evil.example", local, false),
            ("", local, false),
            ("[", local, false),
            (":8025", local, false),
        ] {
            assert_eq!(is_ours(host, at, &names), want, "{host} at {at}");
        }
    }

    #[test]
    fn rfc9112_3_2_one_host_and_that_of_an_absolute_target() {
        let asked = |target: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(target);
            for host in hosts {
                request = request.header("host", *host);
            }
            let mut request = request.body(Body::empty()).unwrap();
            let judged = one_host(&mut request);
            judged.ok().map(|()| request.headers().get("host").cloned())
        };
        assert_eq!(
            asked("/", &["a.test"]),
            Some(Some("a.test".parse().unwrap()))
        );
        assert_eq!(asked("/", &["a.test", "b.test"]), None);
        assert_eq!(asked("/", &["a.test", "a.test"]), None);
        let evil = Some(Some("evil.test:80".parse().unwrap()));
        assert_eq!(asked("http://evil.test:80/metrics", &["localhost"]), evil);
        assert_eq!(
            asked("http://localhost:1@evil.test:80/", &["localhost"]),
            evil
        );
        assert_eq!(asked("/", &[]), Some(None));
    }

    #[test]
    fn what_acts_comes_from_our_page_or_from_a_program() {
        let check = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, value.parse().unwrap());
            }
            origin(&headers).is_ok()
        };
        let host = ("host", "relay.example:8025");
        assert!(check(&[host]));
        assert!(check(&[host, ("origin", "http://relay.example:8025")]));
        assert!(check(&[
            host,
            ("origin", "https://relay.example:8025"),
            ("cookie", "a=b")
        ]));
        for bad in [
            vec![host, ("cookie", "sealpost=x")],
            vec![host, ("origin", "http://evil.example:8025")],
            vec![host, ("origin", "http://relay.example")],
            vec![host, ("origin", "http://relay.example:80250")],
            vec![host, ("origin", "null")],
            vec![host, ("origin", "")],
            vec![
                host,
                ("origin", "http://relay.example:8025"),
                ("sec-fetch-site", "cross-site"),
            ],
            vec![host, ("sec-fetch-site", "same-site")],
        ] {
            assert!(!check(&bad), "{bad:?}");
        }
    }
}
