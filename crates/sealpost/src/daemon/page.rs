//! Who may use page and API over HTTP: what the configuration says, read at start and on reload.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use mail_types::Timestamp;
use policy_cache::Clock;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use settings::{KeyPair, Settings};
use web::{Access, Asked, Tls, Tokens};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::observe::Observer;

/// Tokens, sessions, certificate.
pub(crate) struct Page {
    pub(crate) access: Access,
    pub(crate) tls: Option<Arc<Tls>>,
}

/// What a reload has read and not yet put in force.
pub(crate) struct Fresh {
    tokens: Option<Tokens>,
    tls: Option<Tls>,
}

impl Page {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub(crate) fn open(
        s: &Settings,
        observer: &Observer,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let fresh = read(s)?;
        let tls = fresh.tls.map(Arc::new);
        let observer = observer.clone();
        let access = Access::new(Asked {
            tokens: fresh.tokens,
            names: s.admin.names.clone(),
            tls: tls.is_some(),
            clock: Arc::clone(clock),
            random: Arc::new(random),
            tell: Arc::new(move |event, level, fields| observer.process(event, level, fields)),
        });
        Ok(Self { access, tls })
    }

    /// Reads the files again, without consequence.
    ///
    /// # Errors
    /// As [`Page::open`].
    pub(crate) fn read(&self, s: &Settings) -> Result<Fresh, String> {
        read(s)
    }

    /// Puts in force what was read. Whether there are tokens and a certificate at all stays as it was
    /// at the start.
    pub(crate) fn replace(&self, fresh: Fresh) {
        if let Some(tokens) = fresh.tokens {
            self.access.replace_tokens(tokens);
        }
        if let (Some(tls), Some(fresh)) = (&self.tls, fresh.tls) {
            tls.replace(&fresh);
        }
    }

    /// `admin.login-link`: prints a link that logs in once. Not to the event log, which is kept.
    pub(crate) fn print_link(&self, address: SocketAddr) {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match self.access.link() {
            Some(secret) => eprintln!(
                "To log in, open {scheme}://{address}/#login={secret}\n(it works once, within ten minutes)"
            ),
            None => tracing::error!("no login link: the system has no random numbers"),
        }
    }
}

fn read(s: &Settings) -> Result<Fresh, String> {
    let tokens = s.admin.token_file.as_deref().map(Tokens::load);
    let load = |pair: &KeyPair| Tls::load(&pair.certificate, &pair.private_key);
    Ok(Fresh {
        tokens: tokens.transpose().map_err(|e| e.to_string())?,
        tls: s.admin.key_pair.as_ref().map(load).transpose()?,
    })
}

/// The end of the first certificate in a file, as it is now.
pub(crate) fn ends(file: &Path) -> Option<Timestamp> {
    let der = CertificateDer::from_pem_file(file).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    u64::try_from(seconds).ok().map(Timestamp::from_secs)
}

fn random() -> Option<[u8; 32]> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).ok()?;
    Some(octets)
}
