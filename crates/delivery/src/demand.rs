//! How demands on one delivery add up (pure; decision AMB-33), and how a host is held against them.
//!
//! | demand | from | adds |
//! |---|---|---|
//! | a | `delivery.tls` | `encrypted`: TLS; `verified`: TLS and a certificate valid for the MX name |
//! | b | `[[route]] tls` | `verified`: the same for the next hop's name |
//! | c | `[[domain]]` | `tls` as (a); `mta-sts = "require"`: a valid certificate, and the MX name is listed by the rule's `mx`, by the published policy, or is DNSSEC-secure |
//! | d | REQUIRETLS (RFC 8689) | a valid certificate, the MX name listed by an enforce policy or secure, the extension at the next hop |
//! | e | DANE (RFC 7672) | comes with DNSSEC |
//! | f | MTA-STS enforce (RFC 8461) | a valid certificate and the MX name listed by the policy |
//!
//! Each only adds. `TLS-Required: No` removes e and f; an exemption and `dangerous-audit` remove f;
//! nothing removes d. A removed or testing policy is still evaluated and recorded.

use std::borrow::Cow;
use std::sync::Arc;

use attempt::{PolicyFrom, PolicyResult, PolicySource, PolicyUse, Reason, Weakened};
use mail_types::HostName;
use mta_sts::{HostVerdict, Mode, MxPattern};
use policy_cache::StoredPolicy;

/// TLS that is asked of a destination by configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequiredTls {
    /// TLS with any certificate, never plain text.
    Encrypted,
    /// STARTTLS and a certificate valid for the MX name.
    Verified,
}

/// A `[[domain]]` rule as it applies now: what has run out is already removed.
#[derive(Clone, Debug, Default)]
pub struct LocalRule {
    /// `mta-sts = "require"`.
    pub require: bool,
    /// `mta-sts = "dangerous-audit"`.
    pub dangerous_audit: bool,
    /// The rule's own `mx` patterns; they count with `require`.
    pub mx: Vec<MxPattern>,
    /// `tls`.
    pub tls: Option<RequiredTls>,
}

/// A policy that is in force for the policy domain, as the cache gave it.
#[derive(Clone, Debug)]
pub struct Published {
    /// The policy with its id and times.
    pub stored: Arc<StoredPolicy>,
    /// Fetched for this attempt, or before.
    pub from: PolicyFrom,
    /// Nothing was known of the domain before.
    pub first_contact: bool,
}

/// Everything that may demand something of one delivery.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// `delivery.tls`.
    pub delivery_tls: Option<RequiredTls>,
    /// `[[route]] tls`, if a route applies.
    pub route_tls: Option<crate::RouteTls>,
    /// `[[domain]]`.
    pub rule: LocalRule,
    /// The message came with REQUIRETLS.
    pub requiretls: bool,
    /// REQUIRETLS was found impossible for a notification, and is set aside (decision AMB-24).
    pub requiretls_set_aside: bool,
    /// Asked on the way of a concession, so that no more is conceded than has to be.
    pub at_least: Option<RequiredTls>,
    /// The message's `TLS-Required: No` counts (decision AMB-32).
    pub tls_required_no: bool,
    /// The message is a report of our own (RFC 8460 section 3).
    pub report: bool,
    /// The operator has exempted the domain from its policy for now.
    pub exempt: bool,
    /// The policy in force.
    pub published: Option<Published>,
}

/// What one delivery requires of the host and of the session: the union of all demands.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// TLS, with any certificate at least.
    encrypted: bool,
    /// A certificate valid for the MX name.
    verified: bool,
    /// Each of these must list the MX name.
    listed_by: Vec<Listing>,
    /// The extension must be offered after TLS.
    requiretls: bool,
    /// The route said that there is to be no TLS at all.
    dangerous_plain: bool,
    /// What took a demand away.
    pub weakened_by: Option<Weakened>,
    demands: Vec<Demand>,
}

#[derive(Clone, Debug)]
enum Listing {
    /// A published policy.
    Policy(Arc<StoredPolicy>),
    /// Patterns of a local rule.
    Patterns(Vec<MxPattern>),
    /// A demand that no source can meet: `require` or REQUIRETLS without policy, patterns or DNSSEC.
    Nobody(PolicySource),
}

#[derive(Clone, Debug)]
struct Demand {
    source: PolicySource,
    mode: Cow<'static, str>,
    published: Option<Published>,
    needs: Needs,
}

/// What a demand asks of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    Encryption,
    Certificate,
    ListedAndCertificate,
    /// These, and the extension at the next hop.
    RequireTls,
}

