//! What one host's failure means. What those of all hosts together mean: [`conclusion`](super::conclusion).
//!
//! Nothing that can be forged before a verified handshake bounces mail that has demands on it
//! (row E5-10): such failures only make a host unreachable.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use attempt::{Case, Facts, Reason, Tried};
use mail_types::{EnhancedStatus, HostName, StatusClass};
use smtp_client::{Cause, awaited, stage_words, wants_tls};
use smtp_proto::{MissingExtension, Stage};

use crate::decide::case;
use crate::decide::demand::{Evidence, SeenDane, SeenTls};
use crate::decide::literal::shown;
use crate::decide::standing::Standing;
use crate::decide::verdict::{Failure, Verdict};

/// Why one candidate did not take the mail.
#[derive(Clone, Debug)]
pub struct HostFailure {
    /// The candidate.
    pub mx: HostName,
    /// The address tried, if it came to that.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// The reason key.
    pub reason: Reason,
    /// Which of the reason's cases it is.
    pub case: Case,
    /// The enhanced status for this failure.
    pub status: EnhancedStatus,
    /// The peer's reply, if it gave one.
    pub reply: Option<String>,
    /// What that answered.
    pub stage: Option<Stage>,
    /// One sentence.
    pub detail: String,
    /// What the failure is worth.
    pub weight: Weight,
    /// What it shows of the host with regard to policies.
    pub evidence: Evidence,
    /// What the host's TLSA records said of its certificate.
    pub dane: SeenDane,
    /// What DNS says of the host.
    pub standing: Standing,
    /// The TLS session, if there was one.
    pub tls: Option<Arc<attempt::TlsSession>>,
}

/// What a host's failure is worth when all hosts have failed. Later ones outweigh earlier ones:
/// what a host that was reached said tells more than that another one was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It could not be reached, or not kept.
    Unreachable,
    /// It was reached or judged, and does not fit what is demanded.
    Unfit,
    /// It said 4yz.
    Transient,
    /// It said 5yz to us as a whole (banner, EHLO, MAIL).
    Permanent,
    /// The message needs an extension that it does not have.
    Missing,
}

impl Weight {
    /// What it is worth that a host does not meet a demand, by the reason.
    #[must_use]
    pub const fn of_refusal(reason: Reason) -> Self {
        match reason {
            Reason::StarttlsNotOffered
            | Reason::StarttlsRefused
            | Reason::StarttlsInjection
            | Reason::TlsHandshake
            | Reason::CertExpired
            | Reason::CertHostMismatch
            | Reason::CertNotTrusted
            | Reason::MxNotInPolicy
            | Reason::DaneMismatch
            | Reason::DaneUnusable
            | Reason::DaneRequired
            | Reason::RequireTlsNoTls => Self::Unfit,
            Reason::RequireTlsUnsupported | Reason::ExtensionMissing => Self::Missing,
            // RFC 7672 section 2.1.1: a host whose TLSA records cannot be looked up counts as unreachable.
            Reason::DaneLookup
            // Of these none is a matter of what is demanded.
            | Reason::TlsRequiredByPeer
            | Reason::RouteAuth
            | Reason::PolicyLookup
            | Reason::DnsTemporary
            | Reason::DnsBogus
            | Reason::Connect
            | Reason::ConnectionLost
            | Reason::Timeout
            | Reason::AddressRefused
            | Reason::Remote4xx
            | Reason::Remote5xx
            | Reason::NoSuchDomain
            | Reason::NullMx
            | Reason::NoUsableMx
            | Reason::Loop
            | Reason::DestinationSuspended
            | Reason::Parked
            | Reason::Local
            => Self::Unreachable,
        }
    }
}

impl HostFailure {
    /// A candidate that is not connected to, since it does not meet what is demanded.
    #[must_use]
    pub fn passed_over(
        mx: &HostName,
        ip: Option<IpAddr>,
        port: u16,
        reason: Reason,
        detail: String,
    ) -> Self {
        let weight = Weight::of_refusal(reason);
        Self::new(mx, ip, port, (reason, weight), detail)
    }

    /// A candidate that could not be reached, or was not tried.
    #[must_use]
    pub fn unreachable(
        mx: &HostName,
        ip: Option<IpAddr>,
        port: u16,
        reason: Reason,
        detail: String,
    ) -> Self {
        Self::new(mx, ip, port, (reason, Weight::Unreachable), detail)
    }

    /// A session that does not meet what is demanded, by what was seen of its TLS.
    #[must_use]
    pub fn unfit(
        mx: &HostName,
        at: SocketAddr,
        reason: Reason,
        detail: String,
        seen: SeenTls,
    ) -> Self {
        let evidence = match reason {
            Reason::RequireTlsUnsupported => Evidence::WithoutRequireTls,
            _ => Evidence::Session(seen),
        };
        Self {
            evidence,
            ..Self::passed_over(mx, Some(at.ip()), at.port(), reason, detail)
        }
    }

