//! Opens sessions: the pool first, then a new connection, within the limit of each host.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use attempt::{Authenticated, Certificate, Reason, TlsSession};
use mail_types::HostName;
use parking_lot::Mutex;
use smtp_client::{
    Cause, Connection, Connector, LeafCertificate, Peer, Pool, Posture, SessionError, StartTls,
    TlsVerdict,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::demand::{Assurance, SeenTls, SessionFacts};
use crate::ports::{Observer, SessionEvent};

/// Opens and keeps sessions.
pub(crate) struct Sessions {
    pub(crate) pool: Pool,
    pub(crate) observer: Arc<dyn Observer>,
    hosts: Mutex<HashMap<HostName, Arc<Host>>>,
    per_host: usize,
    spacing: Option<Duration>,
}

/// What is kept of an MX host while it is in use.
struct Host {
    slots: Arc<Semaphore>,
    /// When the next transaction may begin.
    next: Mutex<tokio::time::Instant>,
}

/// A session in a worker's hands.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    /// TLS was offered and failed: this is the second try in plain text (decision AMB-15).
    fell_back: Option<Reason>,
    /// Its place among the sessions to this host.
    _permit: OwnedSemaphorePermit,
}

/// One host's address, and how to get there.
pub(crate) struct Way<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) name: &'a HostName,
    /// What its certificate must be valid for.
    pub(crate) tls_name: &'a HostName,
    pub(crate) address: SocketAddr,
    pub(crate) assurance: Assurance,
}

impl Way<'_> {
    pub(crate) fn peer(&self) -> Peer {
        Peer {
            mx: self.name.clone(),
            tls_name: self.tls_name.clone(),
            addr: self.address,
        }
    }
}

/// Why there is no session.
pub(crate) enum NoSession {
    /// As many as may be are open to this host: others have their turn first.
    Busy,
    /// It could not be opened.
    Failed(Box<SessionError>),
}

/// Where a session may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The pool, or a new connection.
    Any,
    /// A new connection: what was kept has gone stale.
    Fresh,
}

impl Sessions {
    pub(crate) fn new(
        pool: Pool,
        observer: Arc<dyn Observer>,
        per_host: usize,
        spacing: Option<Duration>,
    ) -> Self {
        Self {
            pool,
            observer,
            hosts: Mutex::default(),
            per_host: per_host.max(1),
            spacing,
        }
    }

    /// A session to this host that was opened with exactly this assurance.
    pub(crate) async fn open(&self, way: &Way<'_>, source: Source) -> Result<Session, NoSession> {
        let permit = tokio::time::timeout(PATIENCE, self.permit(way.name)).await;
        let Ok(Some(permit)) = permit else {
            return Err(NoSession::Busy);
        };
        let posture = posture(way.assurance);
        let peer = way.peer();
        if source == Source::Any
            && let Some(connection) = self.pool.take(&way.connector.pool_key(&peer, posture))
        {
            self.observer.session(SessionEvent::Reused);
            return Ok(Session {
                connection,
                fell_back: None,
                _permit: permit,
            });
        }
        let began = Instant::now();
        let first = way.connector.connect_with(&peer, posture).await;
        let (result, fell_back) = match first {
            // Without any demand a failed handshake is answered with one try in plain text, on a
            // new connection (decision AMB-15); what is remembered of it ends with this session.
            Err(error)
                if way.assurance == Assurance::DangerousOpportunistic && is_tls(&error.cause) =>
            {
                self.observer.session(SessionEvent::HandshakeFailed);
                let reason =
                    Reason::from_key(error.cause.reason_key()).unwrap_or(Reason::TlsHandshake);
                tracing::info!(mx = %way.name, ip = %way.address.ip(), cause = %error.cause,
                    "tls.plain_fallback: no policy demands TLS, trying without");
                (
                    way.connector
                        .connect_with(&peer, Posture::DangerousPlain)
                        .await,
                    Some(reason),
                )
            }
            other => (other, None),
        };
        self.observer.session(match &result {
            Ok(connection) => {
                let tls = connection.facts().tls.as_ref();
                SessionEvent::Opened {
                    tls: tls.map(|t| t.version.clone()),
                    verified: tls.is_some_and(|t| t.verdict.would_verify()),
                    took: began.elapsed(),
                }
            }
            Err(error) if is_tls(&error.cause) => SessionEvent::HandshakeFailed,
            Err(_) => SessionEvent::Failed,
        });
        let connection = result.map_err(|error| NoSession::Failed(Box::new(error)))?;
        Ok(Session {
            connection,
            fell_back,
            _permit: permit,
        })
    }

    /// Gives a session back for others. One that fell back to plain text is never kept: the next
    /// delivery tries TLS again.
    pub(crate) fn keep(&self, session: Session) {
        if session.fell_back.is_none() && session.connection.is_usable() {
            self.pool.put(session.connection);
        } else {
            tokio::spawn(session.connection.quit());
        }
    }

    /// Waits until another transaction may begin at this host (`delivery.rate-per-host`).
    pub(crate) async fn pace(&self, name: &HostName) {
        let Some(spacing) = self.spacing else { return };
        let turn = {
            let host = self.host(name);
            let mut next = host.next.lock();
            let turn = (*next).max(tokio::time::Instant::now());
            *next = turn + spacing;
            turn
        };
        tokio::time::sleep_until(turn).await;
    }

