//! `[[dkim]]`, and what a submission listener does to a message: settings, how they are read, and
//! what is wrong with them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dkim::{Algorithm, KeyError, Signer, SigningKey};
use file_rights::{Fault, read_failed};
use ipnet::IpNet;
use mail_types::Domain;

use super::files::secret;
use super::keys::Kind;
use super::parse::FromText;
use super::reader::{Reader, Scope};

/// `[[dkim]]`: a key and the mail that it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// Who signs (`d=`), and whose mail is signed.
    pub domain: Domain,
    /// Where the public key is published (`s=`); labels of a host name.
    pub selector: String,
    /// PEM.
    pub private_key: PathBuf,
    /// What the key is expected to sign with.
    pub algorithm: Option<DkimAlgorithm>,
    /// Whose domain decides.
    pub by: DkimBy,
    /// Names below the domain too.
    pub subdomains: bool,
    /// Clients of relay listeners whose mail is signed too.
    pub networks: Vec<IpNet>,
    /// How long a signature counts.
    pub expires: Option<Duration>,
    /// Fields that are signed where they stand.
    pub signed_headers: Vec<String>,
    /// Fields that are signed once more than they stand.
    pub oversigned_headers: Vec<String>,
}

/// What a key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DkimAlgorithm {
    /// RFC 6376.
    RsaSha256,
    /// RFC 8463.
    Ed25519Sha256,
}

/// Whose domain decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DkimBy {
    /// The address in From.
    From,
    /// The envelope sender.
    Sender,
}

/// `[[listener]]`: what a submission listener does to a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerContent {
    /// Messages need exactly one From.
    pub require_from: bool,
    /// Names the user as Sender.
    pub add_sender: bool,
    /// Leaves the client out of Received.
    pub hide_client: bool,
    /// Names the user in Received.
    pub show_user: bool,
}

impl Dkim {
    /// Reads the key. The daemon and `check-config` use the same code.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub fn signer(&self) -> Result<Signer, String> {
        self.load().map_err(|fault| fault.message)
    }

    fn load(&self) -> Result<Signer, Fault> {
        let file = self.private_key.display();
        secret(&self.private_key)?;
        let pem = fs::read(&self.private_key).map_err(|e| read_failed(&self.private_key, &e))?;
        let key = SigningKey::from_pem(&pem).map_err(|error| Fault {
            message: format!("{file}: {error}"),
            remedy: remedy(&error),
        })?;
        let algorithm = match key.algorithm() {
            Algorithm::RsaSha256 => DkimAlgorithm::RsaSha256,
            Algorithm::Ed25519Sha256 => DkimAlgorithm::Ed25519Sha256,
        };
        if self.algorithm.is_some_and(|expected| expected != algorithm) {
            return Err(Fault {
                message: format!(
                    "{file} signs with {}, not as algorithm says",
                    key.algorithm()
                ),
                remedy: "name the algorithm of the key, or leave algorithm out",
            });
        }
        let signer = Signer::new(self.domain.clone(), &self.selector, Arc::new(key))
            .with_fields(&self.signed_headers, &self.oversigned_headers)
            .map_err(|error| Fault {
                message: error.to_string(),
                remedy: "take it out of signed-headers and oversigned-headers",
            })?;
        Ok(match self.expires {
            Some(after) => signer.with_expiry(after),
            None => signer,
        })
    }

    /// What is wrong with it and its file, and below which key.
    pub(super) fn faults(&self) -> Vec<(&'static str, Fault)> {
        let mut faults = Vec::new();
        let name = format!("{}._domainkey.{}", self.selector, self.domain);
        let label = |l: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            (1..=63).contains(&l.len()) && l.bytes().all(plain)
        };
        if !self.selector.split('.').all(label) || name.len() > MAX_NAME {
            faults.push((
                "selector",
                Fault {
                    message: format!("{:?} cannot stand in a DNS name", self.selector),
                    remedy: "use letters, digits and hyphens, for instance \"s2026\"",
                },
            ));
        }
        if let Err(fault) = self.load() {
            let key = match fault.remedy.starts_with("take it out") {
                true => "signed-headers",
                false => "private-key",
            };
            faults.push((key, fault));
        }
        faults
    }
}

impl ListenerContent {
    /// The names of what is asked for.
    pub(super) fn asked(self) -> impl Iterator<Item = &'static str> {
        let keys = [
            (self.require_from, "require-from"),
            (self.add_sender, "add-sender"),
            (self.hide_client, "hide-client"),
            (self.show_user, "show-user"),
        ];
        keys.into_iter()
            .filter(|(asked, _)| *asked)
            .map(|(_, key)| key)
    }
}

pub(super) fn listener_content(r: &mut Reader<'_>, s: Scope<'_>) -> Option<ListenerContent> {
    Some(ListenerContent {
        require_from: r.value(s, "require-from")?,
        add_sender: r.value(s, "add-sender")?,
        hide_client: r.value(s, "hide-client")?,
        show_user: r.value(s, "show-user")?,
    })
}

/// Values are read before the first `?`, so that each is looked at.
pub(super) fn dkim(r: &mut Reader<'_>, s: Scope<'_>) -> Option<Dkim> {
    let domain = r.value(s, "domain");
    let selector = r.value(s, "selector");
    let private_key = r.value(s, "private-key");
    let dkim = Dkim {
        algorithm: r.optional(s, "algorithm"),
        by: r.value(s, "by")?,
        subdomains: r.value(s, "subdomains")?,
        networks: r.list(s, "networks")?,
        expires: r.value_or_word(s, "expires")?,
        signed_headers: r.list(s, "signed-headers")?,
        oversigned_headers: r.list(s, "oversigned-headers")?,
        domain: domain?,
        selector: selector?,
        private_key: private_key?,
    };
    Some(dkim)
}