/// How much a connection must prove (the client's posture derives from it, one to one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assurance {
    /// STARTTLS and a certificate valid for the name, or no session.
    Authenticated,
    /// STARTTLS with any certificate, or no session.
    DangerousEncrypted,
    /// TLS if offered.
    DangerousOpportunistic,
    /// No TLS.
    DangerousPlain,
}

/// May this host be tried?
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostDecision {
    /// Connect with this assurance.
    Connect(Assurance),
    /// Treat it as unreachable (RFC 8461 section 8.4).
    Refuse {
        /// The reason key.
        reason: Reason,
        /// One phrase.
        specifics: String,
    },
}

/// May this message go over this session?
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionDecision {
    /// Send it.
    Deliver,
    /// Not here.
    Refuse {
        /// The reason key.
        reason: Reason,
        /// One phrase.
        specifics: String,
    },
}

/// What is known of a session when its turn comes: recorded at the handshake, never later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// How the connection was opened.
    pub assurance: Assurance,
    /// What TLS proved.
    pub tls: SeenTls,
    /// REQUIRETLS was offered after TLS.
    pub offers_requiretls: bool,
}

/// What TLS proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenTls {
    /// There is none; the reason says why not.
    None(Reason),
    /// The certificate is valid for the MX name.
    Verified,
    /// It is not.
    Unverified(Reason),
}

impl Requirement {
    /// Adds up what is demanded (decision AMB-33).
    #[must_use]
    pub fn of(inputs: &Inputs) -> Self {
        let mut r = Self {
            encrypted: false,
            verified: false,
            listed_by: Vec::new(),
            requiretls: false,
            dangerous_plain: false,
            weakened_by: None,
            demands: Vec::new(),
        };
        if let Some(tls) = inputs.delivery_tls {
            r.add_local(tls);
        }
        if let Some(route) = inputs.route_tls {
            r.add_route(route);
        }
        if let Some(tls) = inputs.rule.tls {
            r.add_local(tls);
        }
        if inputs.rule.require {
            r.add_require(inputs);
        }
        if inputs.requiretls_set_aside {
            r.add(PolicySource::RequireTls, "set-aside", None, Needs::Nothing);
        } else if inputs.requiretls {
            r.add_requiretls(inputs);
        }
        if let Some(tls) = inputs.at_least {
            r.encrypted = true;
            r.verified |= tls == RequiredTls::Verified;
        }
        r.add_published(inputs);
        r
    }

    fn add(
        &mut self,
        source: PolicySource,
        mode: impl Into<Cow<'static, str>>,
        published: Option<Published>,
        needs: Needs,
    ) {
        self.demands.push(Demand {
            source,
            mode: mode.into(),
            published,
            needs,
        });
    }

    fn add_local(&mut self, tls: RequiredTls) {
        self.encrypted = true;
        match tls {
            RequiredTls::Encrypted => {
                self.add(PolicySource::Local, "encrypted", None, Needs::Encryption)
            }
            RequiredTls::Verified => {
                self.verified = true;
                self.add(PolicySource::Local, "verified", None, Needs::Certificate);
            }
        }
    }

    fn add_route(&mut self, tls: crate::RouteTls) {
        match tls {
            crate::RouteTls::Verified => {
                self.encrypted = true;
                self.verified = true;
                self.add(PolicySource::Route, "verified", None, Needs::Certificate);
            }
            crate::RouteTls::Policy => {}
            crate::RouteTls::DangerousUnverified => {
                self.add(
                    PolicySource::Route,
                    "dangerous-unverified",
                    None,
                    Needs::Nothing,
                );
            }
            crate::RouteTls::DangerousOff => {
                self.dangerous_plain = true;
                self.add(PolicySource::Route, "dangerous-off", None, Needs::Nothing);
            }
        }
    }

    fn add_require(&mut self, inputs: &Inputs) {
        self.encrypted = true;
        self.verified = true;
        // The rule's own patterns, or the published policy whatever its mode; DNSSEC comes later.
        if !inputs.rule.mx.is_empty() {
            self.listed_by
                .push(Listing::Patterns(inputs.rule.mx.clone()));
        } else if let Some(p) = inputs
            .published
            .as_ref()
            .filter(|p| p.stored.mode() != Mode::None)
        {
            self.listed_by.push(Listing::Policy(Arc::clone(&p.stored)));
        } else if inputs.route_tls.is_none() {
            self.listed_by.push(Listing::Nobody(PolicySource::Local));
        }
        self.add(
            PolicySource::Local,
            "require",
            None,
            Needs::ListedAndCertificate,
        );
    }

