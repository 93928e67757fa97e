//! What became of one recipient in one attempt (pure).

use std::net::IpAddr;
use std::sync::Arc;

use attempt::{Case, Facts, Reason, TlsSession};
use mail_types::{EnhancedStatus, HostName};
use smtp_client::stage_words;
use smtp_proto::{Reply, Stage};

use crate::decide::demand::{Deciding, Evidence, Requirement, SeenDane};
use crate::decide::failure::HostFailure;
use crate::decide::literal::shown;
use crate::decide::replies;
use crate::decide::standing::Standing;

/// What became of one recipient.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The peer has taken it.
    Sent {
        /// Its last reply.
        reply: Arc<str>,
        /// The status in it.
        status: EnhancedStatus,
        /// The peer speaks DSN and takes over the duty of NOTIFY=SUCCESS.
        dsn: bool,
    },
    /// Not this time.
    Deferred(Arc<Failure>),
    /// Not at all.
    Bounced(Arc<Failure>),
    /// Not before an operator has looked: the message fails us (row H7-08).
    Parked(Arc<Failure>),
}

/// Why a recipient did not get the message.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) case: Case,
    pub(crate) status: EnhancedStatus,
    pub(crate) reply: Option<String>,
    /// What that answered.
    pub(crate) stage: Option<Stage>,
    pub(crate) detail: String,
}

/// The host that decided: what the record names as `mx`, `ip`, `tls`.
#[derive(Clone, Debug)]
pub(crate) struct Decider {
    pub(crate) mx: HostName,
    /// As people know it: a hop given as an address is shown as that.
    pub(crate) shown: String,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) tls: Option<Arc<TlsSession>>,
    pub(crate) evidence: Evidence,
    pub(crate) dane: SeenDane,
    pub(crate) standing: Standing,
}

impl Decider {
    /// What demands are held against for the record.
    pub(crate) const fn deciding(&self) -> Deciding<'_> {
        Deciding {
            mx: &self.mx,
            standing: &self.standing,
            evidence: &self.evidence,
            dane: self.dane,
        }
    }
}

impl Failure {
    pub(crate) fn new(reason: Reason, detail: String) -> Self {
        Self {
            reason,
            case: Case::Usual,
            status: reason.status(),
            reply: None,
            stage: None,
            detail,
        }
    }

    /// What DNS says of the recipients' domain; `specifics` is a phrase.
    pub(crate) fn of_domain((reason, case): (Reason, Case), domain: &str, specifics: &str) -> Self {
        let facts = Facts {
            domain,
            specifics: Some(specifics),
            case,
            ..Facts::default()
        };
        Self {
            case,
            ..Self::new(reason, reason.sentence(&facts))
        }
    }

    /// As the last word on a message. RFC 8689 section 4.2.1: REQUIRETLS that met no verified TLS
    /// is told as 5.7.10, whatever it was that failed (row D1-11).
    pub(crate) fn for_good(self, domain: &str, requirement: &Requirement) -> Self {
        let told = [Reason::RequireTlsUnsupported, Reason::RequireTlsNoTls];
        let of_policy = self.reason.status().subject() == SECURITY;
        if !requirement.requiretls() || told.contains(&self.reason) || !of_policy {
            return self;
        }
        let reason = Reason::RequireTlsNoTls;
        let facts = Facts {
            domain,
            specifics: Some(self.detail.trim_end_matches('.')),
            ..Facts::default()
        };
        Self {
            reason,
            case: self.case,
            status: reason.status(),
            reply: self.reply,
            stage: self.stage,
            detail: reason.sentence(&facts),
        }
    }

    /// A 5yz that is not the last word: some host was not asked, or what is demanded was not met when
    /// it came (row E5-10).
    pub(crate) fn is_not_final(&mut self, about: &Facts<'_>, unasked: usize) {
        let why = match unasked {
            0 => "nothing vouches for that answer, and secure delivery is demanded".to_owned(),
            1 => "another host could not be asked".to_owned(),
            n => format!("{n} other hosts could not be asked"),
        };
        // What the reply says of us, or of the host as a whole, is so whatever others say.
        if !matches!(
            self.case,
            Case::Usual | Case::BadAddress | Case::MailboxFull | Case::Mailbox | Case::TooBig
        ) {
            self.detail = format!("{}; {why}.", self.detail.trim_end_matches('.'));
            return;
        }
        self.case = Case::NotFinal;
        let said = self.reply.as_deref().unwrap_or("a 5yz");
        let specifics = format!("{said}; {why}");
        self.detail = self.reason.sentence(&Facts {
            specifics: Some(&specifics),
            case: self.case,
            ..*about
        });
    }

    /// A recipient that the peer refused, or the message as a whole.
    pub(crate) fn refused(domain: &str, mx: &HostName, stage: Stage, reply: &Reply) -> Self {
        let permanent = reply.code() / 100 == 5;
        let reason = if permanent {
            Reason::Remote5xx
        } else {
            Reason::Remote4xx
        };
        let specifics = format!("{reply} ({})", stage_words(stage));
        let case = replies::case(stage, reply);
        let facts = Facts {
            case,
            domain,
            mx: Some(mx.as_str()),
            specifics: Some(&specifics),
            ..Facts::default()
        };
        Self {
            reason,
            case,
            status: status_of(reply).unwrap_or_else(|| reason.status()),
            reply: Some(reply.to_string()),
            stage: Some(stage),
            detail: reason.sentence(&facts),
        }
    }
}

/// The reply's status. A bare 556 says that the recipient's domain takes no mail (RFC 7504 section 4,
/// RFC 7505 section 4.2: "recipient address has null MX").
fn status_of(reply: &Reply) -> Option<EnhancedStatus> {
    let null_mx = reply.code() == 556 && reply.enhanced().is_none();
    null_mx
        .then(|| EnhancedStatus::permanent(1, 10))
        .or_else(|| reply.status())
}

impl From<&HostFailure> for Failure {
    fn from(f: &HostFailure) -> Self {
        Self {
            reason: f.reason,
            case: f.case,
            status: f.status,
            reply: f.reply.clone(),
            stage: f.stage,
            detail: f.detail.clone(),
        }
    }
}

impl From<&HostFailure> for Decider {
    fn from(f: &HostFailure) -> Self {
        Self {
            mx: f.mx.clone(),
            shown: shown(&f.mx, f.ip),
            ip: f.ip,
            port: f.port,
            tls: f.tls.clone(),
            evidence: f.evidence.clone(),
            dane: f.dane,
            standing: f.standing.clone(),
        }
    }
}

/// Enhanced status X.7.Z: security or policy (RFC 3463 section 3.8).
const SECURITY: u16 = 7;
