//! Trust anchors: where they come from, and how they are replaced while sessions run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::Revocation;

/// The list behind [`RootSource::Webpki`], and how many authorities are in it: for `--version`, so
/// that a stale list is noticed (row I2-12).
#[must_use]
pub fn built_in_roots() -> String {
    let count = webpki_roots::TLS_SERVER_ROOTS.len();
    format!("{BUILT_IN}, {count} authorities of Mozilla's list")
}

/// As in `Cargo.lock`; a test holds them together.
const BUILT_IN: &str = "webpki-roots 1.0.10";

/// Trust anchors that can be replaced (a reload) while sessions run. Each replacement gets a new
/// generation, so that no connection made under other anchors is reused. Cloning shares.
#[derive(Clone, Debug)]
pub struct Roots {
    current: Arc<ArcSwap<RootSet>>,
    generations: Arc<AtomicU64>,
}

/// One set of trust anchors, never empty.
#[derive(Clone, Debug)]
pub struct RootSet {
    store: Arc<RootCertStore>,
    sources: Vec<String>,
    revocation: Revocation,
    generation: u64,
}

/// Where trust anchors come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// Mozilla's list, as of the build.
    Webpki,
    /// The operating system's store.
    System,
    /// A PEM file with certificates.
    File(PathBuf),
}

/// No usable set of trust anchors.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// Nothing that can be trusted was found.
    #[error("no trust anchors: {0} gave none that can be used")]
    Empty(String),
    /// A file could not be read.
    #[error("trust anchors in {path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// Some certificates of a source were left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootsWarning {
    /// The source.
    pub source: String,
    /// How many were left out.
    pub skipped: usize,
    /// The first problem.
    pub problem: String,
}

impl Roots {
    /// Starts with generation 1.
    #[must_use]
    pub fn new(set: RootSet) -> Self {
        let roots = Self {
            current: Arc::new(ArcSwap::from_pointee(set.clone())),
            generations: Arc::new(AtomicU64::new(0)),
        };
        let _ = roots.replace(set);
        roots
    }

    /// Puts another set in force for handshakes from now on; open sessions are not disturbed (row
    /// I3-04). Returns its generation.
    pub fn replace(&self, mut set: RootSet) -> u64 {
        set.generation = self.generations.fetch_add(1, Ordering::AcqRel) + 1;
        let generation = set.generation;
        self.current.store(Arc::new(set));
        generation
    }

    /// The set in force.
    #[must_use]
    pub fn current(&self) -> Arc<RootSet> {
        self.current.load_full()
    }
}

impl RootSet {
    /// The union of the sources. What cannot be used is counted; a source that gives nothing is an
    /// error (row I3-03).
    ///
    /// # Errors
    /// A source cannot be read, or has nothing that can be used.
    pub fn load(sources: &[RootSource]) -> Result<(Self, Vec<RootsWarning>), RootsError> {
        let mut store = RootCertStore::empty();
        let (mut names, mut warnings) = (Vec::new(), Vec::new());
        for source in sources {
            let name = source.name();
            let before = store.len();
            warnings.extend(add(&mut store, source)?);
            if store.len() == before {
                return Err(RootsError::Empty(name));
            }
            names.push(name);
        }
        if store.is_empty() {
            return Err(RootsError::Empty("an empty list of sources".to_owned()));
        }
        let set = Self {
            store: Arc::new(store),
            sources: names,
            revocation: Revocation::default(),
            generation: 0,
        };
        Ok((set, warnings))
    }

    /// The same anchors, with these revocation lists: a generation counts both.
    #[must_use]
    pub fn with_revocation(self, revocation: Revocation) -> Self {
        Self { revocation, ..self }
    }

    /// The revocation lists that go with the anchors.
    #[must_use]
    pub const fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// How many trust anchors.
    #[must_use]
    pub fn count(&self) -> usize {
        self.store.len()
    }

    /// Where they come from, for the log line at start.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Counts the replacements since start; 0 before the set is in force.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The anchors themselves, for other TLS clients of the process.
    #[must_use]
    pub const fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }
}

