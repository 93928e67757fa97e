//! Opens sessions: the pool first, then a new connection, within the limit of each host.
//!
//! The limit is on open connections, idle ones included, by MX name and by address: a place is a
//! session in somebody's hands, and before a new connection is made, idle ones that would be too
//! many together with those are closed. What is closed keeps its place until it has said QUIT.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use attempt::{Authenticated, Case, Certificate, Reason, TlsSession};
use dane::HostRecords;
use mail_types::HostName;
use parking_lot::Mutex;
use smtp_client::{
    Cause, CertificateFailure, Connection, Connector, DaneMatch, Judged, LeafCertificate, Peer,
    Pool, Posture, SessionError, StartTls, TlsVerdict,
};
use tls_findings::Shown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::decide::demand::{Assurance, SeenDane, SeenTls, SessionFacts};
use crate::decide::standing::Standing;
use crate::engine::at_work::Workers;
use crate::ports::{Observer, SessionEvent};
use crate::worker::transcripts::Transcripts;
use crate::worker::unknown::Unknown;

/// Opens and keeps sessions.
pub(crate) struct Sessions {
    pub(crate) pool: Pool,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) transcripts: Transcripts,
    pub(crate) unknown: Unknown,
    hosts: Mutex<HashMap<Place, Arc<Host>>>,
    per_host: usize,
    spacing: Option<Duration>,
    workers: Arc<Workers>,
}

/// What has a limit of its own: many names may share an address, and many addresses a name.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    Name(HostName),
    Address(IpAddr),
}

/// What is kept of an MX host or address while it is in use.
struct Host {
    slots: Arc<Semaphore>,
    /// When the next transaction may begin.
    next: Mutex<tokio::time::Instant>,
}

/// A session in a worker's hands.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    /// TLS was offered and failed: this is the second try in plain text (decision AMB-15).
    fell_back: Option<FellBack>,
    /// It was opened for this attempt.
    pub(crate) is_new: bool,
    /// What the record says of its TLS session: the same for each message.
    tls: Option<Arc<TlsSession>>,
    /// Its worker has waited for work with it since it carried mail.
    pub(crate) rested: bool,
    /// Its places among the sessions to this name and to this address.
    places: [OwnedSemaphorePermit; 2],
}

/// What became of TLS on a session that has none although it was offered.
struct FellBack {
    reason: Reason,
    /// For reports.
    shown: Option<Shown>,
}

/// One host's address, and how to get there.
pub(crate) struct Way<'a> {
    pub(crate) connector: &'a Connector,
    pub(crate) name: &'a HostName,
    /// What its certificate must be valid for.
    pub(crate) tls_name: &'a HostName,
    pub(crate) address: SocketAddr,
    pub(crate) standing: &'a Standing,
    /// The TLSA records that the certificate is held against.
    pub(crate) records: Option<&'a Arc<HostRecords>>,
    pub(crate) assurance: Assurance,
    /// The next address is of the other family: this one must not keep it waiting for long.
    pub(crate) impatient: bool,
}

impl Way<'_> {
    pub(crate) fn peer(&self) -> Peer {
        Peer {
            mx: self.name.clone(),
            tls_name: self.tls_name.clone(),
            addr: self.address,
            connect_within: self.impatient.then_some(BETWEEN_FAMILIES),
            dane: self.records.cloned(),
        }
    }
}

