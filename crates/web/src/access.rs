//! Who may use page and API over HTTP.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use admin::{Operator, Problem, ProblemKind, Role};
use arc_swap::ArcSwap;
use attempt::Level;
use axum::http::{HeaderMap, header};
use parking_lot::Mutex;
use policy_cache::Clock;

use crate::secret::{Digest, Random, fresh};
use crate::sessions::{Opened, Session, Sessions};
use crate::throttle::Throttle;
use crate::tokens::Tokens;

/// Says something to the log: event, level, fields.
pub type Tell = Arc<dyn Fn(&'static str, Level, &[(&'static str, &str)]) + Send + Sync>;

/// What is asked of the configuration and the system.
pub struct Asked {
    /// From the token file; `None` without one.
    pub tokens: Option<Tokens>,
    /// `admin.names`.
    pub names: Vec<String>,
    /// Whether HTTP is served over TLS: cookies are then never sent without.
    pub tls: bool,
    /// For the ends of sessions and pauses.
    pub clock: Arc<dyn Clock>,
    /// For the secrets of sessions.
    pub random: Random,
    /// For logins, good and bad.
    pub tell: Tell,
}

/// Tokens, sessions, and what keeps others out. Cloning shares.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    has_token_file: bool,
    tokens: ArcSwap<Tokens>,
    sessions: Sessions,
    throttle: Throttle,
    link: Mutex<Option<Link>>,
    asked: Asked,
}

/// A login that works once.
struct Link {
    digest: Digest,
    until: Duration,
}

impl Access {
    /// Nobody is logged in.
    #[must_use]
    pub fn new(mut asked: Asked) -> Self {
        let tokens = asked.tokens.take();
        Self(Arc::new(Inner {
            has_token_file: tokens.is_some(),
            tokens: ArcSwap::from_pointee(tokens.unwrap_or_default()),
            sessions: Sessions::default(),
            throttle: Throttle::default(),
            link: Mutex::new(None),
            asked,
        }))
    }

    /// Whether anybody can log in: there is a token file, or a link was made.
    pub(crate) fn has_page(&self) -> bool {
        self.0.has_token_file || self.0.link.lock().is_some()
    }

    /// The token file was read anew. Sessions of tokens that are gone end.
    pub fn replace_tokens(&self, tokens: Tokens) {
        self.0.tokens.store(Arc::new(tokens));
    }

    /// Makes the secret of a link that logs in once as administrator, within ten minutes. `None` if
    /// the system has no random numbers.
    #[must_use]
    pub fn link(&self) -> Option<String> {
        let secret = fresh(&self.0.asked.random)?;
        *self.0.link.lock() = Some(Link {
            digest: Digest::of(&secret),
            until: self.now() + LINK,
        });
        Some(secret)
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0.asked.names
    }

    pub(crate) fn tls(&self) -> bool {
        self.0.asked.tls
    }

    fn now(&self) -> Duration {
        self.0.asked.clock.monotonic()
    }

    /// Opens a session for a token.
    pub(crate) fn log_in(&self, token: &str, address: IpAddr) -> Result<Opened, Problem> {
        let (name, role, digest) = self.token(token, address)?;
        let opened = self.open(&name, role, Some(digest))?;
        self.told("admin.login", Level::Info, &name, address);
        Ok(opened)
    }

    /// Opens a session for the link's secret, which is worth nothing any more then.
    pub(crate) fn follow(&self, secret: &str, address: IpAddr) -> Result<Opened, Problem> {
        self.may_try(address)?;
        let now = self.now();
        let taken = {
            let mut link = self.0.link.lock();
            let presented = Digest::of(secret);
            let good = link
                .as_ref()
                .is_some_and(|link| link.digest.equals(&presented) && now < link.until);
            // The next look at it finds it used; the page stays.
            if good && let Some(link) = link.as_mut() {
                link.until = Duration::ZERO;
            }
            good
        };
        if !taken {
            return Err(self.failed(
                address,
                "this login link was used already, is older than ten minutes, or is of an earlier start",
            ));
        }
        let name: Arc<str> = LINK_NAME.into();
        let opened = self.open(&name, Role::Admin, None)?;
        self.0.throttle.succeeded(address);
        self.told("admin.login", Level::Info, &name, address);
        Ok(opened)
    }

    fn open(&self, name: &Arc<str>, role: Role, token: Option<Digest>) -> Result<Opened, Problem> {
        let inner = &self.0;
        let random = &inner.asked.random;
        let opened = inner.sessions.open(name, role, token, random, self.now());
        opened.ok_or_else(|| Problem::unavailable("the system has no random numbers"))
    }

    /// Ends the session of this request.
    pub(crate) fn log_out(&self, headers: &HeaderMap, operator: &Operator, address: IpAddr) {
        if let Some(secret) = self.cookie(headers) {
            self.0.sessions.close(secret);
            if let Operator::Http { name, .. } = operator {
                self.told("admin.logout", Level::Info, name, address);
            }
        }
    }

