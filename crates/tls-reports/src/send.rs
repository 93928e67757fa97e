//! One report on its way: the record, the addresses in order, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use mail_types::{HostName, Mailbox, Timestamp};
use tls_rpt::{
    Encoded, Endpoint, Identity, NoReports, Report, Rua, TlsRptRecord, message, record, retry_delay,
};

use crate::book::Job;
use crate::hosts::Turn;
use crate::options::Options;
use crate::outcome::Outcome;
use crate::ports::{Ports, ReportEvent, What};
use crate::reports::{MAX_SIZE, Reports};
use crate::view::State;

/// What an attempt came to.
#[derive(Debug)]
enum Came {
    /// This address has it.
    Sent(String),
    /// It failed for now.
    Failed(String),
    /// The hosts have enough to do: it was no attempt.
    PutOff(Duration),
    /// It is not sent.
    Never(String),
    /// The domain wants no reports: so it is with most.
    Unwanted(String),
}

impl Reports {
    /// Takes reports in hand that are due.
    pub(crate) fn take_due(&self, now: Timestamp, room: usize) -> Vec<Job> {
        // What came of those before must be on disk first: after a crash they would all be sent again.
        if !self.is_on() || self.is_behind() {
            return Vec::new();
        }
        self.book.lock().take_due(now, room, self.node)
    }

    /// Sends a report, and notes what came of it.
    pub(crate) async fn send(self: Arc<Self>, ports: &Ports, job: Job) {
        let options = self.options.load_full();
        let came = match &options.identity {
            Some(identity) => self.try_once(ports, &options, identity, &job).await,
            None => Came::PutOff(SWITCHED_OFF),
        };
        let now = ports.clock.wall();
        let (outcome, next, what) = conclude(&job, came, now);
        if outcome != job.outcome {
            let (reports, day, outcome) = (Arc::clone(&self), job.day, outcome.clone());
            let recorded = tokio::task::spawn_blocking(move || reports.record(day, outcome));
            if let Err(error) = recorded.await {
                tracing::error!(%error, "noting what became of a TLS report failed");
            }
        }
        self.book.lock().give_back(&job, outcome, next);
        if let Some(what) = what {
            tell(ports, &job, now, what);
        }
    }

    async fn try_once(
        &self,
        ports: &Ports,
        options: &Options,
        identity: &Identity,
        job: &Job,
    ) -> Came {
        if self.is_without_sessions(job) {
            return Came::Unwanted(NO_SESSION.to_owned());
        }
        // Of the moment in which it is sent, never an older one (row B1-12).
        let record = match look_up(ports, &job.domain).await {
            Ok(record) => record,
            Err(Unusable::Came(came)) => return came,
            Err(Unusable::Skipped(all)) => {
                tell_skipped(ports, job, &all);
                return Came::Never("its record names no address that can be used".to_owned());
            }
        };
        tell_skipped(ports, job, &record.skipped);
        let (mut failed, mut put_off, mut unusable) = (Vec::new(), None, Vec::new());
        for rua in &record.rua {
            let came = match rua {
                Rua::Mailto(to) if options.by_mail => self.mail(ports, identity, job, to).await,
                Rua::Mailto(_) => Came::Never(NO_KEY.to_owned()),
                Rua::Https(endpoint) => self.post(ports, identity, job, endpoint).await,
            };
            match came {
                Came::Sent(_) => return came,
                Came::Failed(why) => failed.push(format!("{}: {why}", shown(rua))),
                Came::PutOff(pause) => {
                    put_off = Some(put_off.map_or(pause, |least: Duration| least.min(pause)));
                }
                Came::Never(why) | Came::Unwanted(why) => {
                    unusable.push(format!("{}: {why}", shown(rua)));
                }
            }
        }
        match put_off {
            Some(pause) => Came::PutOff(pause),
            None if !failed.is_empty() => Came::Failed(failed.join("; ")),
            None if unusable.is_empty() => Came::Never("no address can be used".to_owned()),
            None => Came::Never(unusable.join("; ")),
        }
    }

    async fn mail(&self, ports: &Ports, identity: &Identity, job: &Job, to: &Mailbox) -> Came {
        let now = ports.clock.wall();
        let host = to.host().to_string();
        if !self.hosts.mail(&host, now) {
            return Came::Never(TOO_MANY.to_owned());
        }
        let Some(report) = self.encoded(job, identity) else {
            return Came::Never(NOTHING.to_owned());
        };
        // Each attempt is a message of its own; what tells copies of a report is its report-id.
        let message_id = format!("{}.{}", now.as_millis(), job.outcome.report_id);
        let message = message(&report, identity, to, now, &message_id);
        match ports.mail.submit(&identity.contact_info, to, message).await {
            Ok(()) => Came::Sent(format!("mailto:{to}")),
            Err(why) => Came::Failed(why.to_string()),
        }
    }

    async fn post(&self, ports: &Ports, identity: &Identity, job: &Job, to: &Endpoint) -> Came {
        let in_hand = match self.hosts.begin(to.host.as_str(), ports.clock.wall()) {
            Turn::Now(in_hand) => in_hand,
            Turn::Later(pause) => return Came::PutOff(pause),
            Turn::Full => return Came::Never(TOO_MANY.to_owned()),
        };
        let Some(report) = self.encoded(job, identity) else {
            return Came::Never(NOTHING.to_owned());
        };
        let media_type = report.media_type();
        match ports.post.post(to, media_type, report.into_content()).await {
            Ok(()) => {
                in_hand.taken();
                Came::Sent(https(to))
            }
            Err(why) => {
                in_hand.failed(ports.clock.wall());
                Came::Failed(why.to_string())
            }
        }
    }
}