    fn new(
        mx: &HostName,
        ip: Option<IpAddr>,
        port: u16,
        (reason, weight): (Reason, Weight),
        detail: String,
    ) -> Self {
        Self {
            mx: mx.clone(),
            ip,
            port,
            reason,
            case: Case::Usual,
            status: reason.status(),
            reply: None,
            stage: None,
            detail,
            weight,
            evidence: Evidence::Nothing,
            dane: SeenDane::Nothing,
            standing: Standing::default(),
            tls: None,
        }
    }

    /// From the client's words; `about` says who the recipients' domain is and who demands.
    #[must_use]
    pub fn from_cause(
        about: &Facts<'_>,
        mx: &HostName,
        ip: IpAddr,
        port: u16,
        stage: Stage,
        cause: &Cause,
    ) -> Self {
        let mut reason = cause.reason();
        let reply = cause.reply();
        if reply.is_some_and(wants_tls) && reason == Reason::Remote5xx {
            reason = Reason::TlsRequiredByPeer;
        }
        let status = match (reason, cause) {
            (Reason::Remote4xx | Reason::Remote5xx, _) => reply
                .and_then(smtp_proto::Reply::status)
                .unwrap_or_else(|| reason.status()),
            (_, Cause::Missing(missing)) => missing_status(*missing),
            (_, Cause::Configured(_)) => EnhancedStatus::transient(3, 5),
            _ => reason.status(),
        };
        let specifics = match cause {
            Cause::Timeout(_) => {
                let words = cause.to_string();
                words.replacen("answer", awaited(stage), 1)
            }
            Cause::Lost(_) | Cause::Remote(_) | Cause::Protocol(_) | Cause::Auth(_) => {
                format!("{} ({})", cause.specifics(), stage_words(stage))
            }
            // They have a step of their own, or none: what it takes was known from EHLO.
            Cause::Connect(_)
            | Cause::StartTlsNotOffered(_)
            | Cause::StartTlsRefused(_)
            | Cause::StartTlsInjection
            | Cause::Handshake(_)
            | Cause::Certificate(_)
            | Cause::Dane(_)
            | Cause::Missing(_)
            | Cause::Local(_)
            | Cause::Configured(_) => cause.specifics(),
        };
        let mx_shown = shown(mx, Some(ip));
        let case = case::of(stage, cause);
        let facts = Facts {
            mx: Some(&mx_shown),
            specifics: Some(&specifics),
            case,
            ..*about
        };
        Self {
            mx: mx.clone(),
            ip: Some(ip),
            port,
            reason,
            case,
            status,
            reply: reply.map(ToString::to_string),
            stage: Some(stage),
            detail: reason.sentence(&facts),
            weight: weigh(cause),
            evidence: evidence(reason, cause),
            dane: SeenDane::Nothing,
            standing: Standing::default(),
            tls: None,
        }
    }

    /// That TLS is demanded of us which we do not have, by what became of it.
    pub(crate) fn without_tls(&mut self, about: &Facts<'_>, unmet: Case) {
        let mx_shown = shown(&self.mx, self.ip);
        self.case = unmet;
        self.detail = self.reason.sentence(&Facts {
            mx: Some(&mx_shown),
            specifics: self.reply.as_deref(),
            case: unmet,
            ..*about
        });
    }

    /// The verdict on a recipient that this host alone decided: not this time.
    pub(crate) fn deferred(&self) -> Verdict {
        Verdict::Deferred(Arc::new(Failure::from(self)))
    }

    /// For the record.
    #[must_use]
    pub fn tried(&self) -> Tried {
        Tried {
            mx: shown(&self.mx, self.ip).into(),
            ip: self.ip,
            reason: Some(self.reason),
            case: self.case,
            detail: self.detail.as_str().into(),
        }
    }
}

impl HostFailure {
    /// It is a demand that keeps the host out. A failed TLSA look-up does so only because DANE is in force.
    pub(crate) fn is_kept_out(&self) -> bool {
        self.weight == Weight::Unfit || self.reason == Reason::DaneLookup
    }

    /// A host that nobody has asked, since the policy or our rule leaves it out: what those met that were asked
    /// is what keeps the mail.
    pub(crate) fn is_passed_over(&self) -> bool {
        matches!(self.reason, Reason::MxNotInPolicy | Reason::DaneRequired)
            && matches!(self.evidence, Evidence::Nothing)
    }
}

/// The status to report when mail waits although a host said 5yz: it is not the peer's last word
/// then, so its class is made transient (row E5-10).
#[must_use]
pub const fn as_transient(status: EnhancedStatus) -> EnhancedStatus {
    match status.class() {
        StatusClass::Permanent => status.with_class(StatusClass::Transient),
        StatusClass::Success | StatusClass::Transient => status,
    }
}

