//! The users behind the listeners' logins.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use data_encoding::BASE64_NOPAD;
use mail_types::{SenderPattern, Senders};
use policy_cache::Clock;
use settings::{CertificateMatch, SenderAddresses, Settings};
use smtp_server::{
    AllowedRate, Authenticator, Identities, IdentityRules, LoginAttempt, LoginVerdict, Server,
    prepared_name,
};
use users::{Attempt, Directory, Secret, UsersFile, Verdict};

use super::open;
use crate::exit::Status;

/// What the listeners ask: the directory of users.
pub(crate) struct Logins {
    directory: Directory,
    data_dir: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Logins {
    /// Reads the users, if there is a file of them.
    ///
    /// # Errors
    /// The file, or the secret in the data directory, cannot be used.
    pub(crate) fn open(s: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(file) = &s.logins.users_file else {
            return Ok(None);
        };
        let users = UsersFile::read(file)
            .map_err(|e| open::fail(Status::Configuration, &format!("access.users-file: {e}")))?;
        let secret =
            Secret::open(&s.server.data_dir).map_err(|e| open::fail(Status::CannotCreate, &e))?;
        // Half of the cores: guesses must not keep us from delivering.
        let cores = available_parallelism().map_or(1, usize::from);
        let directory = Directory::new(users, &secret, (cores / 2).clamp(1, MOST_AT_ONCE))?;
        directory.recall(&s.server.data_dir, clock.wall().as_secs());
        Ok(Some(Arc::new(Self {
            directory,
            data_dir: s.server.data_dir.clone(),
            clock: Arc::clone(clock),
        })))
    }

    /// Writes down now and then who is known; never for a login.
    pub(crate) async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(KEEP).await;
            Arc::clone(&self).write_down().await;
        }
    }

    /// For the next process, if there is anything new.
    pub(crate) async fn write_down(self: Arc<Self>) {
        let write = move || {
            let wall = self.clock.wall().as_secs();
            self.directory.write_down(&self.data_dir, wall)
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            tracing::debug!(%error, "who has logged in could not be written down");
        }
    }

    /// Puts other users in force.
    pub(crate) fn replace(&self, users: UsersFile) {
        self.directory.replace(users);
    }
}

/// A server that asks them, if anybody can log in.
pub(super) fn with_logins(
    server: Server,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<(Option<Arc<Logins>>, Server)> {
    let logins = Logins::open(settings, clock)?;
    let server = match &logins {
        Some(logins) => server.authenticated_by(Arc::clone(logins) as _),
        None => server,
    };
    Ok((logins, server))
}

/// Reads the users, for a reload.
///
/// # Errors
/// The file cannot be used.
pub(super) fn read(s: &Settings) -> Result<Option<UsersFile>, String> {
    let file = s.logins.users_file.as_deref();
    let read = file.map(UsersFile::read).transpose();
    read.map_err(|e| format!("access.users-file: {e}"))
}

impl Authenticator for Logins {
    fn scram(&self, user: &str) -> (smtp_server::ScramSecret, String) {
        let mut nonce = [0; NONCE];
        // Without random numbers the nonce would be the same each time, which makes a replayed
        // proof as good as a new one: then nobody's proof is right.
        let secret = match getrandom::fill(&mut nonce) {
            Ok(()) => self.directory.scram(user),
            Err(_) => self.directory.scram(""),
        };
        (secret, BASE64_NOPAD.encode(&nonce))
    }

    fn judge<'a>(
        &'a self,
        client: IpAddr,
        user: &'a str,
        attempt: LoginAttempt,
    ) -> Pin<Box<dyn Future<Output = LoginVerdict> + Send + 'a>> {
        let attempt = match attempt {
            LoginAttempt::Password(password) => Attempt::Password(password),
            LoginAttempt::Proof { holds } => Attempt::Proof { holds },
        };
        Box::pin(async move {
            match self.directory.judge(client, user, attempt).await {
                Verdict::Accepted(name) => LoginVerdict::Accepted(name.as_str().into()),
                Verdict::Rejected(delay) => LoginVerdict::Rejected(delay),
                Verdict::HeldOff { again, delay } => LoginVerdict::HeldOff { again, delay },
                Verdict::Busy => LoginVerdict::Busy,
            }
        })
    }
}

