//! A certificate authority: good certificates, and every bad one that a test needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// A root, an intermediate below it, and a folder for what they issue.
pub struct TestCa {
    root: Authority,
    intermediate: Authority,
    dir: TempDir,
    root_path: PathBuf,
    issued: AtomicU32,
}

/// A certificate with its chain and key, in memory and as PEM files.
#[derive(Debug)]
pub struct Leaf {
    /// The certificate first, then what was asked to be sent with it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The chain as a PEM file.
    pub cert_path: PathBuf,
    /// The private key as a PEM file.
    pub key_path: PathBuf,
    key: Vec<u8>,
}

/// What the certificate shall be like; made by [`TestCa::cert`].
pub struct CertBuilder<'a> {
    ca: &'a TestCa,
    params: CertificateParams,
    signer: Signer,
}

#[derive(Clone, Copy, PartialEq)]
enum Signer {
    Root,
    Intermediate { sent: bool },
    Itself,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    cert: Certificate,
}

impl TestCa {
    /// A new authority with keys of its own: two of them do not trust each other.
    pub fn new() -> Self {
        let dir = TempDir::with_prefix("testkit-ca-").expect("a temporary folder");
        let (params, key) = authority("Test Root");
        let cert = params.self_signed(&key).expect("a root");
        let root = Authority {
            issuer: Issuer::new(params, key),
            cert,
        };
        let (params, key) = authority("Test Intermediate");
        let cert = params
            .signed_by(&key, &root.issuer)
            .expect("an intermediate");
        let intermediate = Authority {
            issuer: Issuer::new(params, key),
            cert,
        };
        let root_path = dir.path().join("root.pem");
        std::fs::write(&root_path, root.cert.pem()).expect("a writable folder");
        Self {
            root,
            intermediate,
            dir,
            root_path,
            issued: AtomicU32::new(0),
        }
    }

    /// The root as a PEM file, for `tls.dangerous-extra-roots`.
    pub fn root_path(&self) -> &Path {
        &self.root_path
    }

    /// The root.
    pub fn root_der(&self) -> CertificateDer<'static> {
        self.root.cert.der().clone()
    }

    /// A trust store with the root in it.
    pub fn root_store(&self) -> rustls::RootCertStore {
        let mut store = rustls::RootCertStore::empty();
        store.add(self.root_der()).expect("a usable root");
        store
    }

    /// A TLS client that trusts this root only, with ALPN for nothing.
    pub fn client_config(&self) -> Arc<rustls::ClientConfig> {
        let builder = rustls::ClientConfig::builder_with_provider(provider());
        Arc::new(
            builder
                .with_safe_default_protocol_versions()
                .expect("TLS 1.2 and 1.3")
                .with_root_certificates(self.root_store())
                .with_no_client_auth(),
        )
    }

    /// A revocation list of the root in PEM: these serial numbers are revoked; the next list is due
    /// at the beginning of that year.
    pub fn crl(&self, revoked: &[u64], next_update: i32) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(next_update, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.root.issuer).expect("a list");
        list.pem().expect("a list as PEM")
    }

    /// A good certificate for these DNS names.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.cert(names).issue()
    }

    /// A certificate for this name with so many others in its chain, all of one name and one key, so that
    /// each may be the issuer of each: who looks for a way to a root looks long.
    pub fn maze(&self, name: &str, others: u64) -> Leaf {
        let authority = || {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, "Maze");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let issuer = Issuer::new(authority(), KeyPair::generate().expect("a key"));
        let mut leaf = self.leaf(&[name]);
        let key = KeyPair::try_from(leaf.key.as_slice()).expect("our own key");
        let params = self.cert(&[name]).params;
        let signed = params.signed_by(&key, &issuer).expect("a certificate");
        leaf.chain = vec![signed.der().clone()];
        leaf.chain.extend((0..others).map(|n| {
            let mut params = authority();
            params.serial_number = Some(SerialNumber::from(n));
            let signed = params.signed_by(issuer.key(), &issuer);
            signed.expect("a certificate").der().clone()
        }));
        leaf
    }

    /// A certificate for these DNS names (or IP addresses), to be made bad before it is issued.
    pub fn cert(&self, names: &[&str]) -> CertBuilder<'_> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("valid names");
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        CertBuilder {
            ca: self,
            params,
            signer: Signer::Root,
        }
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl CertBuilder<'_> {
    /// Not valid any more since 2021.
    pub fn expired(self) -> Self {
        self.validity((2020, 1, 1), (2021, 1, 1))
    }

    /// Valid for so many days from now.
    pub fn days(mut self, days: u32) -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .expect("a clock after 1970");
        let day = std::time::Duration::from_secs(24 * 60 * 60);
        self.params.not_after = date_time_ymd(1970, 1, 1) + now + day * days;
        self
    }

    /// Not valid before 2098.
    pub fn not_yet_valid(self) -> Self {
        self.validity((2098, 1, 1), (2099, 1, 1))
    }

    /// Valid between these dates: year, month, day.
    pub fn validity(mut self, from: (i32, u8, u8), to: (i32, u8, u8)) -> Self {
        self.params.not_before = date_time_ymd(from.0, from.1, from.2);
        self.params.not_after = date_time_ymd(to.0, to.1, to.2);
        self
    }

    /// For TLS clients, not for servers.
    pub fn wrong_usage(mut self) -> Self {
        self.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self
    }

    /// This serial number, to be revoked by it.
    pub fn serial(mut self, serial: u64) -> Self {
        self.params.serial_number = Some(SerialNumber::from(serial));
        self
    }

    /// This common name; the subject alternative names stay as they are.
    pub fn common_name(mut self, name: &str) -> Self {
        self.params
            .distinguished_name
            .push(DnType::CommonName, name);
        self
    }

    /// Signed by the intermediate, which the server sends along.
    pub fn via_intermediate(mut self) -> Self {
        self.signer = Signer::Intermediate { sent: true };
        self
    }

    /// Signed by the intermediate, which the server forgets to send.
    pub fn missing_intermediate(mut self) -> Self {
        self.signer = Signer::Intermediate { sent: false };
        self
    }

    /// Signed by nobody but itself.
    pub fn self_signed(mut self) -> Self {
        self.signer = Signer::Itself;
        self
    }

    /// Makes keys, signs, and writes the PEM files.
    pub fn issue(self) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let by = |authority: &Authority| {
            self.params
                .signed_by(&key, &authority.issuer)
                .expect("a certificate")
        };
        let mut certs = vec![match self.signer {
            Signer::Root => by(&self.ca.root),
            Signer::Intermediate { .. } => by(&self.ca.intermediate),
            Signer::Itself => self.params.self_signed(&key).expect("a certificate"),
        }];
        if self.signer == (Signer::Intermediate { sent: true }) {
            certs.push(self.ca.intermediate.cert.clone());
        }
        let number = self.ca.issued.fetch_add(1, Ordering::Relaxed);
        let path = |suffix| self.ca.dir.path().join(format!("leaf-{number}.{suffix}"));
        let leaf = Leaf {
            chain: certs.iter().map(|c| c.der().clone()).collect(),
            cert_path: path("pem"),
            key_path: path("key"),
            key: key.serialize_der(),
        };
        let pem: String = certs.iter().map(Certificate::pem).collect();
        std::fs::write(&leaf.cert_path, pem).expect("a writable folder");
        std::fs::write(&leaf.key_path, key.serialize_pem()).expect("a writable folder");
        leaf
    }
}