/// Why there is no session.
pub(crate) enum NoSession {
    /// As many as may be are open to this host: others have their turn first.
    Busy,
    /// It could not be opened; with what TLS showed before another way was tried.
    Failed(Box<SessionError>, Option<Shown>),
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
        workers: Arc<Workers>,
        pool: Pool,
        observer: Arc<dyn Observer>,
        per_host: usize,
        spacing: Option<Duration>,
    ) -> Self {
        Self {
            pool,
            observer,
            transcripts: Transcripts::default(),
            unknown: Unknown::default(),
            hosts: Mutex::default(),
            per_host: per_host.max(1),
            spacing,
            workers,
        }
    }

    /// Everything is to end: who has no session gets none.
    pub(crate) fn is_stopping(&self) -> bool {
        self.workers.is_stopping()
    }

    /// A session to this host that was opened with exactly this assurance.
    pub(crate) async fn open(&self, way: &Way<'_>, source: Source) -> Result<Session, NoSession> {
        let Some(by_name) = self.place(Place::Name(way.name.clone())).await else {
            return Err(NoSession::Busy);
        };
        let posture = posture(way.assurance);
        let peer = way.peer();
        if source == Source::Any
            && let Some(connection) = self.pool.take(&way.connector.pool_key(&peer, posture))
        {
            let at = Place::Address(connection.facts().addr.ip());
            let Some(by_address) = self.place(at).await else {
                self.pool.put(connection);
                return Err(NoSession::Busy);
            };
            self.observer.session(SessionEvent::Reused);
            let mut session = Session::new(connection, None, [by_name, by_address]);
            session.is_new = false;
            return Ok(session);
        }
        let at = Place::Address(way.address.ip());
        let Some(by_address) = self.place(at.clone()).await else {
            return Err(NoSession::Busy);
        };
        self.make_room(&Place::Name(way.name.clone())).await;
        self.make_room(&at).await;
        let began = Instant::now();
        // Nothing has begun yet that a stop would have to wait for.
        let first = tokio::select! {
            first = way.connector.connect_with(&peer, posture) => first,
            () = self.workers.stopped() => return Err(NoSession::Busy),
        };
        let (result, fell_back) = match first {
            // Without any demand a failed handshake is answered with one try in plain text, on a
            // new connection (decision AMB-15); what is remembered of it ends with this session.
            Err(error)
                if way.assurance == Assurance::DangerousOpportunistic && is_tls(&error.cause) =>
            {
                self.observer.session(SessionEvent::HandshakeFailed);
                let fell_back = FellBack {
                    reason: error.cause.reason(),
                    shown: Shown::of_error(&error),
                };
                tracing::info!(mx = %way.name, ip = %way.address.ip(), cause = %error.cause,
                    "tls.plain_fallback: no policy demands TLS, trying without");
                (
                    way.connector
                        .connect_with(&peer, Posture::DangerousPlain)
                        .await,
                    Some(fell_back),
                )
            }
            other => (other, None),
        };
        self.observer.session(match &result {
            Ok(connection) => {
                let tls = connection.facts().tls.as_ref();
                SessionEvent::Opened {
                    tls: tls.map(|t| t.version.clone()),
                    verified: tls.is_some_and(|t| {
                        t.verdict.would_verify() || t.dane.authenticated().is_some()
                    }),
                    took: began.elapsed(),
                }
            }
            Err(error) if is_tls(&error.cause) => SessionEvent::HandshakeFailed,
            Err(_) => SessionEvent::Failed,
        });
        match result {
            Ok(connection) => Ok(Session::new(connection, fell_back, [by_name, by_address])),
            Err(error) => {
                let shown = fell_back.and_then(|fell_back| fell_back.shown);
                Err(NoSession::Failed(Box::new(error), shown))
            }
        }
    }

    /// Gives a session back for others. One that fell back to plain text is never kept: the next
    /// delivery tries TLS again.
    pub(crate) fn keep(&self, session: Session) {
        if session.fell_back.is_none() && self.pool.allows(&session.connection) {
            self.pool.put(session.connection);
        } else {
            let Session {
                connection, places, ..
            } = session;
            tokio::spawn(async move {
                connection.quit().await;
                drop(places);
            });
        }
    }

    /// Whether a session that a worker holds may carry another message.
    pub(crate) fn allows(&self, session: &Session) -> bool {
        self.pool.allows(&session.connection)
    }

    /// Whether a session that a worker holds is what [`Self::open`] would give.
    pub(crate) fn fits(&self, session: &Session, way: &Way<'_>) -> bool {
        let facts = session.connection.facts();
        facts.mx == *way.name
            && session.connection.key().tls_name == *way.tls_name
            && facts.addr.port() == way.address.port()
            && self.allows(session)
            && session.facts().assurance == way.assurance
            && facts.dane.as_ref() == way.records
            && way.connector.is_current(session.connection.key())
    }

    /// Whether a worker without work may keep its session for a moment: not if somebody may be waiting
    /// for its place.
    pub(crate) fn may_wait(&self, session: &Session) -> bool {
        let is_free = |p: &OwnedSemaphorePermit| p.semaphore().available_permits() > 0;
        session.places.iter().all(is_free)
    }

    /// Waits until another transaction may begin at this host (`delivery.rate-per-host`). False: everything is to
    /// end.
    pub(crate) async fn pace(&self, name: &HostName) -> bool {
        let Some(spacing) = self.spacing else {
            return true;
        };
        let turn = {
            let host = self.host(Place::Name(name.clone()));
            let mut next = host.next.lock();
            let turn = (*next).max(tokio::time::Instant::now());
            *next = turn + spacing;
            turn
        };
        tokio::select! {
            () = tokio::time::sleep_until(turn) => true,
            () = self.workers.stopped() => false,
        }
    }

    /// A place among the sessions to this host; `None` if others keep all of them for too long. Who waits takes
    /// no place from mail for other hosts (row E5-04).
    async fn place(&self, place: Place) -> Option<OwnedSemaphorePermit> {
        let slots = Arc::clone(&self.host(place).slots);
        if let Ok(permit) = Arc::clone(&slots).try_acquire_owned() {
            return Some(permit);
        }
        let aside = self.workers.step_aside()?;
        let permit = tokio::select! {
            // Nobody closes the semaphore: there is always a place to come.
            permit = tokio::time::timeout(ASIDE, slots.acquire_owned()) => permit.ok()?.ok()?,
            () = self.workers.stopped() => return None,
        };
        aside.back().await.then_some(permit)
    }

    /// Closes idle connections to this host until those and the sessions in use are within the
    /// limit; our own place is among those in use.
    async fn make_room(&self, place: &Place) {
        let is_there = |facts: &smtp_client::SessionFacts| match place {
            Place::Name(name) => facts.mx == *name,
            Place::Address(ip) => facts.addr.ip() == *ip,
        };
        loop {
            let free = self.host(place.clone()).slots.available_permits();
            if self.pool.count(is_there) <= free {
                return;
            }
            let Some(connection) = self.pool.evict(is_there) else {
                return;
            };
            // Nothing depends on how this goes; then the socket is closed.
            let _ = tokio::time::timeout(PATIENCE, connection.quit()).await;
        }
    }

    fn host(&self, place: Place) -> Arc<Host> {
        let mut hosts = self.hosts.lock();
        if let Some(host) = hosts.get(&place) {
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
        hosts.insert(place, Arc::clone(&host));
        host
    }
}