fn weigh(cause: &Cause) -> Weight {
    match cause {
        Cause::Connect(_)
        | Cause::Lost(_)
        | Cause::Timeout(_)
        | Cause::Protocol(_)
        | Cause::Local(_)
        | Cause::Configured(_) => Weight::Unreachable,
        Cause::StartTlsNotOffered(_)
        | Cause::StartTlsRefused(_)
        | Cause::StartTlsInjection
        | Cause::Handshake(_)
        | Cause::Certificate(_)
        | Cause::Dane(_) => Weight::Unfit,
        // Wrong credentials are ours to put right: never a reason to bounce.
        Cause::Auth(_) => Weight::Transient,
        Cause::Remote(reply) if reply.code() / 100 == 5 => Weight::Permanent,
        Cause::Remote(_) => Weight::Transient,
        Cause::Missing(_) => Weight::Missing,
    }
}

fn evidence(reason: Reason, cause: &Cause) -> Evidence {
    match cause {
        Cause::StartTlsNotOffered(_)
        | Cause::StartTlsRefused(_)
        | Cause::StartTlsInjection
        | Cause::Handshake(_) => Evidence::Session(SeenTls::None(reason)),
        Cause::Certificate(_) | Cause::Dane(_) => Evidence::Session(SeenTls::Unverified(reason)),
        Cause::Connect(_)
        | Cause::Lost(_)
        | Cause::Timeout(_)
        | Cause::Remote(_)
        | Cause::Protocol(_)
        | Cause::Auth(_)
        | Cause::Missing(_)
        | Cause::Local(_)
        | Cause::Configured(_) => Evidence::Nothing,
    }
}

const fn missing_status(missing: MissingExtension) -> EnhancedStatus {
    match missing {
        MissingExtension::EightBitMime => EnhancedStatus::permanent(6, 3),
        MissingExtension::SmtpUtf8 => EnhancedStatus::permanent(6, 7),
        MissingExtension::Size { .. } => EnhancedStatus::permanent(3, 4),
        MissingExtension::RequireTls => EnhancedStatus::permanent(7, 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp_client::SocketFault;
    use std::time::Duration;

    /// Each step has words of its own, and nothing is said twice.
    #[test]
    fn what_was_waited_for_is_named_with_the_time() {
        let about = Facts {
            domain: "d.test",
            ..Facts::default()
        };
        let mx = HostName::parse("mx.d.test").unwrap();
        let ip = "192.0.2.1".parse().unwrap();
        let told =
            |stage, cause| HostFailure::from_cause(&about, &mx, ip, 25, stage, &cause).detail;
        let five = Duration::from_secs(300);
        for (stage, words) in [
            (Stage::Rcpt, "no answer to RCPT TO within 5 min"),
            (Stage::Banner, "no greeting within 5 min"),
            (Stage::Dot, "no answer to the end of the data within 5 min"),
        ] {
            assert_eq!(
                told(stage, Cause::Timeout(five)),
                format!("mx.d.test took too long to answer: {words}.")
            );
        }
        let lost = Cause::Lost(SocketFault {
            kind: std::io::ErrorKind::UnexpectedEof,
            text: "the host closed the connection".into(),
        });
        assert_eq!(
            told(Stage::Rcpt, lost),
            "The connection to mx.d.test was lost in mid-session: the host closed the connection (in answer to \
             RCPT TO)."
        );
    }

    /// What comes of a demand that is not met, as a refusal of a host or a session and in the client's words.
    #[test]
    fn e5_10_each_reason_is_worth_the_same_wherever_it_is_found() {
        use smtp_proto::Reply;
        let mx = HostName::parse("mx1.d.test").unwrap();
        let at = "192.0.2.1:25".parse().unwrap();
        for reason in Reason::ALL {
            let weight = Weight::of_refusal(reason);
            let told = || String::new();
            let passed_over = HostFailure::passed_over(&mx, None, 25, reason, told());
            let unfit = HostFailure::unfit(&mx, at, reason, told(), SeenTls::None(reason));
            assert_eq!((passed_over.weight, unfit.weight), (weight, weight));
            if reason.is_of_tls() {
                assert_eq!(weight, Weight::Unfit, "{reason:?}");
            }
            let down = HostFailure::unreachable(&mx, None, 25, reason, told());
            assert_eq!(down.weight, Weight::Unreachable);
        }
        let refused = Reply::parse("454 no").unwrap();
        for cause in [
            Cause::StartTlsNotOffered("HELP".into()),
            Cause::StartTlsRefused(refused),
            Cause::StartTlsInjection,
            Cause::Handshake(smtp_client::HandshakeFault::Eof),
            Cause::Missing(MissingExtension::RequireTls),
            Cause::Missing(MissingExtension::SmtpUtf8),
        ] {
            let reason = cause.reason();
            assert_eq!(weigh(&cause), Weight::of_refusal(reason), "{cause}");
        }
    }
}