    /// Who sent this: by token, or by session.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<Identity, Problem> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let token = value
                .to_str()
                .ok()
                .and_then(|text| text.split_once(' '))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                .map(|(_, token)| token.trim());
            let Some(token) = token else {
                let detail = "Authorization is not \"Bearer TOKEN\"";
                return Err(Problem::new(ProblemKind::Unauthorized, detail));
            };
            let (name, role, _) = self.token(token, address)?;
            return Ok(Identity {
                operator: Operator::Http {
                    name,
                    role,
                    address,
                },
                session: None,
            });
        }
        let secret = self.cookie(headers);
        let tokens = self.0.tokens.load();
        let found = secret.and_then(|s| self.0.sessions.look(s, &tokens, self.now()));
        let Some(session) = found else {
            let detail = "log in on the page, or send a token as \"Authorization: Bearer TOKEN\"";
            return Err(Problem::new(ProblemKind::Unauthorized, detail));
        };
        Ok(Identity {
            operator: Operator::Http {
                name: Arc::clone(&session.name),
                role: session.role,
                address,
            },
            session: Some(session),
        })
    }

    /// Whether whoever sent this request could still send it.
    pub(crate) fn still_allowed(&self, headers: &HeaderMap) -> bool {
        let tokens = self.0.tokens.load();
        match headers.get(header::AUTHORIZATION) {
            Some(value) => {
                let token = value.to_str().ok().and_then(|text| text.split_once(' '));
                token.is_some_and(|(_, token)| tokens.find(token.trim()).is_some())
            }
            None => self.cookie(headers).is_some_and(|secret| {
                let sessions = &self.0.sessions;
                sessions.is_open(secret, &tokens, self.now())
            }),
        }
    }

    fn token(&self, token: &str, address: IpAddr) -> Result<(Arc<str>, Role, Digest), Problem> {
        self.may_try(address)?;
        let tokens = self.0.tokens.load();
        let Some(found) = tokens.find(token) else {
            return Err(self.failed(address, "this token is not in the token file"));
        };
        self.0.throttle.succeeded(address);
        Ok((Arc::clone(&found.name), found.role, found.digest))
    }

    /// Whether this address may try to log in now.
    pub(crate) fn may_try(&self, address: IpAddr) -> Result<(), Problem> {
        let Some(left) = self.0.throttle.wait(address, self.now()) else {
            return Ok(());
        };
        let seconds = left.as_secs() + 1;
        let detail = format!("too many logins from {address} failed; try again in {seconds} s");
        Err(Problem::new(ProblemKind::Throttled, detail).retry_after(seconds))
    }

    fn failed(&self, address: IpAddr, why: &str) -> Problem {
        let failures = self.0.throttle.failed(address, self.now()).to_string();
        let from = address.to_string();
        let fields = [
            ("from", from.as_str()),
            ("failures", failures.as_str()),
            ("detail", why),
        ];
        (self.0.asked.tell)("admin.login-failed", Level::Warn, &fields);
        Problem::new(ProblemKind::Unauthorized, why)
    }

    fn told(&self, event: &'static str, level: Level, name: &str, address: IpAddr) {
        let from = address.to_string();
        let fields = [("by", name), ("from", from.as_str())];
        (self.0.asked.tell)(event, level, &fields);
    }

    /// What our cookie says.
    fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = cookie_name(self.tls());
        let values = headers.get_all(header::COOKIE).into_iter();
        let mut pairs = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(n, _)| *n == name).map(|(_, secret)| secret)
    }

    /// `Set-Cookie` for a session, or to remove it.
    pub(crate) fn set_cookie(&self, session: Option<&Opened>) -> String {
        let name = cookie_name(self.tls());
        let secure = if self.tls() { "; Secure" } else { "" };
        let rest = format!("Path=/; HttpOnly; SameSite=Strict{secure}");
        match session {
            Some(opened) => {
                let age = opened.session.left(self.now()).as_secs();
                format!("{name}={}; Max-Age={age}; {rest}", opened.secret)
            }
            None => format!("{name}=; Max-Age=0; {rest}"),
        }
    }

    /// Seconds until this session ends, whatever is done with it.
    pub(crate) fn left(&self, session: &Session) -> u64 {
        session.left(self.now()).as_secs()
    }
}

/// Who sent a request, and how they said so.
pub(crate) struct Identity {
    pub(crate) operator: Operator,
    /// `None` if it came with a token of its own.
    pub(crate) session: Option<Session>,
}

/// With the prefix browsers refuse the cookie from other hosts and without TLS.
const fn cookie_name(tls: bool) -> &'static str {
    if tls { "__Host-sealpost" } else { "sealpost" }
}

const LINK: Duration = Duration::from_secs(10 * 60);
const LINK_NAME: &str = "login-link";
