//! Everything that can be wrong with a mail exchanger's TLS, and what is said of it.

use testkit::{FakeMx, RecordType, StartTls, TestCa};

use crate::net::Net;

/// What is wrong with a mail exchanger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Expired,
    NotYetValid,
    WrongName,
    SelfSigned,
    UntrustedAuthority,
    MissingIntermediate,
    NoStartTls,
    StartTls454,
    Injection,
    ResetInHandshake,
    Garbage,
    NotInPolicy,
    /// A server of TLS 1.0 and nothing later.
    OldTls,
    /// Neither the 220 that a handshake follows nor a refusal.
    StartTls250,
}

impl Fault {
    pub(crate) const ALL: [Self; 14] = [
        Self::Expired,
        Self::NotYetValid,
        Self::WrongName,
        Self::SelfSigned,
        Self::UntrustedAuthority,
        Self::MissingIntermediate,
        Self::NoStartTls,
        Self::StartTls454,
        Self::Injection,
        Self::ResetInHandshake,
        Self::Garbage,
        Self::NotInPolicy,
        Self::OldTls,
        Self::StartTls250,
    ];

    /// The reason key and the status of its deferral.
    pub(crate) fn told_as(self) -> (&'static str, &'static str) {
        match self {
            Self::Expired => ("cert-expired", "4.7.5"),
            Self::WrongName => ("cert-host-mismatch", "4.7.5"),
            Self::NotYetValid
            | Self::SelfSigned
            | Self::UntrustedAuthority
            | Self::MissingIntermediate => ("cert-not-trusted", "4.7.5"),
            Self::NoStartTls => ("starttls-not-offered", "4.7.10"),
            Self::StartTls454 | Self::StartTls250 => ("starttls-refused", "4.7.10"),
            Self::Injection => ("starttls-injection", "4.7.5"),
            Self::ResetInHandshake | Self::Garbage | Self::OldTls => ("tls-handshake", "4.7.5"),
            Self::NotInPolicy => ("mx-not-in-policy", "4.7.1"),
        }
    }

    /// Whether a TLS session comes of it all the same.
    pub(crate) fn leaves_tls(self) -> bool {
        self.is_of_certificate() || self == Self::NotInPolicy
    }

    /// Whether the certificate is what is wrong.
    pub(crate) fn is_of_certificate(self) -> bool {
        matches!(
            self,
            Self::Expired
                | Self::NotYetValid
                | Self::WrongName
                | Self::SelfSigned
                | Self::UntrustedAuthority
                | Self::MissingIntermediate
        )
    }

    /// Its own recipient domain in a test of all faults.
    pub(crate) fn domain(self) -> String {
        format!("d{}.test", self as u8)
    }

    /// Starts `mx.DOMAIN`, the domain's only mail exchanger, with this fault.
    pub(crate) async fn start(self, net: &Net) -> FakeMx {
        let domain = self.domain();
        let mx = net
            .mx(&domain, &format!("127.0.1.{}", self as u8 + 1))
            .await;
        let name = format!("mx.{domain}");
        let cert = || net.ca.cert(&[&name]);
        match self {
            Self::Expired => mx.certificate(&cert().expired().issue()),
            Self::NotYetValid => mx.certificate(&cert().not_yet_valid().issue()),
            Self::WrongName => mx.certificate(&net.ca.leaf(&["www.other.test", &domain])),
            Self::SelfSigned => mx.certificate(&cert().self_signed().issue()),
            Self::UntrustedAuthority => mx.certificate(&TestCa::new().leaf(&[&name])),
            Self::MissingIntermediate => mx.certificate(&cert().missing_intermediate().issue()),
            Self::NoStartTls => mx.script(|s| s.starttls = StartTls::Off),
            Self::StartTls454 => mx.script(|s| {
                s.starttls = StartTls::Refuse("454 4.7.0 TLS is not available".to_owned());
            }),
            Self::StartTls250 => mx.script(|s| {
                s.starttls = StartTls::Refuse("250 2.0.0 OK".to_owned());
            }),
            Self::Injection => mx.script(|s| {
                s.starttls = StartTls::Inject(b"250 2.0.0 injected\r\n".to_vec());
            }),
            Self::ResetInHandshake => mx.script(|s| s.starttls = StartTls::ResetInHandshake),
            Self::Garbage => mx.script(|s| s.starttls = StartTls::Garbage),
            Self::OldTls => mx.script(|s| s.starttls = StartTls::Answer(OLD_TLS_ALERT.to_vec())),
            Self::NotInPolicy => {
                net.zone.remove(&domain, RecordType::MX);
                let other = format!("other.{domain}");
                net.zone
                    .mail_domain(&domain, &other, &mx.address().ip().to_string());
                mx.certificate(&net.ca.leaf(&[&other]))
            }
        };
        mx
    }

    /// The domain's administrator puts it right. What stands in DNS takes its TTL to be seen, so a
    /// host that is not listed becomes one by a change of the policy, under the id 2.
    pub(crate) fn mend(self, net: &Net, mx: &FakeMx) {
        let domain = self.domain();
        if self == Self::NotInPolicy {
            net.enforce_for(&domain, &[&format!("other.{domain}")]);
            net.zone.mta_sts(&domain, "2", crate::net::POLICY_HOST);
        } else {
            mx.behave();
            mx.certificate(&net.ca.leaf(&[&format!("mx.{domain}")]));
        }
    }
}

/// What a server of TLS 1.0 answers to a client that speaks 1.2 at least: a fatal alert,
/// `protocol_version` (RFC 2246 section 7.2).
const OLD_TLS_ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];
