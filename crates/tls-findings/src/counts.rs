//! What is counted for whom.

use mail_types::HostName;
use mta_sts::{HostVerdict, Mode, Policy};
use reasons::Reason;
use smtp_client::{
    Cause, CertificateFailure, DaneVerdict, Judged, SessionError, SessionFacts, StartTls,
    TlsSession,
};
use tls_rpt::ResultType;

/// What one session, or the try at one, showed of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// There is none: not offered, refused, or its handshake failed over something else than the certificate.
    NoTls(Fault),
    /// A certificate.
    Tls {
        /// What PKIX says of it, with the MX name.
        pkix: Checked,
        /// What the TLSA records say of it.
        dane: Checked,
    },
}

/// What was found of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Nobody asked.
    Unasked,
    /// It is good.
    Good,
    /// It is not.
    Bad(Fault),
}

/// What a report says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The result type.
    pub result: ResultType,
    /// The failure-reason-code.
    pub code: Option<Box<str>>,
}

/// What DNS says of a host's TLSA records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records<'a> {
    /// It has none.
    Absent,
    /// It has some that a certificate is held against.
    Usable,
    /// It has some, and none can be used: why not.
    Unusable(&'a str),
    /// That is not known.
    Unknown,
}

/// Whose count it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The policy domain's, for its policy.
    Sts,
    /// The policy domain's, which has none.
    NoPolicy,
    /// The TLSA base domain's.
    Tlsa,
}

/// One count; without a fault a good one.
pub type Count = (About, Option<Fault>);

impl Fault {
    fn new(result: ResultType, code: &str) -> Self {
        Self {
            result,
            code: Some(code.into()),
        }
    }

    /// `None`: no matter of reports.
    fn of_reason(reason: Reason, code: Option<Box<str>>) -> Option<Self> {
        let result = ResultType::from_key(reason.report().result_type()?)?;
        Some(Self { result, code })
    }
}

impl Shown {
    /// By a session that stands; `None` if TLS was not even tried.
    #[must_use]
    pub fn of_session(facts: &SessionFacts) -> Option<Self> {
        let Some(tls) = &facts.tls else {
            let (reason, code) = match &facts.starttls {
                StartTls::NotOffered => (Reason::StarttlsNotOffered, None),
                StartTls::Refused(reply) => {
                    let code = format!("starttls-refused-{}", reply.code());
                    (Reason::StarttlsRefused, Some(code.into()))
                }
                StartTls::Used | StartTls::NotTried => return None,
            };
            return Fault::of_reason(reason, code).map(Self::NoTls);
        };
        Some(Self::of_tls(tls))
    }

    fn of_tls(tls: &TlsSession) -> Self {
        Self::Tls {
            pkix: Checked::pkix(tls.verdict.failure()),
            dane: Checked::dane(&tls.dane),
        }
    }

    /// By one that could not be opened; `None` if that was not over TLS (RFC 8460 section 4.3.4: what the network
    /// does for a moment is not reported).
    #[must_use]
    pub fn of_error(error: &SessionError) -> Option<Self> {
        if let Some(judged) = error.judged.as_deref() {
            return Some(Self::of_judged(judged));
        }
        match &error.cause {
            Cause::Certificate(failure) => Some(Self::Tls {
                pkix: Checked::pkix(Some(failure)),
                dane: Checked::Unasked,
            }),
            Cause::Dane(failure) => Some(Self::Tls {
                pkix: Checked::Unasked,
                dane: Checked::of(failure.reason(), failure.code()),
            }),
            cause => {
                let is_of_tls = cause.reason().is_of_tls();
                let fault = Fault::of_reason(cause.reason(), cause.report_code());
                let fault = fault.filter(|_| is_of_tls).map(Self::NoTls);
                // What ended the session came after TLS.
                fault.or_else(|| error.tls.as_deref().map(Self::of_tls))
            }
        }
    }

    fn of_judged(judged: &Judged) -> Self {
        Self::Tls {
            pkix: Checked::pkix(judged.certificate.as_ref().err().map(|f| &**f)),
            dane: Checked::dane(&judged.dane),
        }
    }
}

