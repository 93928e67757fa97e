//! Certificate revocation lists: files that somebody else keeps fresh (RFC 5280 section 5).
//!
//! Lists are never fetched. A revoked certificate is refused in both modes; they differ in what a
//! list that is out of date, or none at all for an issuer, means: *soft* lets the session go on
//! (and the caller tells the operator), *hard* refuses it. A list whose signature is not its
//! issuer's is refused in both: it was tampered with, or is not what it claims to be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mail_types::Timestamp;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::RootsWarning;

/// What a missing or outdated list means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub enum RevocationFailure {
    /// The session goes on.
    #[default]
    Soft,
    /// The certificate is refused.
    Hard,
}

/// The lists in force. The default has none: nothing is checked.
#[derive(Clone, Debug, Default)]
pub struct Revocation {
    lists: Arc<[CertRevocationList<'static>]>,
    about: Arc<[RevocationList]>,
    failure: RevocationFailure,
}

/// What is known of one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Its file.
    pub file: PathBuf,
    /// Whose certificates it is about.
    pub issuer: Box<str>,
    /// From then on it is out of date.
    pub next_update: Option<Timestamp>,
}

/// A file of lists that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("revocation list {file}: {problem}")]
pub struct RevocationError {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub problem: String,
}

impl Revocation {
    /// Reads the files, PEM or DER. In *soft* mode a file that cannot be used is left out and told;
    /// in *hard* mode it is an error.
    ///
    /// # Errors
    /// Only in *hard* mode: the first file that cannot be used.
    pub fn load(
        files: &[PathBuf],
        failure: RevocationFailure,
    ) -> Result<(Self, Vec<RootsWarning>), RevocationError> {
        let (mut lists, mut about, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for file in files {
            match (read(file), failure) {
                (Ok(found), _) => {
                    for (list, known) in found {
                        lists.push(list);
                        about.push(known);
                    }
                }
                (Err(problem), RevocationFailure::Soft) => warnings.push(RootsWarning {
                    source: file.display().to_string(),
                    skipped: 1,
                    problem,
                }),
                (Err(problem), RevocationFailure::Hard) => {
                    return Err(RevocationError {
                        file: file.clone(),
                        problem,
                    });
                }
            }
        }
        let revocation = Self {
            lists: lists.into(),
            about: about.into(),
            failure,
        };
        Ok((revocation, warnings))
    }

    /// The lists that are out of date.
    pub fn outdated(&self, now: Timestamp) -> impl Iterator<Item = &RevocationList> {
        let over = move |list: &&RevocationList| list.next_update.is_some_and(|at| at <= now);
        self.about.iter().filter(over)
    }

    /// How many lists.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lists.len()
    }

    pub(crate) fn lists(&self) -> Vec<&CertRevocationList<'static>> {
        self.lists.iter().collect()
    }

    /// How webpki is to use the lists; `None` if there are none.
    pub(crate) fn options<'a>(
        &self,
        lists: &'a [&'a CertRevocationList<'a>],
    ) -> Option<RevocationOptions<'a>> {
        let builder = RevocationOptionsBuilder::new(lists).ok()?;
        let (status, expiration) = match self.failure {
            RevocationFailure::Soft => (UnknownStatusPolicy::Allow, ExpirationPolicy::Ignore),
            RevocationFailure::Hard => (UnknownStatusPolicy::Deny, ExpirationPolicy::Enforce),
        };
        let builder = builder.with_status_policy(status);
        Some(builder.with_expiration_policy(expiration).build())
    }
}

type Found = Vec<(CertRevocationList<'static>, RevocationList)>;

fn read(file: &Path) -> Result<Found, String> {
    let octets = std::fs::read(file).map_err(|e| e.to_string())?;
    // DER begins with a SEQUENCE; everything else is taken for PEM.
    let ders: Vec<CertificateRevocationListDer<'static>> = if octets.first() == Some(&0x30) {
        vec![octets.into()]
    } else {
        CertificateRevocationListDer::pem_slice_iter(&octets)
            .collect::<Result<_, _>>()
            .map_err(|e| tls_words::why_no_pem(&e))?
    };
    if ders.is_empty() {
        return Err("the file has no revocation list".to_owned());
    }
    ders.iter()
        .map(|der| {
            let list = OwnedCertRevocationList::from_der(der).map_err(|e| e.to_string())?;
            let (_, parsed) = CertificateRevocationList::from_der(der)
                .map_err(|_| "it cannot be read".to_owned())?;
            let next = parsed.next_update();
            let next = next.and_then(|at| u64::try_from(at.timestamp()).ok());
            let known = RevocationList {
                file: file.to_owned(),
                issuer: parsed.issuer().to_string().into(),
                next_update: next.map(Timestamp::from_secs),
            };
            Ok((list.into(), known))
        })
        .collect()
}
