//! How demands on one delivery add up (pure; decision AMB-33), and how a host is held against them.
//!
//! | demand | from | adds |
//! |---|---|---|
//! | a | `delivery.tls` | `encrypted`: TLS; `verified`: TLS and a certificate valid for the MX name |
//! | b | `[[route]] tls` | `verified`: the same for the next hop's name |
//! | c | `[[domain]]` | `tls` as (a); `mta-sts = "require"`: a valid certificate, and the MX name is listed by the rule's `mx`, by the published policy, or is DNSSEC-secure; `dane = "require"`: a DNSSEC-secure MX name and usable TLSA records |
//! | d | REQUIRETLS (RFC 8689) | a certificate that is valid or that TLSA records accept, the MX name listed by an enforce policy or secure, the extension at the next hop |
//! | e | DANE (RFC 7672), per host | usable TLSA records: a certificate that they accept; unusable ones: TLS; a failed look-up: not this host |
//! | f | MTA-STS enforce (RFC 8461) | a valid certificate and the MX name listed by the policy |
//!
//! Each only adds: "a valid certificate" means PKIX with the MX name, and DANE stands beside it
//! (decision AMB-14), unless `delivery.dane-satisfies-sts` lets it take that part of f.
//! `TLS-Required: No` removes e and f; an exemption and `mta-sts = "dangerous-audit"` remove f;
//! `dane = "dangerous-off"` and `"dangerous-audit"` remove e; nothing removes d. A removed or testing
//! policy is still evaluated and recorded.

use std::borrow::Cow;
use std::sync::Arc;

use attempt::{Case, DemandedBy, NoPolicy, PolicyFrom, PolicySource, Reason, Weakened};
use dane::HostRecords;
use mail_types::HostName;
use mta_sts::{Mode, MxPattern};
use policy_cache::StoredPolicy;

use crate::decide::standing::Standing;

mod listing;
mod result;
mod tlsa;

use self::listing::Listing;
pub use self::result::{Deciding, Evidence};
use self::result::{Demand, Needs};
use self::tlsa::Dane;
pub use self::tlsa::{DaneRule, SeenDane};

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
    /// `dane`.
    pub dane: DaneRule,
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
    pub route_tls: Option<routes::RouteTls>,
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
    /// It is not known what the policy says, and what sets it aside makes waiting for it pointless.
    pub not_waited_for: bool,
    /// The policy in force.
    pub published: Option<Published>,
    /// Nothing was known of the policy domain before the look-up that this rests on.
    pub first_contact: bool,
    /// Why there is no policy, though the domain publishes one or may do so.
    pub no_policy: Option<NoPolicy>,
    /// Some host of the plan has TLSA records, or it is not known whether it has.
    pub dane_published: bool,
    /// `delivery.dane-satisfies-sts`.
    pub dane_satisfies_sts: bool,
}

/// What one delivery requires of the host and of the session: the union of all demands.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// TLS, with any certificate at least.
    encrypted: bool,
    /// A certificate valid for the MX name.
    verified: bool,
    /// The same, because of an enforced policy.
    enforced: bool,
    /// A certificate that is valid for the MX name or that TLSA records accept.
    authenticated: bool,
    /// What becomes of TLSA records.
    dane: Dane,
    /// Each of these must list the MX name.
    listed_by: Vec<Listing>,
    /// The extension must be offered after TLS.
    requiretls: bool,
    /// The route said that there is to be no TLS at all.
    dangerous_plain: bool,
    /// What took a demand away.
    pub weakened_by: Option<Weakened>,
    /// See [`Inputs::first_contact`].
    pub first_contact: bool,
    /// See [`Inputs::no_policy`].
    pub no_policy: Option<NoPolicy>,
    demands: Vec<Demand>,
}

