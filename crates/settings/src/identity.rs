//! Who may log in, and what each identity may do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mail_types::{Domain, Mailbox, SenderPattern};

use super::build::Built;
use super::keys::Kind;
use super::parse::FromText;
use super::problem::Problem;
use super::reader::{Places, Reader, Scope};
use super::settings::{ListenerRole, ListenerTls, Rate, Settings};

/// The keys of `access` about logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logins {
    /// Users, with their verifiers.
    pub users_file: Option<PathBuf>,
    /// Offers LOGIN.
    pub login: bool,
    /// Of those without senders of their own.
    pub sender_addresses: SenderAddresses,
    /// Of those without a rate of their own; `None`: unlimited.
    pub messages: Option<Rate>,
    /// Of those without a rate of their own; `None`: unlimited.
    pub recipients: Option<Rate>,
    /// Everybody may stand in `access.relay-networks`.
    pub dangerous_open_relay: bool,
}

/// `access.sender-addresses`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderAddresses {
    /// Anybody's.
    Any,
    /// The one that is the identity's name.
    Own,
}

/// One `[[identity]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Distinct.
    pub name: String,
    /// Its client certificates.
    pub certificates: Vec<CertificateMatch>,
    /// As whom it may send; `None`: see [`Logins::sender_addresses`].
    pub senders: Option<Vec<SenderMatch>>,
    /// Inner `None`: unlimited; outer: as all others.
    pub messages: Option<Option<Rate>>,
    /// As above.
    pub recipients: Option<Option<Rate>>,
    /// Octets of a message, below the listener's limit.
    pub max_message_size: Option<u64>,
    /// PLAIN and LOGIN are refused.
    pub scram_only: bool,
    /// Its `AUTH=` is believed.
    pub names_submitters: bool,
}

/// How a client certificate is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateMatch {
    /// SHA-256 of the whole certificate.
    Fingerprint([u8; 32]),
    /// A DNS name in it, in lower case.
    Dns(String),
    /// A mail address in it, its domain in lower case.
    Email(String),
}

/// An address, a domain, or `*.` and a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderMatch(pub String);

impl FromText for SenderAddresses {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        match text {
            "any" => Ok(Self::Any),
            "own" => Ok(Self::Own),
            _ => Err("is neither".into()),
        }
    }
}

impl FromText for CertificateMatch {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        let (kind, value) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "sha256" => fingerprint(value)
                .map(Self::Fingerprint)
                .ok_or_else(|| "has no 64 hexadecimal digits".into()),
            "dns" => match Domain::parse(value) {
                Ok(name) => Ok(Self::Dns(name.as_str().to_owned())),
                Err(error) => Err(format!("has no DNS name: {error}")),
            },
            "email" => match Mailbox::parse(value) {
                Ok(mailbox) => Ok(Self::Email(match mailbox.as_str().rsplit_once('@') {
                    // RFC 5280 section 7.5: the domain is compared in any case, the rest as it is.
                    Some((local, host)) => format!("{local}@{}", host.to_ascii_lowercase()),
                    None => mailbox.as_str().to_owned(),
                })),
                Err(error) => Err(format!("has no mail address: {error}")),
            },
            _ => Err("begins with none of these words".into()),
        }
    }
}

/// Hexadecimal digits of any case, with or without colons, as openssl prints them.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b':').collect();
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let mut octets = [0; 32];
    if digits.len() != 2 * octets.len() {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = pair.iter().try_fold(0, |n, b| Some(n << 4 | digit(*b)?))?;
    }
    Some(octets)
}

impl FromText for SenderMatch {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        // Whoever writes it means them all, and would get one mailbox whose name is a star.
        if text.starts_with("*@") {
            return Err(
                "would be one mailbox named \"*\": write the domain alone for all of its \
                        addresses"
                    .into(),
            );
        }
        match SenderPattern::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err("is no address and no domain".into()),
        }
    }
}

pub(super) fn logins(r: &mut Reader<'_>) -> Option<Logins> {
    let s = r.whole();
    Some(Logins {
        users_file: r.optional(s, "access.users-file"),
        login: r.value(s, "access.auth-login")?,
        sender_addresses: r.value(s, "access.sender-addresses")?,
        messages: r.value_or_word(s, "access.messages-per-identity")?,
        recipients: r.value_or_word(s, "access.recipients-per-identity")?,
        dangerous_open_relay: r.value(s, "access.dangerous-open-relay")?,
    })
}

pub(super) fn identity(r: &mut Reader<'_>, s: Scope<'_>) -> Option<Identity> {
    let name = r.value(s, "name");
    let certificates = r.list(s, "certificates");
    let senders = r.is_given(s, "senders").then(|| r.list(s, "senders"));
    Some(Identity {
        certificates: certificates?,
        senders: match senders {
            Some(senders) => Some(senders?),
            // Asked for all the same, so that the table of keys is seen to be used.
            None => r.list::<SenderMatch>(s, "senders").and(None),
        },
        messages: r.optional_or_word(s, "messages"),
        recipients: r.optional_or_word(s, "recipients"),
        max_message_size: r.optional(s, "max-message-size"),
        scram_only: r.value(s, "scram-only")?,
        names_submitters: r.value(s, "names-submitters")?,
        name: name?,
    })
}