    /// RFC 8689 section 4.2.1: the MX name validated by an enforced policy (or DNSSEC), a valid
    /// certificate, the extension at the next hop. Testing does not validate a name (row D1-07).
    fn add_requiretls(&mut self, inputs: &Inputs) {
        self.encrypted = true;
        self.verified = true;
        self.requiretls = true;
        match inputs
            .published
            .as_ref()
            .filter(|p| p.stored.mode() == Mode::Enforce)
        {
            Some(p) => self.listed_by.push(Listing::Policy(Arc::clone(&p.stored))),
            // A hop that we were told by name needs no validation of an MX record.
            None if inputs.route_tls.is_some() => {}
            None => self
                .listed_by
                .push(Listing::Nobody(PolicySource::RequireTls)),
        }
        self.add(PolicySource::RequireTls, "require", None, Needs::RequireTls);
    }

    fn add_published(&mut self, inputs: &Inputs) {
        let Some(published) = &inputs.published else {
            return;
        };
        let mode = published.stored.mode();
        let needs = match mode {
            Mode::Enforce | Mode::Testing => Needs::ListedAndCertificate,
            Mode::None => Needs::Nothing,
        };
        self.add(
            PolicySource::MtaSts,
            mode.as_str(),
            Some(published.clone()),
            needs,
        );
        if mode != Mode::Enforce {
            // RFC 8461 section 5: testing delivers "as though there were no policy"; none has none.
            return;
        }
        self.weakened_by = if inputs.report {
            Some(Weakened::Report)
        } else if inputs.exempt {
            Some(Weakened::Exempt)
        } else if inputs.rule.dangerous_audit {
            Some(Weakened::Audit)
        } else if inputs.tls_required_no && !inputs.requiretls {
            Some(Weakened::TlsRequiredNo)
        } else {
            None
        };
        if self.weakened_by.is_none() {
            self.encrypted = true;
            self.verified = true;
            self.listed_by
                .push(Listing::Policy(Arc::clone(&published.stored)));
        }
    }

    /// Whether anything is demanded that an attacker could make fail before the handshake: then
    /// nothing that happens there may bounce the mail (row E5-10).
    #[must_use]
    pub const fn is_demanding(&self) -> bool {
        self.encrypted
    }

    /// Whether an enforced MTA-STS policy is among the demands.
    #[must_use]
    pub fn enforces_policy(&self) -> bool {
        self.weakened_by.is_none()
            && self
                .demands
                .iter()
                .any(|d| d.source == PolicySource::MtaSts && d.mode == Mode::Enforce.as_str())
    }

    /// Whether the next hop must offer REQUIRETLS.
    #[must_use]
    pub const fn requiretls(&self) -> bool {
        self.requiretls
    }

    /// How a connection for this delivery has to be opened.
    #[must_use]
    pub const fn assurance(&self) -> Assurance {
        match (self.verified, self.encrypted, self.dangerous_plain) {
            (true, _, _) => Assurance::Authenticated,
            (false, true, _) => Assurance::DangerousEncrypted,
            (false, false, false) => Assurance::DangerousOpportunistic,
            (false, false, true) => Assurance::DangerousPlain,
        }
    }

    /// Holds the name of a host against the demands (RFC 8461 section 4.1), before connecting.
    pub fn host(&self, mx: &HostName) -> HostDecision {
        for listing in &self.listed_by {
            let refused = match listing {
                Listing::Policy(stored) => match stored.policy.host(mx) {
                    HostVerdict::Listed { .. } => None,
                    HostVerdict::NotListed => Some(format!(
                        "the policy lists only {}",
                        list(stored.policy.mx())
                    )),
                },
                Listing::Patterns(patterns) => {
                    let listed = patterns.iter().any(|p| p.matches(mx));
                    (!listed).then(|| format!("the local rule lists only {}", list(patterns)))
                }
                Listing::Nobody(PolicySource::RequireTls) => Some(
                    "REQUIRETLS needs an MX name that an enforced policy or DNSSEC vouches for"
                        .to_owned(),
                ),
                Listing::Nobody(_) => {
                    Some("a local rule requires a policy, and the domain publishes none".to_owned())
                }
            };
            if let Some(specifics) = refused {
                let reason = match listing {
                    Listing::Nobody(PolicySource::RequireTls) => Reason::RequireTlsNoTls,
                    _ => Reason::MxNotInPolicy,
                };
                return HostDecision::Refuse { reason, specifics };
            }
        }
        HostDecision::Connect(self.assurance())
    }

