//! Who may log in, and what each identity may do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mail_types::{Domain, Mailbox};

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
    /// A mail address in it.
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
                Ok(mailbox) => Ok(Self::Email(mailbox.as_str().to_owned())),
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
        let valid = if text.contains('@') {
            Mailbox::parse(text).is_ok()
        } else {
            Domain::parse(text.strip_prefix("*.").unwrap_or(text)).is_ok()
        };
        match valid {
            true => Ok(Self(text.to_owned())),
            false => Err("is no address and no domain".into()),
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
        if listener.role == ListenerRole::Submission && !has_users && !has_certificates {
            let message = "nobody could log in: there are neither users nor client certificates";
            let remedy = "set access.users-file, or name certificates in an [[identity]]";
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
