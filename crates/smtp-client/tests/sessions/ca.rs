//! A certificate authority of the tests' own.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientCertVerifierBuilder, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) struct Ca {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate chain with the leaf's key.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub(crate) fn leaf(&self, names: &[&str]) -> Leaf {
        self.issue(leaf_params(names))
    }

    pub(crate) fn issue(&self, params: CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der(),
        }
    }

    /// A certificate of this authority by another one, for the same name and key.
    pub(crate) fn cross_signed(&self, name: &str, by: &Self) -> CertificateDer<'static> {
        let params = ca_params(name);
        let certificate = params.signed_by(self.issuer.key(), &by.issuer).unwrap();
        certificate.der().clone()
    }

    /// An authority whose own time is over.
    pub(crate) fn expired(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = ca_params(name);
        params.not_after = date_time_ymd(2026, 2, 28);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }
}

impl Leaf {
    pub(crate) fn self_signed(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf_params(names).self_signed(&key).unwrap();
        Self {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der(),
        }
    }

    /// An X.509 version 1 certificate for nobody in particular: webpki cannot read those.
    pub(crate) fn version_1() -> Self {
        let key = PrivatePkcs8KeyDer::from_pem_slice(VERSION_1_KEY.as_bytes()).unwrap();
        Self {
            chain: vec![CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap()],
            key: key.secret_pkcs8_der().to_vec(),
        }
    }

    pub(crate) fn with(mut self, more: CertificateDer<'static>) -> Self {
        self.chain.push(more);
        self
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server_of(rustls::ALL_VERSIONS)
    }

    pub(crate) fn server_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        self.server_with_key_of(self, versions)
    }

    /// Shows this certificate, signs with the other's key: a certificate is public, its key is not.
    pub(crate) fn server_with_key_of(
        &self,
        other: &Self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(self.shown_with_key_of(other));
        Arc::new(config)
    }

    /// Asks for a client certificate, and takes none for an answer.
    pub(crate) fn server_that_asks(&self, ca: &Ca) -> Arc<ServerConfig> {
        self.server_that_wants(ca, rustls::ALL_VERSIONS, |verifier| {
            verifier.allow_unauthenticated()
        })
    }

    /// Takes nobody without a client certificate.
    pub(crate) fn server_that_demands(
        &self,
        ca: &Ca,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        self.server_that_wants(ca, versions, |verifier| verifier)
    }

    fn server_that_wants(
        &self,
        ca: &Ca,
        versions: &[&'static rustls::SupportedProtocolVersion],
        how: impl FnOnce(ClientCertVerifierBuilder) -> ClientCertVerifierBuilder,
    ) -> Arc<ServerConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
        let verifier = how(verifier).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(self.shown_with_key_of(self));
        Arc::new(config)
    }

    /// With something changed in what it shows.
    pub(crate) fn server_with(&self, change: impl FnOnce(&mut CertifiedKey)) -> Arc<ServerConfig> {
        let mut key = CertifiedKey::clone(&self.shown_with_key_of(self).0);
        change(&mut key);
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Always(Arc::new(key))));
        Arc::new(config)
    }

    fn shown_with_key_of(&self, other: &Self) -> Arc<Always> {
        let key: PrivateKeyDer<'_> = PrivatePkcs8KeyDer::from(other.key.clone()).into();
        let key = provider().key_provider.load_private_key(key).unwrap();
        Arc::new(Always(Arc::new(CertifiedKey::new(self.chain.clone(), key))))
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(crate) fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "leaf");
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBJjCBzQIUEHocTWTIo1QFRYHUVj8FDNGTaCMwCgYIKoZIzj0EAwIwFTETMBEG\n\
A1UEAwwKbXgxLmQudGVzdDAgFw0yNjExMjIwMTMyNTVaGA8yMTI2MTAyOTAxMzI1\n\
NVowFTETMBEGA1UEAwwKbXgxLmQudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEH\n\
A0IABBRb9yLvXNU5MgwOtpqMKaJkZChoJ50utDaKFtdlWdzdXJnoXXf8l9BjpGgW\n\
qPx+eNFCo5fbGEPTZK93F79fJx0wCgYIKoZIzj0EAwIDSAAwRQIgA3Fs1Wo8fwVw\n\
jDTGQeRAzvMjThF36SXGD+bCGVNfqToCIQC8jHGTaWmI1KYj+US7nDLJLbqkOpLz\n\
Fbk4Rs8ItNi6Yw==\n\
-----END CERTIFICATE-----";
const VERSION_1_KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgd4x4bNBd601+CHfv\n\
CT5/+mhwNMr1kA/+gx1dV/rFUg6hRANCAAQUW/ci71zVOTIMDraajCmiZGQoaCed\n\
LrQ2ihbXZVnc3VyZ6F13/JfQY6RoFqj8fnjRQqOX2xhD02Svdxe/Xycd\n\
-----END PRIVATE KEY-----";
