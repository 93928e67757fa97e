//! Whether DNSSEC reaches us at all (decision AMB-34).
//!
//! `. DNSKEY`, or that of the zones that the trust anchors name, is asked for at the start and from
//! then on. A path that never carried signatures is a fact of the site: mail goes out as without
//! DNSSEC, and somebody is told. A path that did carry them and does not any more is a fault, or
//! an attack: nothing is believed until it does again. Signatures that are there and do not verify
//! are never taken for missing ones, at the start neither (RFC 4035 section 5.5, RFC 7672 section
//! 2.1.1): whoever could forge the keys of the root would else switch DANE off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dns_health::{Absence, Path, Seen, Spells, Way};
use futures_util::future::join_all;
use hickory_resolver::net::{DnsError as NetDnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use name_servers::{NameServers, Served, Want, code_name, ours};
use tokio::sync::{Mutex, watch};

use crate::anchors::named;
use crate::diagnose::out_of_time;
use crate::failure::Failure;
use crate::prune::covered;
use crate::validate::{Memory, Validator, now};

/// The last known state, and who may find out anew.
pub(crate) struct Probe {
    state: watch::Sender<Path>,
    /// How many absences of the name servers had ended when answers last said what it is.
    seen: AtomicU64,
    /// Whether they only failed at the keys then: an access list may be mended, or their way out, without an absence
    /// that ends.
    may_pass: AtomicBool,
    /// What looks have seen of DNSSEC, in spells.
    spells: parking_lot::Mutex<Spells>,
    /// When it was last tried.
    last: Mutex<Option<Looked>>,
}

/// From when to when somebody looked.
struct Looked {
    began: Instant,
    ended: Instant,
    /// Why that did not show that DNSSEC reaches us, if so.
    doubt: Option<String>,
}

/// Whose look makes one's own needless.
#[derive(Clone, Copy)]
pub(crate) enum Rest {
    /// That of whoever began after it was asked for.
    Asked,
    /// That of whoever ended within `IMPATIENT` as well.
    Lately,
    /// As `Lately`; but if the name that is wanted may show more, and who knows nothing of it says so at once, as
    /// `Asked`.
    Wanted,
}

impl Probe {
    pub(crate) fn new(start: Path) -> Self {
        Self {
            state: watch::Sender::new(start),
            seen: AtomicU64::new(0),
            may_pass: AtomicBool::new(false),
            spells: parking_lot::Mutex::default(),
            last: Mutex::new(None),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Path> {
        self.state.subscribe()
    }

    /// How a name below the trust anchors is to be asked for at this moment.
    pub(crate) fn way(&self, eye: &Eye) -> Way {
        let state = self.state.borrow();
        state.way(self.is_stale(eye))
    }

    /// The same, and in which spell that is: what was said in another without being proven says nothing now.
    pub(crate) fn way_in_spell(&self, eye: &Eye) -> (Way, u64) {
        // Held until both are read: a look changes both at once.
        let state = self.state.borrow();
        let spell = match eye {
            Eye::Ad(_) => self.spells.lock().count(),
            Eye::Off | Eye::Ours(..) => 0,
        };
        (state.way(self.is_stale(eye)), spell)
    }

    /// Whether the name servers were away since. That DNSSEC is not to be had may then be what one saw of that,
    /// so that it is looked at before anybody goes without it.
    fn is_stale(&self, eye: &Eye) -> bool {
        self.seen.load(Ordering::SeqCst) != eye.ended()
    }

    /// Whether DNSSEC is not to be had for a reason that may pass at any time.
    pub(crate) fn may_pass(&self) -> bool {
        self.may_pass.load(Ordering::SeqCst)
    }

    /// What a look-up of this name has to know before it asks: `Some` text is why it fails.
    pub(crate) async fn obstacle(&self, eye: &Eye, name: &Name) -> Option<String> {
        if matches!(self.way(eye), Way::Validated | Way::Plain) {
            return None;
        }
        eye.want(name);
        let _ = self.look(eye, Rest::Wanted).await;
        let state = self.state.borrow();
        state.obstacle(self.is_stale(eye))
    }

    /// Who fails at the root and its keys, at once, may resolve a name that is wanted though none of those before: mail
    /// does not wait for the next look. Who is let pass does not look.
    fn may_show_more(&self, eye: &Eye) -> bool {
        let is_open = matches!(
            *self.state.borrow(),
            Path::Unknown(_) | Path::Unavailable(_)
        );
        is_open && !eye.is_silent() && matches!(self.way(eye), Way::Barred(_))
    }

    /// Looks when nobody has for this time. Look-ups wait for nobody who rests.
    pub(crate) async fn look_rested(&self, eye: &Eye, rest: Duration) {
        loop {
            let last = self.last.lock().await;
            let left = |at: &Looked| rest.saturating_sub(at.ended.elapsed());
            let left = last.as_ref().map_or(Duration::ZERO, left);
            drop(last);
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left).await;
        }
        let _ = self.look(eye, Rest::Asked).await;
    }

    /// Looks, unless somebody has. Those who ask for it while somebody does look once for all of them. Says why that has
    /// not shown that DNSSEC reaches us, if so.
    pub(crate) async fn look(&self, eye: &Eye, rest: Rest) -> Option<String> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        // Only now: the look that this one may have waited for has seen what the servers do.
        let rest = match rest {
            Rest::Wanted if self.may_show_more(eye) => Duration::ZERO,
            Rest::Wanted | Rest::Lately => IMPATIENT,
            Rest::Asked => Duration::ZERO,
        };
        // One that began before knows nothing of what is wanted here.
        let is_done = |it: &&Looked| it.began >= asked || it.ended.elapsed() < rest;
        if let Some(looked) = last.as_ref().filter(is_done) {
            return looked.doubt.clone();
        }
        if *self.state.borrow() == Path::Off {
            return None;
        }
        let began = Instant::now();
        eye.knock_if_refused().await;
        let absences = eye.ended();
        let seen = eye.look(absences).await;
        let ended = Instant::now();
        let doubt = seen.doubt().map(str::to_owned);
        *last = Some(Looked {
            began,
            ended,
            doubt: doubt.clone(),
        });
        let is_answer = seen.is_answer();
        let may_pass = matches!(seen, Seen::Refused(_) | Seen::Refuses(_));
        self.state.send_if_modified(|state| {
            self.spells.lock().see(&seen);
            // Both at once: neither counts with what the other was before.
            if is_answer {
                self.seen.store(absences, Ordering::SeqCst);
                self.may_pass.store(may_pass, Ordering::SeqCst);
            }
            let next = state.next(seen);
            let changed = *state != next;
            *state = next;
            changed
        });
        doubt
    }
}

/// How to look.
pub(crate) enum Eye {
    Off,
    /// The AD bit on the root's keys.
    Ad(NameServers),
    /// The signatures on the keys of our trust anchors.
    Ours(NameServers, Arc<Validator>),
}

impl Eye {
    const fn servers(&self) -> Option<&NameServers> {
        match self {
            Self::Off => None,
            Self::Ad(servers) | Self::Ours(servers, _) => Some(servers),
        }
    }

    /// How many absences of the name servers have ended.
    fn ended(&self) -> u64 {
        self.servers().map_or(0, |servers| servers.ended())
    }

    /// Whether a question may have to be waited for.
    fn is_silent(&self) -> bool {
        let silence = self.servers().and_then(|servers| servers.silence());
        silence.is_some_and(|s| s.how.may_be_silent())
    }

    /// A server that refuses all that has been asked so far, or fails at it, may answer for a name that is wanted now.
    async fn knock_if_refused(&self) {
        if let Some(servers) = self.servers()
            && servers.silence().is_some_and(|s| s.how != Absence::Silent)
        {
            servers.knock().await;
        }
    }

    fn want(&self, name: &Name) {
        if let Some(servers) = self.servers() {
            servers.want(name);
        }
    }

    /// Who was not served, or not all the time, has not seen that DNSSEC is withheld. An error counts if it comes
    /// again after servers have answered something else: the first may have been meant for whatever we ask, or have
    /// come from a resolver that has just started and does not resolve yet.
    async fn look(&self, ended: u64) -> Seen {
        let first = self.look_once().await;
        let Some(servers) = self.servers() else {
            return first;
        };
        let served = match &first {
            Seen::Silence(_) | Seen::Refuses(_) | Seen::Refused(_) => servers.serves().await,
            Seen::Carries | Seen::Strips(_) | Seen::Bogus(_) | Seen::Ours(_) => return first,
        };
        let last = match (first, served) {
            (Seen::Silence(why), Served::Nothing) => Seen::Silence(why),
            // Somebody on the way may drop what has to do with DNSSEC and answer everything else. What was lost once
            // has been asked for again before it counts as silence: a further try would cost look-ups that wait for this
            // look their time.
            (Seen::Silence(why), Served::Root | Served::OwnZones) => {
                Seen::Refuses(format!("{why}; other questions are answered"))
            }
            (Seen::Refuses(why) | Seen::Refused(why), Served::Nothing) => Seen::Silence(format!(
                "{why}, and has no answer to other questions either"
            )),
            (_, _) if self.is_served_since(ended) => match (self.look_once().await, served) {
                (Seen::Refused(why), Served::OwnZones) => Seen::Refused(format!(
                    "{why}; the root is refused as well: only the server's own zones are resolved for us"
                )),
                (again, _) => again,
            },
            (first, _) => first,
        };
        match last {
            Seen::Refuses(why) | Seen::Refused(why) if !self.is_served_since(ended) => {
                Seen::Silence(why)
            }
            other => other,
        }
    }

    fn is_served_since(&self, ended: u64) -> bool {
        // In this order: an absence that ends in between shows in one of them.
        let is_silent = self
            .servers()
            .is_some_and(|servers| servers.silence().is_some());
        !is_silent && self.ended() == ended
    }

    async fn look_once(&self) -> Seen {
        match self {
            Self::Off => Seen::Carries,
            Self::Ad(servers) => look_for_ad(servers).await,
            Self::Ours(servers, validator) => {
                let mut seen = Seen::Carries;
                // All at once: each that is silent takes as long as a resolver may.
                let zones = validator.anchors.zones.iter();
                let looks = zones.map(|zone| look_for_keys(servers, validator, zone));
                for its in join_all(looks).await {
                    match (&seen, its) {
                        // One zone's stripped keys do not excuse another's forged ones.
                        (_, bogus @ Seen::Bogus(_)) => return bogus,
                        (Seen::Carries, other) => seen = other,
                        (_, _) => {}
                    }
                }
                seen
            }
        }
    }
}

async fn look_for_ad(servers: &NameServers) -> Seen {
    let question = Query::query(Name::root(), RecordType::DNSKEY);
    match servers.query(&question, Want::Ad).await {
        Ok(reply) => {
            let mut records = reply.answers.iter();
            if records.all(|r| r.proof == Proof::Secure) {
                Seen::Carries
            } else {
                Seen::Strips(format!(
                    "{} does not validate: it gives the root's keys without the AD bit",
                    servers.whoever()
                ))
            }
        }
        Err(failure) => failed(servers, &Name::root(), failure.into()),
    }
}

async fn look_for_keys(servers: &NameServers, validator: &Validator, zone: &Name) -> Seen {
    let question = Query::query(zone.clone(), RecordType::DNSKEY);
    let reply = match servers.query(&question, Want::Signatures).await {
        Ok(reply) => reply,
        Err(failure) => return failed(servers, zone, failure.into()),
    };
    if !reply.answers.iter().any(|r| covered(r).is_some()) {
        return Seen::Strips(format!(
            "{} strips DNSSEC: it gives the keys of {} without signatures",
            servers.whoever(),
            named(zone)
        ));
    }
    match validator.once(&question, Memory::Renew).await {
        Ok(message) if message.answers.iter().all(|r| r.proof == Proof::Secure) => Seen::Carries,
        Ok(_) => Seen::Bogus(untrusted(servers, zone, "")),
        Err(Failure::Bogus(why)) => {
            let late = out_of_time(&named(zone), &reply.answers, now());
            Seen::Bogus(late.unwrap_or_else(|| untrusted(servers, zone, &why)))
        }
        Err(failure) => failed(servers, zone, failure),
    }
}

fn untrusted(servers: &NameServers, zone: &Name, why: &str) -> String {
    let zone = named(zone);
    let why = if why.is_empty() {
        ""
    } else {
        &format!(" ({why})")
    };
    format!(
        "the keys of {zone} that {} gives are not those of the trust anchor{why}",
        servers.whoever()
    )
}

fn failed(servers: &NameServers, zone: &Name, failure: Failure) -> Seen {
    let (names, zone) = (servers.names(), named(zone));
    match failure {
        // Not from a server: it says nothing about the path.
        Failure::Barred(why) | Failure::Unvouched(why) => Seen::Silence(why),
        Failure::Net(NetError::Dns(NetDnsError::NoRecordsFound(denial))) => {
            let what = match denial.response_code {
                ResponseCode::NXDomain => "that it does not exist",
                _ => "that there are none",
            };
            Seen::Strips(format!(
                "{} says of the keys of {zone}, which DNSSEC begins with, {what}",
                servers.whoever()
            ))
        }
        Failure::Net(NetError::Dns(NetDnsError::ResponseCode(code))) => {
            let code_name = code_name(code);
            let why = format!("{names} answered {code_name} when asked for the keys of {zone}");
            match code {
                ResponseCode::Refused => Seen::Refused(why),
                _ => Seen::Refuses(why),
            }
        }
        // A resolver on this host that validates says so.
        Failure::Bogus(why) => Seen::Bogus(format!("the keys of {zone} do not verify: {why}")),
        Failure::Net(e) => silence(servers, &zone, &e),
        Failure::Chain(missing) => silence(servers, &zone, &missing.1),
    }
}

fn silence(servers: &NameServers, zone: &str, error: &NetError) -> Seen {
    if let Some(lack) = ours(error) {
        return Seen::Ours(format!(
            "{} could not be asked for the keys of {zone}, which DNSSEC begins with: {lack}",
            servers.names()
        ));
    }
    let more = match (servers.silence(), error) {
        (Some(silence), _) => format!(" ({})", silence.why),
        (None, NetError::Timeout) => String::new(),
        (None, other) => format!(" ({other})"),
    };
    let what = match error {
        NetError::Truncated | NetError::Proto(_) => "no answer that can be used",
        _ => "no answer",
    };
    Seen::Silence(format!(
        "{} gave {what} when asked for the keys of {zone}, which DNSSEC begins with{more}",
        servers.names()
    ))
}

/// A look-up that fails for the path, or looks bogus, makes us look again after this.
pub(crate) const IMPATIENT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::Message;

    use super::*;
    use crate::anchors::Anchors;

    /// Nobody answers, and no time-out ends: each zone is asked all the same.
    #[tokio::test]
    async fn no_zone_waits_for_one_that_is_silent() {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let config = crate::Config {
            servers: crate::Servers::List(vec![silent.local_addr().unwrap()]),
            timeout: Duration::from_secs(3600),
            ..crate::Config::default()
        };
        let servers = NameServers::new(&config.name_servers()).unwrap();
        let zones = ["a.test.", "b.test.", "c.test."].map(|name| Name::from_ascii(name).unwrap());
        let anchors = Anchors {
            keys: Arc::default(),
            zones: Arc::new(zones.clone()),
        };
        let validator = Arc::new(Validator::new(servers.clone(), anchors, None));
        let eye = Eye::Ours(servers, validator);
        let asked = async {
            let mut left = zones.to_vec();
            let mut octets = [0; 512];
            while !left.is_empty() {
                let n = silent.recv(&mut octets).await.unwrap();
                let question = Message::from_vec(&octets[..n]).unwrap();
                left.retain(|zone| question.queries.iter().all(|q| q.name() != zone));
            }
        };
        tokio::select! {
            _ = eye.look(0) => panic!("nobody answered"),
            asked = tokio::time::timeout(Duration::from_secs(120), asked) => asked.unwrap(),
        }
    }
}
