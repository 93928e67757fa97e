//! One address of one host: a session, held against the requirement, and its transactions.

use std::time::Instant;

use outbound_queue::QueueStore;

use crate::decide::demand::{Evidence, SessionDecision};
use crate::decide::failure::HostFailure;
use crate::worker::findings::Findings;
use crate::worker::sessions::{NoSession, Session, Source, Way, failed_record, judged};
use crate::worker::work::{After, Attempt};

impl<S: QueueStore> Attempt<'_, S> {
    pub(crate) async fn host(
        &self,
        way: &Way<'_>,
        held: &mut Option<Session>,
        source: Source,
        found: &mut Findings,
    ) -> After {
        let began = Instant::now();
        // A session counts for the day in which it was begun.
        let at = self.reports.map(|_| self.connector.now());
        let session = match held.take() {
            Some(mut session) if source == Source::Any && self.sessions.fits(&session, way) => {
                session.rested = false;
                session.is_new = false;
                Ok(session)
            }
            other => {
                if let Some(session) = other {
                    self.sessions.keep(session);
                }
                self.sessions.open(way, source).await
            }
        };
        found.connect += began.elapsed();
        let mut session = match session {
            Ok(session) => session,
            Err(NoSession::Busy) => return After::Busy,
            Err(NoSession::Failed(error, shown)) => {
                found.met = true;
                self.report_failure(way, &error, shown, at);
                found.times = error.times;
                let (ip, port) = (way.address.ip(), way.address.port());
                let mut failure = HostFailure::from_cause(
                    &self.about_cause(way, &error.cause),
                    way.name,
                    ip,
                    port,
                    error.stage,
                    &error.cause,
                );
                failure.tls = failed_record(&error);
                self.remember(way.name, ip, failure.reason, &error.transcript);
                self.trace(way.name, ip, &error.transcript);
                if let Some(said) = error.judged.as_deref() {
                    let (tls, dane) = judged(said);
                    failure.evidence = Evidence::Session(tls);
                    failure.dane = dane;
                }
                found.fail(failure);
                return After::NextHost;
            }
        };
        found.met |= session.is_new;
        self.report_session(way, &mut session, at);
        // The requirement is held against the session again before every MAIL FROM.
        if let SessionDecision::Refuse {
            reason,
            case,
            specifics,
        } = self
            .requirement
            .session(way.name, way.standing, &session.facts())
        {
            let failure = self.unfit(way, &session, (reason, case), &specifics);
            found.fail(failure);
            *held = Some(session);
            return After::NextHost;
        }
        let began = Instant::now();
        let after = self.transactions(way, &mut session, source, found).await;
        found.transmit += began.elapsed();
        if session.connection.is_usable() {
            *held = Some(session);
        }
        after
    }
}