impl RootSource {
    fn name(&self) -> String {
        match self {
            Self::Webpki => "webpki".to_owned(),
            Self::System => "system".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

fn add(store: &mut RootCertStore, source: &RootSource) -> Result<Option<RootsWarning>, RootsError> {
    match source {
        RootSource::Webpki => {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            Ok(None)
        }
        RootSource::System => {
            let found = rustls_native_certs::load_native_certs();
            let problems = found.errors.iter().map(ToString::to_string).collect();
            Ok(add_certificates(store, source, found.certs, problems))
        }
        RootSource::File(path) => {
            let (certificates, problems) = read_pem(path)?;
            Ok(add_certificates(store, source, certificates, problems))
        }
    }
}

fn add_certificates(
    store: &mut RootCertStore,
    source: &RootSource,
    certificates: Vec<CertificateDer<'static>>,
    mut problems: Vec<String>,
) -> Option<RootsWarning> {
    for certificate in certificates {
        if let Err(error) = store.add(certificate) {
            problems.push(error.to_string());
        }
    }
    let skipped = problems.len();
    problems.into_iter().next().map(|problem| RootsWarning {
        source: source.name(),
        skipped,
        problem,
    })
}

type PemFile = (Vec<CertificateDer<'static>>, Vec<String>);

fn read_pem(path: &Path) -> Result<PemFile, RootsError> {
    let refuse = |problem: String| RootsError::File {
        path: path.to_owned(),
        problem,
    };
    let text = std::fs::read(path).map_err(|e| refuse(e.to_string()))?;
    let (mut certificates, mut problems) = (Vec::new(), Vec::new());
    for item in CertificateDer::pem_slice_iter(&text) {
        match item {
            Ok(certificate) => certificates.push(certificate),
            Err(error) => problems.push(tls_words::why_no_pem(&error)),
        }
    }
    if certificates.is_empty() && problems.is_empty() {
        return Err(refuse("the file has no PEM certificate".to_owned()));
    }
    Ok((certificates, problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> (tempfile::NamedTempFile, RootSource) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let source = RootSource::File(file.path().to_owned());
        (file, source)
    }

    fn certificate(name: &str) -> String {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn i3_01_a_union_of_sources() {
        let (_keep, source) = file(&(certificate("a") + &certificate("b")));
        let (alone, _) = RootSet::load(std::slice::from_ref(&source)).unwrap();
        assert_eq!(alone.count(), 2);
        let (union, warnings) = RootSet::load(&[RootSource::Webpki, source]).unwrap();
        assert_eq!(union.count(), webpki_roots::TLS_SERVER_ROOTS.len() + 2);
        assert_eq!(union.sources()[0], "webpki");
        assert!(warnings.is_empty());
    }

    #[test]
    fn i3_03_nothing_to_trust_is_refused() {
        let (_keep, empty) = file("");
        let (_keep2, broken) =
            file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let missing = RootSource::File("/nonexistent/roots.pem".into());
        for (sources, why) in [
            (vec![], "no source"),
            (vec![empty], "no certificate"),
            (vec![broken], "one bad certificate"),
            (vec![RootSource::Webpki, missing], "no such file"),
        ] {
            assert!(RootSet::load(&sources).is_err(), "{why}");
        }
    }

    #[test]
    fn i3_03_one_bad_among_good_is_a_warning_with_its_count() {
        let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let (_keep, source) = file(&(certificate("a") + bad + &certificate("b")));
        let (set, warnings) = RootSet::load(&[source]).unwrap();
        assert_eq!((set.count(), warnings.len()), (2, 1));
        assert_eq!(warnings[0].skipped, 1);
    }

    #[test]
    fn each_replacement_is_a_generation() {
        let (_keep, source) = file(&certificate("a"));
        let (set, _) = RootSet::load(&[source]).unwrap();
        let roots = Roots::new(set.clone());
        assert_eq!(roots.current().generation(), 1);
        assert_eq!((roots.replace(set), roots.current().generation()), (2, 2));
    }
}