impl Session {
    fn new(
        connection: Connection,
        fell_back: Option<FellBack>,
        places: [OwnedSemaphorePermit; 2],
    ) -> Self {
        let tls = connection.facts().tls.as_ref();
        Self {
            tls: tls.map(|tls| Arc::new(tls_record(tls))),
            connection,
            fell_back,
            is_new: true,
            rested: false,
            places,
        }
    }

    /// What demands are held against.
    pub(crate) fn facts(&self) -> SessionFacts {
        let facts = self.connection.facts();
        let tls = match &facts.tls {
            Some(session) => match &session.verdict {
                TlsVerdict::Authenticated => SeenTls::Verified,
                verdict if verdict.would_verify() => SeenTls::Verified,
                verdict => {
                    let reason = verdict.failure().map(CertificateFailure::reason);
                    SeenTls::Unverified(reason.unwrap_or(Reason::CertNotTrusted))
                }
            },
            None => SeenTls::None(match (&self.fell_back, &facts.starttls) {
                (Some(fell_back), _) => fell_back.reason,
                (None, StartTls::Refused(_)) => Reason::StarttlsRefused,
                (None, StartTls::Used | StartTls::NotOffered | StartTls::NotTried) => {
                    Reason::StarttlsNotOffered
                }
            }),
        };
        SessionFacts {
            assurance: assurance(facts.posture),
            tls,
            dane: facts
                .tls
                .as_ref()
                .map_or(SeenDane::Nothing, |t| SeenDane::of(&t.dane)),
            records: facts.dane.clone(),
            offers_requiretls: facts.extensions.requiretls,
        }
    }

    /// Why this session is in plain text although TLS was offered, if it is.
    pub(crate) fn fell_back(&self) -> Option<Reason> {
        self.fell_back.as_ref().map(|fell_back| fell_back.reason)
    }

    /// What it shows of TLS, for reports.
    pub(crate) fn shown(&self) -> Option<Shown> {
        match &self.fell_back {
            Some(fell_back) => fell_back.shown.clone(),
            None => Shown::of_session(self.connection.facts()),
        }
    }

    /// Why a session in plain text has no TLS, for who demands it.
    pub(crate) fn without_tls(&self) -> Case {
        match (&self.fell_back, &self.connection.facts().starttls) {
            (Some(_), _) | (None, StartTls::Refused(_)) => Case::TlsFailed,
            (None, StartTls::NotTried) => Case::NoTlsByRoute,
            (None, StartTls::Used | StartTls::NotOffered) => Case::Usual,
        }
    }

    pub(crate) fn tls(&self) -> Option<Arc<TlsSession>> {
        self.tls.clone()
    }

    pub(crate) fn address(&self) -> (IpAddr, u16) {
        let addr = self.connection.facts().addr;
        (addr.ip(), addr.port())
    }
}

/// What both said of a certificate over which the handshake ended.
pub(crate) fn judged(judged: &Judged) -> (SeenTls, SeenDane) {
    let tls = match &judged.certificate {
        Ok(()) => SeenTls::Verified,
        Err(failure) => SeenTls::Unverified(failure.reason()),
    };
    (tls, SeenDane::of(&judged.dane))
}