impl Reports {
    /// Our own reports, and the refreshing of known policies, have policies fetched too. Were such a fetch
    /// reported by itself, that report would have the next one fetched: one each day for ever (row B4-17).
    fn is_without_sessions(&self, job: &Job) -> bool {
        let book = self.book.lock();
        let counts = book.counts(job.day, &job.domain);
        counts.is_some_and(|(counts, _)| counts.is_without_sessions())
    }

    fn encoded(&self, job: &Job, identity: &Identity) -> Option<Encoded> {
        let report = {
            let book = self.book.lock();
            let (counts, _) = book.counts(job.day, &job.domain)?;
            let id = job.outcome.report_id.as_str();
            Report::new(counts, &job.domain, job.day, identity, id)
        };
        Some(report.encode(MAX_SIZE))
    }
}

/// Why there is nowhere to send to.
enum Unusable {
    Came(Came),
    Skipped(Vec<(String, &'static str)>),
}

/// The record of a domain.
async fn look_up(ports: &Ports, domain: &str) -> Result<TlsRptRecord, Unusable> {
    let unwanted = |detail| Unusable::Came(Came::Unwanted(detail));
    let name = HostName::parse(&format!("_smtp._tls.{domain}"))
        .map_err(|e| unwanted(format!("it can have no record: {e}")))?;
    let answer = ports.resolver.txt(&name).await.map_err(|e| {
        // Otherwise name servers that lie for an hour would cost all domains the day.
        if e.is_definite() && !(ports.doubted)() {
            unwanted(format!("{name}: {e}"))
        } else {
            Unusable::Came(Came::Failed(format!("{name} cannot be looked up: {e}")))
        }
    })?;
    record(&answer.value).map_err(|e| match e {
        NoReports::NothingUsable(all) => Unusable::Skipped(all),
        other => unwanted(format!("{name}: {other}")),
    })
}

/// With the first look only, whatever came of it: the next ones find the same.
fn tell_skipped(ports: &Ports, job: &Job, skipped: &[(String, &'static str)]) {
    if !job.first_look || job.outcome.attempts > 0 {
        return;
    }
    for (rua, why) in skipped {
        let (rua, detail) = (rua.clone(), (*why).to_owned());
        tell(
            ports,
            job,
            ports.clock.wall(),
            What::RuaSkipped { rua, detail },
        );
    }
}

/// What is to be noted, when the report is next looked at, and what is told.
fn conclude(job: &Job, came: Came, now: Timestamp) -> (Outcome, Timestamp, Option<What>) {
    let mut outcome = job.outcome.clone();
    let done = |mut outcome: Outcome, state| {
        outcome.state = state;
        outcome.at = now.as_millis();
        outcome.next = None;
        outcome
    };
    match came {
        Came::PutOff(pause) if now + pause <= job.deadline => (outcome, now + pause, None),
        Came::PutOff(_) => conclude(job, Came::Failed(NO_TURN.to_owned()), now),
        Came::Sent(rua) => {
            outcome.to = Some(rua.clone());
            outcome.detail = None;
            let (successes, failures) = (outcome.successes, outcome.failures);
            let what = What::Sent {
                rua,
                successes,
                failures,
            };
            (done(outcome, State::Sent), now, Some(what))
        }
        Came::Failed(detail) => {
            outcome.attempts = outcome.attempts.saturating_add(1);
            let spread = job.spread.wrapping_add(u64::from(outcome.attempts));
            let next = now + retry_delay(outcome.attempts, spread);
            if next > job.deadline {
                let detail = format!("given up after {} attempts: {detail}", outcome.attempts);
                outcome.detail = Some(detail.clone());
                let what = What::Dropped { detail };
                (done(outcome, State::Dropped), now, Some(what))
            } else {
                outcome.detail = Some(detail.clone());
                outcome.at = now.as_millis();
                outcome.next = Some(next.as_millis());
                (outcome, next, Some(What::Deferred { next, detail }))
            }
        }
        Came::Never(detail) => {
            outcome.detail = Some(detail.clone());
            let what = What::Dropped { detail };
            (done(outcome, State::Dropped), now, Some(what))
        }
        Came::Unwanted(detail) => {
            tracing::debug!(domain = %job.domain, day = %job.day, %detail, "no TLS report is wanted");
            outcome.detail = Some(detail);
            (done(outcome, State::Dropped), now, None)
        }
    }
}

fn tell(ports: &Ports, job: &Job, at: Timestamp, what: What) {
    ports.events.report_event(&ReportEvent {
        at,
        domain: job.domain.to_string(),
        day: job.day,
        report_id: job.outcome.report_id.clone(),
        what,
    });
}

fn shown(rua: &Rua) -> String {
    match rua {
        Rua::Mailto(to) => format!("mailto:{to}"),
        Rua::Https(endpoint) => https(endpoint),
    }
}

fn https(endpoint: &Endpoint) -> String {
    format!("https://{}{}", endpoint.host, endpoint.path_and_query)
}

const NO_KEY: &str = "there is no DKIM key for the domain of reporting.contact-info, and receivers take no report that \
                      is not signed";
const TOO_MANY: &str = "this address has had as many reports today as we send to one in a day";
const NO_TURN: &str = "other reports were in its way all the time";
const NO_SESSION: &str =
    "no session was counted, and failed fetches of the policy alone are not reported";
const NOTHING: &str = "its counts are gone";
/// It is asked again when reports are on again.
const SWITCHED_OFF: Duration = Duration::from_mins(10);