/// What no single key shows.
pub(super) fn check(built: &Built, places: &Places) -> Vec<Problem> {
    let settings = &built.settings;
    let mut problems = Vec::new();
    let has_users = settings.logins.users_file.is_some();
    let mut certificates = settings.identities.iter().map(|i| i.certificates.len());
    let has_certificates = certificates.any(|n| n > 0);
    for (listener, path) in settings.listeners.iter().zip(&built.listeners) {
        let key = format!("{path}.role");
        // A listed proxy says who has logged in with it.
        let may_log_in = has_users
            || !settings.access.xclient_hosts.is_empty()
            || (has_certificates && listener.client_ca.is_some());
        if listener.role == ListenerRole::Submission && !may_log_in {
            let message = "nobody could log in: there are neither users nor client certificates";
            let remedy = "set access.users-file, or name certificates in an [[identity]] and the \
                          listener's client-ca";
            problems.push(Problem::error(
                places.of(&key),
                &key,
                message.into(),
                remedy,
            ));
        }
        let key = format!("{path}.tls");
        if listener.role == ListenerRole::Submission && listener.tls == ListenerTls::Off {
            let message = "without TLS nobody can log in on a submission listener";
            let remedy = "write tls = \"required\" (STARTTLS, port 587) or \"implicit\" (port 465)";
            problems.push(Problem::error(
                places.of(&key),
                &key,
                message.into(),
                remedy,
            ));
        }
    }
    let asks = |l: &super::settings::Listener| l.client_ca.is_some();
    let asked = settings.listeners.iter().any(asks);
    let off = |l: &super::settings::Listener| l.tls == ListenerTls::Off;
    if has_users && settings.listeners.iter().all(off) {
        let key = "access.users-file";
        let message = "has no use: logins need TLS, and no listener has it";
        let remedy = "give a listener a certificate, or remove the key";
        problems.push(Problem::warning(
            places.of(key),
            key,
            message.into(),
            remedy,
        ));
    }
    let mut seen = BTreeMap::new();
    for (identity, path) in settings.identities.iter().zip(&built.identities) {
        // A proxy may name it in XCLIENT.
        let may_be_claimed = !settings.access.xclient_hosts.is_empty();
        if !has_users && !may_be_claimed && identity.certificates.is_empty() {
            let message =
                "nobody can be this identity: it has no certificates, and there are no users";
            let remedy = "set access.users-file, or name its certificates";
            problems.push(Problem::warning(
                places.of(path),
                path,
                message.into(),
                remedy,
            ));
        }
        if !asked && !identity.certificates.is_empty() {
            let key = format!("{path}.certificates");
            let message = "has no use: no listener asks clients for a certificate";
            let remedy = "set a listener's client-ca, or remove the key";
            let place = places.of(&key);
            problems.push(Problem::warning(place, &key, message.into(), remedy));
        }
        for certificate in &identity.certificates {
            if let Some(first) = seen.insert(certificate.clone(), path) {
                let key = format!("{path}.certificates");
                let message = format!("{certificate:?} is already one of {first}");
                let remedy = "give each certificate to one identity";
                problems.push(Problem::error(places.of(&key), &key, message, remedy));
            }
        }
    }
    problems
}

/// What is dangerous about it, in words.
pub(super) fn dangers(settings: &Settings) -> Option<String> {
    settings.logins.dangerous_open_relay.then(|| {
        "access.dangerous-open-relay: everybody may be in access.relay-networks".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::problems;

    fn listener(name: &str, port: u16, lines: &str) -> String {
        format!(
            "[[listener]]\nname = \"{name}\"\naddress = [\"127.0.0.1:{port}\"]\n\
             role = \"submission\"\ncertificate = \"/none/c\"\nprivate-key = \"/none/k\"\n{lines}\n"
        )
    }

    #[test]
    fn g2_10_each_submission_listener_lets_somebody_in() {
        let crm = "[[identity]]\nname = \"crm\"\ncertificates = [\"dns:crm.test\"]\n";
        let asks = "client-ca = \"/none/ca\"";
        let (with, without) = (listener("a", 465, asks), listener("b", 587, ""));
        let nobody = |text: &str| {
            let found = problems(text);
            let of = |l: &&String| l.contains("nobody could log in");
            found.iter().filter(of).cloned().collect::<Vec<_>>()
        };
        let both = nobody(&format!("{with}{without}{crm}"));
        assert!(
            both.len() == 1 && both[0].contains("listener[1].role"),
            "{both:?}"
        );
        assert!(nobody(&format!("{with}{crm}")).is_empty());
        // Logins come by XCLIENT.
        let proxied = "[access]\nxclient-hosts = [\"127.0.0.2\"]\n";
        assert_eq!(nobody(&without).len(), 1);
        assert!(nobody(&format!("{without}{proxied}")).is_empty());
        let found = problems(&format!("{without}{crm}")).join("\n");
        assert!(
            found.contains("identity[0].certificates: has no use"),
            "{found}"
        );
        let found = problems(&format!("{with}{crm}")).join("\n");
        assert!(!found.contains("has no use"), "{found}");
    }

    #[test]
    fn g3_07_a_star_is_no_mailbox() {
        for (text, want) in [
            ("*@d.test", Err("write the domain alone")),
            ("d.test", Ok(())),
            ("*.d.test", Ok(())),
            ("a*@d.test", Ok(())),
            ("a b@d.test", Err("is no address and no domain")),
        ] {
            let parsed = SenderMatch::from_text(text, &Kind::Text);
            match (parsed, want) {
                (Ok(_), Ok(())) => {}
                (Err(said), Err(want)) => assert!(said.contains(want), "{text}: {said}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn g2_10_the_domain_of_an_address_has_no_case() {
        let parsed = CertificateMatch::from_text("email:Ann@Org.TEST", &Kind::Text).unwrap();
        assert_eq!(parsed, CertificateMatch::Email("Ann@org.test".to_owned()));
    }
}