/// How much a connection must prove (the client's posture derives from it, one to one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assurance {
    /// STARTTLS and a certificate valid for the name, or no session.
    Authenticated,
    /// STARTTLS and a certificate that the host's TLSA records accept, or no session.
    Dane,
    /// Both.
    DaneAndAuthenticated,
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
        /// Which of its cases.
        case: Case,
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
        /// Which of its cases.
        case: Case,
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
    /// What the host's TLSA records say of the certificate.
    pub dane: SeenDane,
    /// The records that it was held against.
    pub records: Option<Arc<HostRecords>>,
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
            enforced: false,
            authenticated: false,
            dane: Dane::of(inputs),
            listed_by: Vec::new(),
            requiretls: false,
            dangerous_plain: false,
            weakened_by: None,
            first_contact: inputs.first_contact,
            no_policy: inputs.no_policy.clone(),
            demands: Vec::new(),
        };
        if let Some(tls) = inputs.delivery_tls {
            r.add_local(tls);
            r.demands.iter_mut().for_each(|d| d.general = true);
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
            r.authenticated |= tls == RequiredTls::Verified;
        }
        if inputs.rule.dane == DaneRule::Require {
            r.add(PolicySource::Local, "require-dane", None, Needs::Dane);
        }
        r.add_published(inputs);
        r.weakened_by = r.weakened_by.or_else(|| r.dane.weakened_by(inputs));
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
            general: false,
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

    fn add_route(&mut self, tls: routes::RouteTls) {
        match tls {
            routes::RouteTls::Verified => {
                self.encrypted = true;
                self.verified = true;
                self.add(PolicySource::Route, "verified", None, Needs::Certificate);
            }
            routes::RouteTls::Policy => {}
            routes::RouteTls::DangerousUnverified => {
                self.add(
                    PolicySource::Route,
                    "dangerous-unverified",
                    None,
                    Needs::Nothing,
                );
            }
            routes::RouteTls::DangerousOff => {
                self.dangerous_plain = true;
                self.add(PolicySource::Route, "dangerous-off", None, Needs::Nothing);
            }
        }
    }

    fn add_require(&mut self, inputs: &Inputs) {
        self.encrypted = true;
        self.verified = true;
        // The rule's own patterns, or the published policy whatever its mode, or DNSSEC.
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
            self.listed_by.push(Listing::Dnssec(PolicySource::Local));
        }
        self.add(
            PolicySource::Local,
            "require",
            None,
            Needs::ListedAndCertificate,
        );
    }

    /// RFC 8689 section 4.2.1: the MX name validated by an enforced policy or DNSSEC, a certificate
    /// that PKIX or DANE accepts, the extension at the next hop. Testing does not validate a name
    /// (row D1-07).
    fn add_requiretls(&mut self, inputs: &Inputs) {
        self.encrypted = true;
        self.authenticated = true;
        self.requiretls = true;
        match inputs
            .published
            .as_ref()
            .filter(|p| p.stored.mode() == Mode::Enforce)
        {
            Some(p) => self
                .listed_by
                .push(Listing::PolicyOrDnssec(Arc::clone(&p.stored))),
            // A hop that we were told by name needs no validation of an MX record.
            None if inputs.route_tls.is_some() => {}
            None => self
                .listed_by
                .push(Listing::Dnssec(PolicySource::RequireTls)),
        }
        self.add(PolicySource::RequireTls, "require", None, Needs::RequireTls);
    }

    fn add_published(&mut self, inputs: &Inputs) {
        let Some(published) = &inputs.published else {
            if inputs.not_waited_for {
                self.weakened_by = set_aside(inputs);
            }
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
        self.weakened_by = set_aside(inputs);
        if self.weakened_by.is_none() {
            self.encrypted = true;
            self.enforced = true;
            self.listed_by
                .push(Listing::Policy(Arc::clone(&published.stored)));
        }
    }

    /// Whether anything is demanded that an attacker could make fail before the handshake: then
    /// nothing that happens there may bounce the mail (row E5-10).
    #[must_use]
    pub const fn is_demanding(&self) -> bool {
        self.encrypted || self.dane.is_demanding()
    }

    /// The policy in force, whatever its mode and whether or not it is set aside.
    #[must_use]
    pub fn published(&self) -> Option<&Published> {
        self.demands.iter().find_map(|d| d.published.as_ref())
    }

    /// Whether an enforced MTA-STS policy is among the demands.
    #[must_use]
    pub const fn enforces_policy(&self) -> bool {
        self.enforced
    }

    /// Whose demand it is that a host has not met: the recipient's before the sender's, and these before
    /// our own, since what they ask for is not ours to change.
    #[must_use]
    pub fn demanded_by(&self, reason: Reason, standing: &Standing) -> DemandedBy {
        let by = |source, general| {
            let mut demands = self.demands.iter();
            demands.any(|d| (d.source, d.general) == (source, general) && d.needs.is_of(reason))
        };
        // TLSA records ask for TLS, and for no certificate but theirs.
        let of_records = !reason.is_of_certificate() && self.dane.encrypts(standing);
        match () {
            () if !reason.is_of_tls() => DemandedBy::Recipient,
            () if self.enforced => DemandedBy::Recipient,
            () if of_records => DemandedBy::TlsaRecords,
            () if self.requiretls => DemandedBy::Sender,
            () if by(PolicySource::Local, false) => DemandedBy::Rule,
            () if by(PolicySource::Local, true) => DemandedBy::Default,
            () if by(PolicySource::Route, false) => DemandedBy::Route,
            () => DemandedBy::Recipient,
        }
    }

    /// Whether the next hop must offer REQUIRETLS.
    #[must_use]
    pub const fn requiretls(&self) -> bool {
        self.requiretls
    }

    /// How a connection to this host has to be opened for this delivery.
    #[must_use]
    pub fn assurance(&self, standing: &Standing) -> Assurance {
        let dane = self.dane.authenticates(standing);
        let encrypted = self.encrypted || self.dane.encrypts(standing);
        match (self.needs_pkix(standing), dane) {
            (true, true) => Assurance::DaneAndAuthenticated,
            (true, false) => Assurance::Authenticated,
            (false, true) => Assurance::Dane,
            (false, false) if encrypted => Assurance::DangerousEncrypted,
            (false, false) if self.dangerous_plain => Assurance::DangerousPlain,
            (false, false) => Assurance::DangerousOpportunistic,
        }
    }

    /// The TLSA records that a certificate of this host is held against: none where DANE is set aside,
    /// so that SNI is the MX name there (RFC 8461 section 7.1).
    #[must_use]
    pub fn records<'a>(&self, standing: &'a Standing) -> Option<&'a Arc<HostRecords>> {
        standing.dane.records().filter(|_| self.dane.looks())
    }

    /// Whether a certificate valid for the MX name is demanded of this host. RFC 8461 section 2: DANE
    /// does not stand in for an enforced policy, unless the operator says so (decision AMB-14, row
    /// C4-02); for REQUIRETLS it does (RFC 8689 section 4.2.1).
    fn needs_pkix(&self, standing: &Standing) -> bool {
        let dane = self.dane.authenticates(standing);
        self.verified
            || (self.enforced && !(dane && self.dane.satisfies_sts))
            || (self.authenticated && !dane)
    }

    /// Holds a host against the demands (RFC 8461 section 4.1, RFC 7672 section 2.2), before
    /// connecting.
    pub fn host(&self, mx: &HostName, standing: &Standing) -> HostDecision {
        for listing in &self.listed_by {
            if let Some((reason, case, specifics)) = listing.refuses(mx, standing) {
                return HostDecision::Refuse {
                    reason,
                    case,
                    specifics,
                };
            }
        }
        if let Some((reason, specifics)) = self.dane.refuses(standing) {
            return HostDecision::Refuse {
                reason,
                case: Case::Usual,
                specifics,
            };
        }
        HostDecision::Connect(self.assurance(standing))
    }

    /// Holds a session against the demands: again before every `MAIL FROM`.
    ///
    /// A connection counts for what it was opened for: one that was opened opportunistically
    /// serves no message that needs authentication, whatever certificate it saw.
    pub fn session(
        &self,
        mx: &HostName,
        standing: &Standing,
        facts: &SessionFacts,
    ) -> SessionDecision {
        if let HostDecision::Refuse {
            reason,
            case,
            specifics,
        } = self.host(mx, standing)
        {
            return SessionDecision::Refuse {
                reason,
                case,
                specifics,
            };
        }
        if let Some((reason, specifics)) = self.dane.refuses_session(standing, facts) {
            return SessionDecision::Refuse {
                reason,
                case: Case::Usual,
                specifics,
            };
        }
        let pkix = self.needs_pkix(standing);
        let refuse = |reason, specifics: &str| SessionDecision::Refuse {
            reason,
            case: Case::Usual,
            specifics: specifics.to_owned(),
        };
        if pkix && !facts.assurance.has_pkix() {
            return refuse(
                Reason::CertNotTrusted,
                "the connection was opened without authentication",
            );
        }
        match &facts.tls {
            SeenTls::None(reason) if self.encrypted || self.dane.encrypts(standing) => {
                return refuse(*reason, "the session has no TLS");
            }
            SeenTls::Unverified(reason) if pkix => {
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
}

impl Assurance {
    /// Whether the connection was opened to demand a certificate valid for the MX name.
    const fn has_pkix(self) -> bool {
        match self {
            Self::Authenticated | Self::DaneAndAuthenticated => true,
            Self::Dane
            | Self::DangerousEncrypted
            | Self::DangerousOpportunistic
            | Self::DangerousPlain => false,
        }
    }
}

/// What sets an enforced policy aside.
fn set_aside(inputs: &Inputs) -> Option<Weakened> {
    if inputs.report {
        Some(Weakened::Report)
    } else if inputs.exempt {
        Some(Weakened::Exempt)
    } else if inputs.rule.dangerous_audit {
        Some(Weakened::Audit)
    } else if inputs.tls_required_no && !inputs.requiretls {
        Some(Weakened::TlsRequiredNo)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