impl Leaf {
    /// The private key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// A TLS 1.2 and 1.3 server with this certificate, whatever name the client asks for.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server_config_for(rustls::ALL_VERSIONS)
    }

    /// As [`Leaf::server_config`], but only for these versions, for instance
    /// `&[&rustls::version::TLS12]`.
    pub fn server_config_for(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        Arc::new(
            ServerConfig::builder_with_provider(provider())
                .with_protocol_versions(versions)
                .expect("versions that rustls has")
                .with_no_client_auth()
                .with_single_cert(self.chain.clone(), self.key())
                .expect("a certificate that fits its key"),
        )
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    let key = KeyPair::generate().expect("a key");
    // Authorities of one name would be taken for each other: "bad signature", not "unknown issuer".
    let name = key.public_key_raw()[1..5]
        .iter()
        .fold(format!("{name} "), |name, octet| {
            format!("{name}{octet:02x}")
        });
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    (params, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError::{
        self, ExpiredContext, InvalidPurposeContext, NotValidForNameContext, NotValidYetContext,
        UnknownIssuer,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn verdict(ca: &TestCa, leaf: &Leaf, name: &str) -> Option<CertificateError> {
        let (client, server) = tokio::io::duplex(16 * 1024);
        let config = leaf.server_config();
        let serve = async move {
            if let Ok(mut tls) = tokio_rustls::TlsAcceptor::from(config).accept(server).await {
                let _ = tls.write_all(b"x").await;
            }
        };
        let connector = tokio_rustls::TlsConnector::from(ca.client_config());
        let name = rustls_pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let connect = async move {
            let mut tls = connector.connect(name, client).await?;
            tls.read_u8().await
        };
        let ((), result) = tokio::join!(serve, connect);
        let error = result.err()?;
        match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(e) => Some(e.clone()),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn good_is_good_and_bad_is_bad_in_the_way_that_was_asked_for() {
        let ca = TestCa::new();
        let name = "mx1.d.test";
        let check = async |leaf: Leaf| verdict(&ca, &leaf, name).await;
        assert_eq!(check(ca.leaf(&[name])).await, None);
        assert_eq!(
            check(ca.cert(&[name]).via_intermediate().issue()).await,
            None
        );
        let bad = check(ca.cert(&[name]).missing_intermediate().issue()).await;
        assert!(matches!(bad, Some(UnknownIssuer)), "{bad:?}");
        let bad = check(ca.cert(&[name]).expired().issue()).await;
        assert!(matches!(bad, Some(ExpiredContext { .. })), "{bad:?}");
        let bad = check(ca.cert(&[name]).not_yet_valid().issue()).await;
        assert!(matches!(bad, Some(NotValidYetContext { .. })), "{bad:?}");
        let bad = check(ca.cert(&[name]).wrong_usage().issue()).await;
        assert!(matches!(bad, Some(InvalidPurposeContext { .. })), "{bad:?}");
        let bad = check(ca.leaf(&["mx2.d.test"])).await;
        assert!(
            matches!(bad, Some(NotValidForNameContext { .. })),
            "{bad:?}"
        );
        let bad = check(ca.cert(&[]).common_name(name).issue()).await;
        assert!(
            matches!(bad, Some(NotValidForNameContext { .. })),
            "{bad:?}"
        );
        assert!(
            check(ca.cert(&[name]).self_signed().issue())
                .await
                .is_some()
        );
        assert_eq!(
            check(TestCa::new().leaf(&[name])).await,
            Some(UnknownIssuer)
        );
    }

    #[test]
    fn writes_pem_files() {
        let ca = TestCa::new();
        let leaf = ca.cert(&["a.test"]).via_intermediate().issue();
        let pem = std::fs::read_to_string(&leaf.cert_path).unwrap();
        assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(
            std::fs::read_to_string(&leaf.key_path)
                .unwrap()
                .contains("PRIVATE KEY")
        );
        assert!(ca.root_path().exists());
    }
}