impl Checked {
    fn pkix(failure: Option<&CertificateFailure>) -> Self {
        failure.map_or(Self::Good, |f| Self::of(f.reason(), f.code()))
    }

    pub(crate) fn dane(verdict: &DaneVerdict) -> Self {
        match (verdict.would_match(), verdict.failure()) {
            (Some(_), _) => Self::Good,
            (None, Some(failure)) => Self::of(failure.reason(), failure.code()),
            (None, None) => Self::Unasked,
        }
    }

    fn of(reason: Reason, code: &str) -> Self {
        Fault::of_reason(reason, Some(code.into())).map_or(Self::Unasked, Self::Bad)
    }

    fn count(&self, about: About) -> Option<Count> {
        match self {
            Self::Unasked => None,
            Self::Good => Some((about, None)),
            Self::Bad(fault) => Some((about, Some(fault.clone()))),
        }
    }
}

/// What a session counts as: for the policy domain, and for the TLSA base domain.
pub fn counts(
    policy: Option<&Policy>,
    mx: &HostName,
    records: Records<'_>,
    shown: &Shown,
) -> impl Iterator<Item = Count> {
    let of_domain = match reported(policy) {
        Some(policy) => match (policy.host(mx), shown) {
            (HostVerdict::NotListed, _) => Some((About::Sts, Some(not_listed()))),
            (HostVerdict::Listed { .. }, Shown::NoTls(fault)) => {
                Some((About::Sts, Some(fault.clone())))
            }
            (HostVerdict::Listed { .. }, Shown::Tls { pkix, .. }) => pkix.count(About::Sts),
        },
        None if records != Records::Absent => None,
        None => Some(match shown {
            Shown::NoTls(fault) => (About::NoPolicy, Some(fault.clone())),
            Shown::Tls { .. } => (About::NoPolicy, None),
        }),
    };
    let of_records = match (records, shown) {
        (Records::Absent | Records::Unknown, _) => None,
        (Records::Usable | Records::Unusable(_), Shown::NoTls(fault)) => {
            Some((About::Tlsa, Some(fault.clone())))
        }
        (Records::Usable, Shown::Tls { dane, .. }) => dane.count(About::Tlsa),
        (Records::Unusable(why), Shown::Tls { .. }) => {
            Some((About::Tlsa, Some(Fault::new(ResultType::TlsaInvalid, why))))
        }
    };
    of_domain.into_iter().chain(of_records)
}

/// What a host counts as that was left out for this reason without having been asked.
#[must_use]
pub fn overlooked(
    policy: Option<&Policy>,
    mx: &HostName,
    records: Records<'_>,
    reason: Reason,
) -> Option<Count> {
    match reason {
        Reason::MxNotInPolicy => {
            let listed = matches!(reported(policy)?.host(mx), HostVerdict::Listed { .. });
            (!listed).then(|| (About::Sts, Some(not_listed())))
        }
        Reason::DaneUnusable => {
            let Records::Unusable(why) = records else {
                return None;
            };
            Some((About::Tlsa, Some(Fault::new(ResultType::TlsaInvalid, why))))
        }
        Reason::DaneLookup => Fault::of_reason(reason, Some("tlsa-lookup".into()))
            .map(|fault| (About::Tlsa, Some(fault))),
        Reason::DaneRequired => {
            Fault::of_reason(reason, None).map(|fault| (About::Tlsa, Some(fault)))
        }
        // Nothing else is said of a host before it is asked.
        _ => None,
    }
}

/// The policy as reports know it. Decision AMB-20: of mode none there is nothing to report.
#[must_use]
pub fn reported(policy: Option<&Policy>) -> Option<&Policy> {
    policy.filter(|policy| match policy.mode() {
        Mode::Enforce | Mode::Testing => true,
        Mode::None => false,
    })
}

fn not_listed() -> Fault {
    Fault::new(ResultType::ValidationFailure, "sts-mx-mismatch")
}
