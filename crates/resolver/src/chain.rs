//! One question, followed through its CNAMEs: queries, cache, TTLs, and which failure is which.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dns_health::{Counters, Path, Way};
use hickory_resolver::net::{DnsError as NetDnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use mail_types::{Answer, DnsError, HostName, Security};
use name_servers::{NameServers, Want, code_name, does_not_recurse, ours};

use crate::anchors::{Anchors, named};
use crate::config::{BuildError, Config, Dnssec};
use crate::failure::Failure;
use crate::memories::{Kept, Memories};
use crate::path::{Eye, Probe, Rest};
use crate::records::printable;
use crate::validate::Validator;

/// Name servers and the memory of their answers.
pub(crate) struct Upstream {
    servers: NameServers,
    pub(crate) dnssec: Dnssec,
    pub(crate) probe: Probe,
    eye: Eye,
    /// Present if we validate.
    validator: Option<Arc<Validator>>,
    memories: Memories,
    pub(crate) counters: Arc<Counters>,
}

/// Whether memory may answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    Use,
    /// Ask a server now; what it says is remembered.
    Bypass,
}

impl Upstream {
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        let kept = Kept::new(config);
        let servers = NameServers::new(&config.name_servers())?;
        let validator = match config.dnssec {
            Dnssec::Off | Dnssec::TrustAd => None,
            Dnssec::Validate => {
                let anchors = Anchors::load(&config.trust_anchors)?;
                Some(Arc::new(Validator::new(
                    servers.clone(),
                    anchors,
                    kept.memory(),
                )))
            }
        };
        let (eye, unseen) = match (config.dnssec, &validator) {
            (Dnssec::TrustAd, _) => (Eye::Ad(servers.clone()), !config.dnssec_worked),
            (Dnssec::Validate, Some(validator)) => {
                let eye = Eye::Ours(servers.clone(), Arc::clone(validator));
                (eye, !config.dnssec_worked)
            }
            (Dnssec::Off | Dnssec::Validate, _) => (Eye::Off, false),
        };
        let path = match (&eye, unseen) {
            (Eye::Off, _) => Path::Off,
            (_, true) => Path::Unknown(format!(
                "it is not known yet what {} will answer when asked for the keys that DNSSEC begins with",
                servers.names()
            )),
            (_, false) => Path::Carries,
        };
        Ok(Self {
            servers,
            dnssec: config.dnssec,
            probe: Probe::new(path),
            eye,
            validator,
            memories: Memories::new(kept),
            counters: Arc::default(),
        })
    }

    /// Reads the system's list of name servers anew; says whether others are asked from now on.
    pub(crate) fn reread(&self) -> Result<bool, BuildError> {
        let is_new = self.servers.reread()?;
        if is_new {
            self.memories.forget();
        }
        Ok(is_new)
    }

    pub(crate) const fn servers(&self) -> &NameServers {
        &self.servers
    }

    /// Looks whether DNSSEC reaches us, unless somebody has. Says why that has not shown it, if so.
    pub(crate) async fn look(&self, rest: Rest) -> Option<String> {
        self.probe.look(&self.eye, rest).await
    }

    pub(crate) fn path_may_pass(&self) -> bool {
        self.probe.may_pass()
    }

    /// Looks when nobody has for this time.
    pub(crate) async fn look_rested(&self, rest: Duration) {
        self.probe.look_rested(&self.eye, rest).await;
    }

    /// Why nothing at all may be asked. Trust anchors of some zones only leave the others alone.
    pub(crate) fn barred(&self) -> Option<String> {
        let ours = self.validator.as_ref();
        let covers_all = ours.is_none_or(|validator| validator.anchors.cover(&Name::root()));
        match self.probe.way(&self.eye) {
            Way::Barred(why) if covers_all => Some(why),
            Way::Barred(_) | Way::Validated | Way::Plain => None,
        }
    }

    /// All records of one type at a name, or at the end of its CNAME chain. `pick` chooses what the
    /// answer holds; records that it does not know are left out.
    pub(crate) async fn follow<T>(
        &self,
        name: &str,
        kind: RecordType,
        cache: Cache,
        pick: fn(&RData) -> Option<T>,
    ) -> Result<Answer<Vec<T>>, DnsError> {
        let mut chain = Chain::new(absolute(name)?, self.dnssec);
        loop {
            self.may_ask(chain.end()).await?;
            let question = Query::query(chain.end().clone(), kind);
            let message = match self.ask(question, cache).await {
                Ok(message) => message,
                Err(failure) => return Err(self.failure(&mut chain, failure).await),
            };
            let asked = chain.links();
            chain.walk(&message.answers)?;
            let found: Vec<&Record> = message
                .answers
                .iter()
                .filter(|r| r.record_type() == kind && r.name == *chain.end())
                .collect();
            let values: Vec<T> = found.iter().filter_map(|r| pick(&r.data)).collect();
            if !values.is_empty() {
                let ttl = found.iter().map(|r| r.ttl).fold(chain.ttl, u32::min);
                chain.judge(found.into_iter());
                return Ok(Answer {
                    value: values,
                    ttl: seconds(ttl),
                    security: chain.security(),
                    canonical: chain.canonical(),
                    origin: chain.origin(),
                });
            }
            if chain.links() == asked {
                return Err(chain.denial(&message));
            }
            // The answer ends in a CNAME whose target it does not hold: ask for that. So is the
            // denial that counts always the one for the name at the end (RFC 2308 section 2.1).
        }
    }

    /// The verdict on the CNAME at a name. The AD bit speaks of a whole answer, which for an alias
    /// reaches beyond it (RFC 7672 section 2.2.2).
    pub(crate) async fn alias(&self, name: &str) -> Result<Security, DnsError> {
        let mut chain = Chain::new(absolute(name)?, self.dnssec);
        let question = Query::query(chain.end().clone(), RecordType::CNAME);
        let message = match self.ask(question, Cache::Use).await {
            Ok(message) => message,
            Err(failure) => return Err(self.failure(&mut chain, failure).await),
        };
        let name = chain.end().clone();
        chain.judge(message.answers.iter().filter(|r| r.name == name));
        Ok(chain.origin())
    }

    async fn ask(&self, question: Query, cache: Cache) -> Result<Message, Failure> {
        // Looked at once: the path may have become broken since somebody said that we may ask.
        let ours = self.validator.as_ref();
        let (way, spell) = match ours.is_none_or(|v| v.anchors.cover(question.name())) {
            true => self.probe.way_in_spell(&self.eye),
            false => (Way::Plain, 0),
        };
        let memory = self.memories.of(&way, spell);
        if cache == Cache::Use
            && let Some(memory) = &memory
            && let Some(remembered) = memory.get(&question, Instant::now())
        {
            self.counters.cache_hits.fetch_add(1, Ordering::Relaxed);
            return remembered.map_err(Failure::Net);
        }
        if let Way::Barred(why) = way {
            return Err(Failure::Barred(why));
        }
        self.counters.queries.fetch_add(1, Ordering::Relaxed);
        let is_trusted = self.dnssec == Dnssec::TrustAd && way == Way::Validated;
        let result = match (self.dnssec, ours, way) {
            (Dnssec::Off, ..) => self.plainly(&question, Want::Nothing).await,
            (Dnssec::TrustAd, ..) => self.plainly(&question, Want::Ad).await,
            (Dnssec::Validate, Some(validator), Way::Validated) => validator.query(&question).await,
            (Dnssec::Validate, ..) => self.plainly(&question, Want::Nothing).await,
        };
        let result = match result {
            Ok(message) => Ok(message),
            Err(Failure::Net(denial @ NetError::Dns(NetDnsError::NoRecordsFound(_)))) => {
                Err(denial)
            }
            Err(failure) => return Err(failure),
        };
        if is_trusted && !is_vouched_for(&result) {
            // The name may be in an unsigned zone, or the resolver have ceased to validate.
            let doubt = self.look(Rest::Asked).await;
            if let Way::Barred(why) = self.probe.way(&self.eye) {
                return Err(Failure::Barred(why));
            }
            if let Some(why) = doubt {
                return Err(Failure::Unvouched(why));
            }
        }
        if let Some(memory) = memory {
            memory.insert(question, result.clone(), Instant::now());
        }
        result.map_err(Failure::Net)
    }

    async fn plainly(&self, question: &Query, want: Want) -> Result<Message, Failure> {
        let reply = self.servers.query(question, want).await;
        Ok(reply?.into_message())
    }

    /// Nothing is looked up while the path is broken.
    async fn may_ask(&self, name: &Name) -> Result<(), DnsError> {
        let ours = self.validator.as_ref();
        if ours.is_some_and(|validator| !validator.anchors.cover(name)) {
            return Ok(());
        }
        match self.probe.obstacle(&self.eye, name).await {
            None => Ok(()),
            Some(why) => Err(DnsError::Temporary(format!(
                "{} is not asked for: {why}",
                printable(name)
            ))),
        }
    }

    /// What looks bogus may be the work of a resolver that has begun to strip signatures.
    async fn failure(&self, chain: &mut Chain, failure: Failure) -> DnsError {
        if matches!(failure, Failure::Bogus(_)) {
            let _ = self.look(Rest::Lately).await;
            if let Err(obstacle) = self.may_ask(chain.end()).await {
                return obstacle;
            }
        }
        chain.failure(failure, &self.servers.names())
    }
}