impl FromText for DkimAlgorithm {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        match text {
            "rsa-sha256" => Ok(Self::RsaSha256),
            "ed25519-sha256" => Ok(Self::Ed25519Sha256),
            "rsa-sha1" => Err("must not be used any more (RFC 8301 section 3.1)".into()),
            _ => Err("is none of the possible values".into()),
        }
    }
}

impl FromText for DkimBy {
    fn from_text(text: &str, _: &Kind) -> Result<Self, String> {
        match text {
            "from" => Ok(Self::From),
            "sender" => Ok(Self::Sender),
            _ => Err("is none of the possible values".into()),
        }
    }
}

const fn remedy(error: &KeyError) -> &'static str {
    match error {
        KeyError::Encrypted => {
            "take the passphrase off (openssl pkey -in … -out …) and chmod 0600 it"
        }
        KeyError::TooShort | KeyError::TooLong => {
            "make a key of 2048 bits with `sealpost dkim keygen`, publish its record under a new selector"
        }
        _ => "give a PEM file with one RSA or Ed25519 key, as `sealpost dkim keygen` makes it",
    }
}

const MAX_NAME: usize = 253;

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use crate::load;
    use crate::tests::{sources, text_file};

    pub(crate) const ED25519: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";
    /// 1024 bits.
    const SHORT: &str = "-----BEGIN PRIVATE KEY-----\nMIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAKS84IZOdMiVRT0d\n\
        MiCf5jU2VerAXInM27o4BRrlStnGYYZx6VZ5c4JEw2xkK4BcrpVycRYhGIK6ZKsL\n\
        ZewlOxXRCBk2QohirifirI/bgwO5CQbwOgldxctYfwji2TFL9CraM5wtZv76o2jd\n\
        XdVhkkolHnbA1pSphcccIqdP0H+xAgMBAAECgYA9IyOodIF+13cEwUsTNIR5BxtH\n\
        rfAp6+834wZx/tqSi78x6CCSySwHEoH8Pgiu8LaSHBDAB7RS/93QZMCErSSJ0YXQ\n\
        ysB+oW7BL2bewE3MZkYGeonIiEVuTtkA14vtFFI3XSDVMD7YfDK0cnEwCl7nGGMX\n\
        +yR7goR8Bs23O/BP4QJBANl+1jho375EHVA48ph+RnasK29uEE7BoYfLCwaxKCGe\n\
        FoFPzo4ZroizIuS8G0WQ7CggQjZuli2LCk8UjSFM9GUCQQDB5v9/FtbUJKFGGXOh\n\
        veVGtz35Kb5OFcxDGdbTaYTAqwtSwxDTki9iWS8pOJf9k60wcHyYa9brS/I28Z64\n\
        x+tdAkEA2UQ3Q0qgmDT7A3SgA23BfjMngLz2VXZgooJWlWzLpimCWdMbiCBnle89\n\
        YDn5FFldUAhJnI6EPyKyPaVOBoIVcQJBAKx2vJuagdvQ9Mz3yFx9HZfnVizvDwA+\n\
        7R5ltij2Oohv2jNzoty7sn+kWYkteCqoFiv2cSvVByTjuP1brVQnJVUCQBTwKhR8\n\
        uRHvHioqPEARE42r0jFCxX6CGXwM4J6V+o9zHNevPHn1ByX4pdEDBZMT8ssa/z7U\n\
        k2WOaT9CLiAN9A8=\n\
        -----END PRIVATE KEY-----\n";

    /// What is said of an entry with this key file and these further lines.
    fn problems(pem: &str, mode: u32, more: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key.pem");
        std::fs::write(&file, pem).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let entry = format!(
            "[[dkim]]\ndomain = \"d.test\"\nselector = \"s1\"\nprivate-key = \"{}\"\n{more}",
            file.display()
        );
        match load(&sources(&text_file(&dir, &entry))) {
            Ok(loaded) => {
                assert_eq!(loaded.settings.dkim.len(), 1);
                Vec::new()
            }
            Err(error) => error.0.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn g4_10_keys_and_algorithms_that_are_refused() {
        let none: [String; 0] = [];
        assert_eq!(problems(ED25519, 0o600, ""), none);
        assert_eq!(
            problems(ED25519, 0o640, "algorithm = \"ed25519-sha256\""),
            none
        );
        for (pem, mode, more, want) in [
            (ED25519, 0o644, "", "open to everybody"),
            (SHORT, 0o600, "", "fewer than 2048 bits"),
            ("nothing", 0o600, "", "no private key"),
            (ED25519, 0o600, "algorithm = \"rsa-sha1\"", "RFC 8301"),
            (
                ED25519,
                0o600,
                "algorithm = \"rsa-sha256\"",
                "not as algorithm says",
            ),
            (
                ED25519,
                0o600,
                "signed-headers = [\"Received\"]",
                "on the way",
            ),
            (ED25519, 0o600, "expires = \"1s\"", "too small"),
        ] {
            let found = problems(pem, mode, more);
            let [problem] = &found[..] else {
                panic!("{want}: {found:?}")
            };
            assert!(problem.contains(want), "{want}: {problem}");
        }
    }

    #[test]
    fn g4_05_fix_ups_are_refused_on_relay_listeners() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "[[listener]]\nname = \"r\"\naddress = [\"127.0.0.1:2525\"]\nhide-client = true\n";
        let error = load(&sources(&text_file(&dir, text))).unwrap_err();
        let found = error.to_string();
        assert!(
            found.contains("hide-client") && found.contains("submission"),
            "{found}"
        );
    }
}