    /// Holds a session against the demands: again before every `MAIL FROM`.
    ///
    /// A connection counts for what it was opened for: one that was opened opportunistically
    /// serves no message that needs authentication, whatever certificate it saw.
    pub fn session(&self, mx: &HostName, facts: &SessionFacts) -> SessionDecision {
        if let HostDecision::Refuse { reason, specifics } = self.host(mx) {
            return SessionDecision::Refuse { reason, specifics };
        }
        let refuse = |reason, specifics: &str| SessionDecision::Refuse {
            reason,
            specifics: specifics.to_owned(),
        };
        if self.verified && facts.assurance != Assurance::Authenticated {
            return refuse(
                Reason::CertNotTrusted,
                "the connection was opened without authentication",
            );
        }
        match &facts.tls {
            SeenTls::None(reason) if self.encrypted => {
                return refuse(*reason, "the session has no TLS");
            }
            SeenTls::Unverified(reason) if self.verified => {
                return refuse(*reason, "the certificate is not valid for this host");
            }
            SeenTls::None(_) | SeenTls::Unverified(_) | SeenTls::Verified => {}
        }
        if self.requiretls && !facts.offers_requiretls {
            return refuse(
                Reason::RequireTlsUnsupported,
                "the host does not offer REQUIRETLS",
            );
        }
        SessionDecision::Deliver
    }

    /// What came of each demand, for the record: `last` is the host and session that decided the
    /// attempt, or the reason why there was none.
    #[must_use]
    pub fn results(&self, last: Option<(&HostName, &Evidence)>) -> Vec<PolicyUse> {
        self.demands
            .iter()
            .map(|demand| {
                let (result, reason) = match last {
                    Some((mx, evidence)) => demand.result(mx, evidence, &self.listed_by),
                    None => (PolicyResult::NotEvaluated, None),
                };
                demand.record(result, reason)
            })
            .collect()
    }
}

/// How far an attempt came with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The host was refused by name, or its session showed this.
    Session(SeenTls),
    /// The session was verified, and REQUIRETLS was not offered in it.
    WithoutRequireTls,
    /// Nothing that a policy speaks of was seen: no connection, a lost one.
    Nothing,
}

impl Demand {
    fn result(
        &self,
        mx: &HostName,
        evidence: &Evidence,
        listed_by: &[Listing],
    ) -> (PolicyResult, Option<Reason>) {
        let failed = |reason| (PolicyResult::Failed, Some(reason));
        if self.needs == Needs::Nothing {
            return (PolicyResult::NotEvaluated, None);
        }
        if matches!(self.needs, Needs::ListedAndCertificate | Needs::RequireTls) {
            let listed = match &self.published {
                Some(p) => p.stored.policy.host(mx) != HostVerdict::NotListed,
                None => listed_by.iter().all(|l| match l {
                    Listing::Policy(p) => p.policy.host(mx) != HostVerdict::NotListed,
                    Listing::Patterns(patterns) => patterns.iter().any(|p| p.matches(mx)),
                    Listing::Nobody(_) => false,
                }),
            };
            if !listed && self.needs == Needs::RequireTls {
                return failed(Reason::RequireTlsNoTls);
            }
            if !listed {
                return failed(Reason::MxNotInPolicy);
            }
        }
        match evidence {
            Evidence::Nothing => (PolicyResult::NotEvaluated, None),
            Evidence::WithoutRequireTls if self.needs == Needs::RequireTls => {
                failed(Reason::RequireTlsUnsupported)
            }
            Evidence::WithoutRequireTls => (PolicyResult::Satisfied, None),
            Evidence::Session(SeenTls::None(reason)) => failed(*reason),
            Evidence::Session(SeenTls::Unverified(reason)) if self.needs != Needs::Encryption => {
                failed(*reason)
            }
            Evidence::Session(SeenTls::Unverified(_) | SeenTls::Verified) => {
                (PolicyResult::Satisfied, None)
            }
        }
    }

    fn record(&self, result: PolicyResult, reason: Option<Reason>) -> PolicyUse {
        let p = self.published.as_ref();
        PolicyUse {
            source: self.source,
            mode: self.mode.clone(),
            id: p
                .and_then(|p| p.stored.id.as_ref())
                .map(|id| id.as_str().into()),
            from: p.map(|p| p.from),
            fetched_at: p.map(|p| p.stored.fetched_at),
            expires_at: p.map(|p| p.stored.expires_at),
            first_contact: p.is_some_and(|p| p.first_contact),
            result,
            reason,
        }
    }
}

fn list(patterns: &[MxPattern]) -> String {
    const SHOWN: usize = 5;
    let mut text = patterns
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if patterns.len() > SHOWN {
        text.push_str(" and others");
    }
    text
}

#[cfg(test)]
mod tests;