/// What the record says of a TLS session.
fn tls_record(session: &smtp_client::TlsSession) -> TlsSession {
    TlsSession {
        version: Cow::Owned(session.version.to_string()),
        cipher: Cow::Owned(session.cipher.to_string()),
        group: (!session.group.is_empty()).then(|| Cow::Owned(session.group.to_string())),
        // Where both are demanded `would_verify` tells of PKIX.
        authenticated: match (session.dane.authenticated(), &session.verdict) {
            (Some(DaneMatch::EndEntity), _) => Authenticated::DaneEe,
            (Some(DaneMatch::TrustAnchor), _) => Authenticated::DaneTa,
            (None, TlsVerdict::Authenticated) => Authenticated::Pkix,
            (None, TlsVerdict::Observed { .. }) => Authenticated::None,
        },
        would_verify: session.verdict.would_verify(),
        fault: session
            .verdict
            .failure()
            .map(|f| f.fault.to_string().into()),
        cert: session.certificate.as_ref().map(certificate),
    }
}

/// What the record says of the TLS of a session that could not be opened.
pub(crate) fn failed_record(error: &SessionError) -> Option<Arc<TlsSession>> {
    let tls = error.tls.as_deref().map(tls_record);
    tls.or_else(|| refused_record(&error.cause)).map(Arc::new)
}

/// What the record says of a session that was refused over its certificate: the handshake did not
/// come to its end, but names and dates are what an operator needs to see.
fn refused_record(cause: &Cause) -> Option<TlsSession> {
    let (leaf, fault) = match cause {
        Cause::Certificate(failure) => (failure.leaf.as_ref()?, Some(&failure.fault)),
        Cause::Dane(failure) => (failure.leaf.as_ref()?, None),
        Cause::Connect(_)
        | Cause::StartTlsNotOffered(_)
        | Cause::StartTlsRefused(_)
        | Cause::StartTlsInjection
        | Cause::Handshake(_)
        | Cause::Auth(_)
        | Cause::Lost(_)
        | Cause::Timeout(_)
        | Cause::Remote(_)
        | Cause::Protocol(_)
        | Cause::Missing(_)
        | Cause::Local(_)
        | Cause::Configured(_) => return None,
    };
    Some(TlsSession {
        version: Cow::Borrowed("unknown"),
        cipher: Cow::Borrowed("unknown"),
        group: None,
        authenticated: Authenticated::None,
        would_verify: false,
        fault: fault.map(|fault| fault.to_string().into()),
        cert: Some(certificate(leaf)),
    })
}

fn certificate(leaf: &LeafCertificate) -> Certificate {
    Certificate {
        subject_alt_names: leaf.subject_alt_names.clone(),
        issuer: leaf.issuer.clone(),
        not_after: leaf.not_after,
        sha256: leaf.sha256.clone(),
    }
}

/// One to one: the client never weakens what delivery decided, nor the other way round.
const fn posture(assurance: Assurance) -> Posture {
    match assurance {
        Assurance::Authenticated => Posture::Authenticate,
        Assurance::Dane => Posture::Dane,
        Assurance::DaneAndAuthenticated => Posture::DaneAndAuthenticate,
        Assurance::DangerousEncrypted => Posture::DangerousEncrypt,
        Assurance::DangerousOpportunistic => Posture::DangerousOpportunistic,
        Assurance::DangerousPlain => Posture::DangerousPlain,
    }
}

const fn assurance(posture: Posture) -> Assurance {
    match posture {
        Posture::Authenticate => Assurance::Authenticated,
        Posture::Dane => Assurance::Dane,
        Posture::DaneAndAuthenticate => Assurance::DaneAndAuthenticated,
        Posture::DangerousEncrypt => Assurance::DangerousEncrypted,
        Posture::DangerousOpportunistic => Assurance::DangerousOpportunistic,
        Posture::DangerousPlain => Assurance::DangerousPlain,
    }
}

fn is_tls(cause: &Cause) -> bool {
    match cause {
        Cause::Handshake(_) | Cause::Certificate(_) | Cause::Dane(_) => true,
        // Neither 220 nor a refusal: nobody knows what it waits for.
        Cause::StartTlsRefused(reply) => reply.code() / 100 == 2,
        Cause::Connect(_)
        | Cause::StartTlsNotOffered(_)
        | Cause::StartTlsInjection
        | Cause::Lost(_)
        | Cause::Timeout(_)
        | Cause::Remote(_)
        | Cause::Protocol(_)
        | Cause::Auth(_)
        | Cause::Missing(_)
        | Cause::Local(_)
        | Cause::Configured(_) => false,
    }
}

const MAX_HOSTS: usize = 10_000;
/// Who stands aside waits in the order of arrival, but not for ever: its message may be held or cancelled.
const ASIDE: Duration = Duration::from_secs(10);
/// How long QUIT may take to be answered.
const PATIENCE: Duration = Duration::from_secs(2);
/// A family of addresses that is not answered keeps the other one waiting no longer than this:
/// time for three tries of TCP (row E1-22).
const BETWEEN_FAMILIES: Duration = Duration::from_secs(10);