    async fn permit(&self, name: &HostName) -> Option<OwnedSemaphorePermit> {
        let slots = Arc::clone(&self.host(name).slots);
        // Nobody closes the semaphore: there is always a permit to come.
        slots.acquire_owned().await.ok()
    }

    fn host(&self, name: &HostName) -> Arc<Host> {
        let mut hosts = self.hosts.lock();
        if let Some(host) = hosts.get(name) {
            return Arc::clone(host);
        }
        if hosts.len() > MAX_HOSTS {
            // Hosts without sessions are forgotten, unless their next turn is still to come.
            let now = tokio::time::Instant::now();
            hosts
                .retain(|_, h| h.slots.available_permits() < self.per_host || *h.next.lock() > now);
        }
        let host = Arc::new(Host {
            slots: Arc::new(Semaphore::new(self.per_host)),
            next: Mutex::new(tokio::time::Instant::now()),
        });
        hosts.insert(name.clone(), Arc::clone(&host));
        host
    }
}

impl Session {
    /// What demands are held against.
    pub(crate) fn facts(&self) -> SessionFacts {
        let facts = self.connection.facts();
        let tls = match &facts.tls {
            Some(session) => match &session.verdict {
                TlsVerdict::Authenticated => SeenTls::Verified,
                verdict if verdict.would_verify() => SeenTls::Verified,
                verdict => {
                    let key = verdict.failure().map_or(
                        "cert-not-trusted",
                        smtp_client::CertificateFailure::reason_key,
                    );
                    SeenTls::Unverified(Reason::from_key(key).unwrap_or(Reason::CertNotTrusted))
                }
            },
            None => SeenTls::None(match (&self.fell_back, &facts.starttls) {
                (Some(reason), _) => *reason,
                (None, StartTls::Refused(_)) => Reason::StarttlsRefused,
                (None, StartTls::Used | StartTls::NotOffered | StartTls::NotTried) => {
                    Reason::StarttlsNotOffered
                }
            }),
        };
        SessionFacts {
            assurance: assurance(facts.posture),
            tls,
            offers_requiretls: facts.extensions.requiretls,
        }
    }

    /// Why this session is in plain text although TLS was offered, if it is.
    pub(crate) const fn fell_back(&self) -> Option<Reason> {
        self.fell_back
    }

    pub(crate) fn tls(&self) -> Option<TlsSession> {
        self.connection.facts().tls.as_ref().map(tls_record)
    }

    pub(crate) fn address(&self) -> (IpAddr, u16) {
        let addr = self.connection.facts().addr;
        (addr.ip(), addr.port())
    }
}

/// What the record says of a TLS session.
pub(crate) fn tls_record(session: &smtp_client::TlsSession) -> TlsSession {
    TlsSession {
        version: Cow::Owned(session.version.to_string()),
        cipher: Cow::Owned(session.cipher.to_string()),
        group: (!session.group.is_empty()).then(|| Cow::Owned(session.group.to_string())),
        authenticated: match session.verdict {
            TlsVerdict::Authenticated => Authenticated::Pkix,
            TlsVerdict::Observed { .. } => Authenticated::None,
        },
        would_verify: session.verdict.would_verify(),
        cert: session.certificate.as_ref().map(certificate),
    }
}

/// What the record says of a session that was refused over its certificate: the handshake did not
/// come to its end, but names and dates are what an operator needs to see.
pub(crate) fn refused_record(cause: &Cause) -> Option<TlsSession> {
    let Cause::Certificate(failure) = cause else {
        return None;
    };
    let leaf = failure.leaf.as_ref()?;
    Some(TlsSession {
        version: Cow::Borrowed("unknown"),
        cipher: Cow::Borrowed("unknown"),
        group: None,
        authenticated: Authenticated::None,
        would_verify: false,
        cert: Some(certificate(leaf)),
    })
}

fn certificate(leaf: &LeafCertificate) -> Certificate {
    Certificate {
        subject_alt_names: leaf.subject_alt_names.clone(),
        issuer: leaf.issuer.clone(),
        not_after: leaf.not_after,
    }
}

/// One to one: the client never weakens what delivery decided, nor the other way round.
const fn posture(assurance: Assurance) -> Posture {
    match assurance {
        Assurance::Authenticated => Posture::Authenticate,
        Assurance::DangerousEncrypted => Posture::DangerousEncrypt,
        Assurance::DangerousOpportunistic => Posture::DangerousOpportunistic,
        Assurance::DangerousPlain => Posture::DangerousPlain,
    }
}

const fn assurance(posture: Posture) -> Assurance {
    match posture {
        Posture::Authenticate => Assurance::Authenticated,
        Posture::DangerousEncrypt => Assurance::DangerousEncrypted,
        Posture::DangerousOpportunistic => Assurance::DangerousOpportunistic,
        Posture::DangerousPlain => Assurance::DangerousPlain,
    }
}

const fn is_tls(cause: &Cause) -> bool {
    matches!(cause, Cause::Handshake(_) | Cause::Certificate(_))
}

const MAX_HOSTS: usize = 10_000;
/// A worker waits no longer for its turn at a host: other destinations need its place.
const PATIENCE: Duration = Duration::from_secs(2);