/// A name as logins and proxies give it (RFC 4013). One that SASLprep forbids stays as it is, for
/// certificates.
fn prepared(name: &str) -> Box<str> {
    prepared_name(name).map_or_else(|| name.into(), Into::into)
}

/// Each identity that nobody can be, with its place: it has no certificates, and there is no such
/// user. What a proxy says in XCLIENT is not known here.
pub(crate) fn nobodys<'s>(
    s: &'s Settings,
    users: &UsersFile,
) -> impl Iterator<Item = (usize, &'s str)> {
    let names: HashSet<&str> = users.users().map(|user| user.name.as_str()).collect();
    let identities = s.identities.iter().enumerate();
    let nobodys = identities.filter(move |(_, identity)| {
        let may_be_claimed = !s.access.xclient_hosts.is_empty();
        let is_known = !identity.certificates.is_empty() || may_be_claimed;
        !is_known && !names.contains(&*prepared(&identity.name))
    });
    nobodys.map(|(n, identity)| (n, identity.name.as_str()))
}

/// Each identity that may use SCRAM only, and whose user cannot, with its place.
pub(crate) fn without_scram<'s>(
    s: &'s Settings,
    users: &UsersFile,
) -> impl Iterator<Item = (usize, &'s str)> {
    let identities = s.identities.iter().enumerate();
    let without = identities.filter(move |(_, identity)| {
        let name = prepared(&identity.name);
        let mut all = users.users();
        let user = all.find(|user| user.name.as_str() == &*name);
        identity.scram_only && user.is_some_and(|user| !user.has_scram())
    });
    without.map(|(n, identity)| (n, identity.name.as_str()))
}

/// The rules of identities, from the settings.
///
/// # Errors
/// Two of them are the same user; a sender that the configuration's checks let through although it
/// cannot be used.
pub(crate) fn identities(s: &Settings) -> anyhow::Result<Identities> {
    let mut seen = HashMap::new();
    for identity in &s.identities {
        let name = &identity.name;
        if let Some(first) = seen.insert(prepared(name), name) {
            let text = format!(
                "[[identity]] {name:?} and {first:?} are one user: names count after SASLprep (RFC \
                 4013)"
            );
            return Err(open::fail(Status::Configuration, &text));
        }
    }
    let rate = |rate: Option<settings::Rate>| {
        rate.map(|rate| AllowedRate {
            count: rate.count.get(),
            period: rate.period,
        })
    };
    let others = IdentityRules {
        messages: rate(s.logins.messages),
        recipients: rate(s.logins.recipients),
        ..IdentityRules::default()
    };
    let named = s.identities.iter().map(|identity| {
        let senders = identity.senders.as_ref().map(|patterns| {
            let patterns = patterns.iter().map(|p| {
                SenderPattern::parse(&p.0)
                    .map_err(|e| anyhow::anyhow!("[[identity]] {}: {:?} {e}", identity.name, p.0))
            });
            patterns.collect::<anyhow::Result<_>>().map(Senders::Only)
        });
        let rules = IdentityRules {
            senders: senders.transpose()?,
            names_submitters: identity.names_submitters,
            max_message_size: identity.max_message_size,
            scram_only: identity.scram_only,
            messages: identity.messages.map_or(others.messages, rate),
            recipients: identity.recipients.map_or(others.recipients, rate),
        };
        Ok((prepared(&identity.name), rules))
    });
    let mut all = Identities::default();
    for identity in &s.identities {
        let name = prepared(&identity.name);
        for certificate in &identity.certificates {
            match certificate {
                CertificateMatch::Fingerprint(sum) => all.fingerprints.insert(*sum, name.clone()),
                CertificateMatch::Dns(dns) => {
                    all.dns_names.insert(dns.as_str().into(), name.clone())
                }
                CertificateMatch::Email(m) => all.mailboxes.insert(m.as_str().into(), name.clone()),
            };
        }
    }
    Ok(Identities {
        named: named.collect::<anyhow::Result<_>>()?,
        own_address: s.logins.sender_addresses == SenderAddresses::Own,
        others,
        ..all
    })
}

/// Between two looks at who has logged in.
const KEEP: Duration = Duration::from_secs(300);
/// Octets of a nonce.
const NONCE: usize = 18;
/// Passwords judged at the same time, 19 MiB each.
const MOST_AT_ONCE: usize = 4;