/// The names that led from the question to its end.
struct Chain {
    names: Vec<Name>,
    ttl: u32,
    dnssec: Dnssec,
    /// The verdicts on what was followed: the first, and all of them together.
    verdicts: Option<(Security, Security)>,
}

impl Chain {
    fn new(start: Name, dnssec: Dnssec) -> Self {
        Self {
            names: vec![start],
            ttl: u32::MAX,
            dnssec,
            verdicts: None,
        }
    }

    /// Adds the verdict on one more step: its records, or the proof that there are none.
    fn judge<'r>(&mut self, records: impl Iterator<Item = &'r Record>) {
        let verdict = records.map(|r| match r.proof {
            Proof::Secure => Security::Secure,
            // The validator lets no bogus record pass.
            Proof::Insecure | Proof::Bogus => Security::Insecure,
            Proof::Indeterminate => Security::Unchecked,
        });
        // Without a record nothing was vouched for.
        let verdict = verdict.reduce(Security::and).unwrap_or(match self.dnssec {
            Dnssec::Off => Security::Unchecked,
            Dnssec::Validate | Dnssec::TrustAd => Security::Insecure,
        });
        let (origin, whole) = self.verdicts.unwrap_or((verdict, verdict));
        self.verdicts = Some((origin, whole.and(verdict)));
    }

    fn security(&self) -> Security {
        self.verdicts
            .map_or(Security::Unchecked, |(_, whole)| whole)
    }

    fn origin(&self) -> Security {
        self.verdicts
            .map_or(Security::Unchecked, |(origin, _)| origin)
    }

    fn end(&self) -> &Name {
        // `names` starts with one name and only grows.
        &self.names[self.names.len() - 1]
    }

    fn links(&self) -> usize {
        self.names.len() - 1
    }

    fn canonical(&self) -> Option<HostName> {
        (self.links() > 0)
            .then(|| HostName::parse(&printable(self.end())).ok())
            .flatten()
    }

    /// Follows the CNAMEs that the answer section holds, in whatever order they stand there.
    fn walk(&mut self, answers: &[Record]) -> Result<(), DnsError> {
        while let Some((link, target)) = cname(answers, self.end()) {
            if self.names.contains(target) {
                return Err(DnsError::Temporary(format!(
                    "CNAME loop: {} leads back to {}",
                    printable(&self.names[0]),
                    printable(target)
                )));
            }
            if self.links() == MAX_CNAMES {
                return Err(DnsError::Temporary(format!(
                    "more than {MAX_CNAMES} CNAMEs follow one another from {}",
                    printable(&self.names[0])
                )));
            }
            self.names.push(target.clone());
            self.ttl = self.ttl.min(link.ttl);
            self.judge(std::iter::once(link));
        }
        Ok(())
    }

    /// hickory calls every answer without records an error; those with a reason are ours.
    fn failure(&mut self, failure: Failure, servers: &str) -> DnsError {
        let denied = match failure {
            Failure::Net(NetError::Dns(NetDnsError::NoRecordsFound(denied))) => denied,
            Failure::Net(e) => {
                return failed(&e, self.end(), servers);
            }
            Failure::Chain(missing) => {
                let (question, e) = *missing;
                if ours(&e).is_some() || does_not_recurse(&e) {
                    return failed(&e, question.name(), servers);
                }
                return DnsError::Temporary(format!(
                    "{} cannot be validated without the {} records of {}: {}",
                    printable(self.end()),
                    question.query_type(),
                    named(question.name()),
                    plain(&e, question.name(), servers)
                ));
            }
            Failure::Barred(why) => {
                return DnsError::Temporary(format!(
                    "{} is not asked for: {why}",
                    printable(self.end())
                ));
            }
            Failure::Unvouched(why) => {
                return DnsError::Local(format!(
                    "the answer for {} came without the AD bit, and is not believed before the resolver has shown that \
                     it validates still: {why}",
                    printable(self.end())
                ));
            }
            Failure::Bogus(why) => {
                return DnsError::Bogus(format!("{}: {why}", printable(self.end())));
            }
        };
        let ttl = denied.negative_ttl.unwrap_or(0);
        self.judge(denied.authorities.iter().flat_map(|all| all.iter()));
        self.denied(denied.response_code, ttl)
    }

    /// A message with records, none of them an answer to the question.
    fn denial(&mut self, message: &Message) -> DnsError {
        let ttl = message
            .authorities
            .iter()
            .find_map(|r| match &r.data {
                RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
                _ => None,
            })
            .unwrap_or(0);
        self.judge(message.authorities.iter());
        self.denied(message.metadata.response_code, ttl)
    }

    fn denied(&self, code: ResponseCode, ttl: u32) -> DnsError {
        // RFC 2308 section 5: without a SOA record a denial is not kept (TTL 0).
        let ttl = seconds(ttl.min(self.ttl));
        let security = self.security();
        match code {
            ResponseCode::NXDomain => DnsError::NoSuchName { ttl, security },
            ResponseCode::NoError => DnsError::NoRecords { ttl, security },
            other => DnsError::Temporary(format!(
                "the name server answered {other} for {}",
                printable(self.end())
            )),
        }
    }
}

fn cname<'a>(answers: &'a [Record], name: &Name) -> Option<(&'a Record, &'a Name)> {
    answers.iter().find_map(|r| match &r.data {
        RData::CNAME(target) if r.name == *name => Some((r, &target.0)),
        _ => None,
    })
}

/// Whether the resolver says that it has validated all of it.
fn is_vouched_for(reply: &Result<Message, NetError>) -> bool {
    match reply {
        Ok(message) => {
            let mut records = message.answers.iter().chain(&message.authorities);
            records.all(|r| r.proof == Proof::Secure)
        }
        Err(_) => false,
    }
}

/// What is wrong on our side is told as such: what this machine lacks, and servers that are no resolvers.
fn failed(error: &NetError, name: &Name, servers: &str) -> DnsError {
    if let Some(lack) = ours(error) {
        let name = printable(name);
        return DnsError::Local(format!(
            "{lack}: no question was put to {servers} for {name}"
        ));
    }
    let said = plain(error, name, servers);
    if does_not_recurse(error) {
        return DnsError::Local(said);
    }
    DnsError::Temporary(said)
}

/// Which server, which name, what.
fn plain(error: &NetError, name: &Name, servers: &str) -> String {
    let name = printable(name);
    match error {
        NetError::Timeout => format!("no answer from {servers} for {name}"),
        NetError::Dns(NetDnsError::ResponseCode(code)) => {
            format!("{servers} answered {} for {name}", code_name(*code))
        }
        NetError::Io(e) => format!("cannot talk to {servers} about {name}: {}", words(e)),
        NetError::NoConnections => {
            format!("cannot talk to {servers} about {name}: no connection")
        }
        error if does_not_recurse(error) => format!(
            "{servers} only referred us to other servers when asked for {name}, as does a server that does not \
             recurse: name resolvers in dns.servers"
        ),
        NetError::Truncated => {
            format!(
                "the answer of {servers} for {name} is too long for UDP and does not come over TCP"
            )
        }
        other => format!("the answer of {servers} for {name} cannot be read: {other}"),
    }
}

/// The system's words without their number, which says no more.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

fn absolute(name: &str) -> Result<Name, DnsError> {
    // E1-20: with the root at its end no search list applies.
    let mut absolute = Name::from_ascii(name)
        .map_err(|e| DnsError::Temporary(format!("{name} cannot be asked for: {e}")))?;
    absolute.set_fqdn(true);
    Ok(absolute)
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

/// Rows H1-10, H1-11.
const MAX_CNAMES: usize = 12;

#[cfg(test)]
mod tests;
