//! Certificates and handshakes: every defect alone, under every posture.

use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use smtp_client::{
    Cause, CertificateFault, Connection, HandshakeFault, Posture, SessionError, SignatureCheck,
    Stage, TlsVerdict,
};

use crate::ca::{Ca, Leaf, leaf_params};
use crate::peer::{Scripted, Step, greet, hear, say, secure};
use crate::{MX, connector, peer_of};

const OBSERVING: [Posture; 2] = [Posture::DangerousEncrypt, Posture::DangerousOpportunistic];

async fn connect(
    ca: &Ca,
    scripted: &Scripted,
    posture: Posture,
) -> Result<Connection, SessionError> {
    connector(ca)
        .connect_with(&peer_of(scripted), posture)
        .await
}

fn refused(result: Result<Connection, SessionError>) -> SessionError {
    match result {
        Ok(_) => panic!("the session must not open"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a5_12_a5_13_a_valid_certificate_in_both_versions() {
    let ca = Ca::new("Root");
    for (version, name) in [
        (&rustls::version::TLS12, "TLSv1.2"),
        (&rustls::version::TLS13, "TLSv1.3"),
    ] {
        let leaf = ca.leaf(&[MX]);
        let scripted = Scripted::start(secure(leaf.server_of(&[version]), &["PIPELINING"]));
        let connection = connector(&ca).connect(&peer_of(&scripted)).await.unwrap();
        let facts = connection.facts().clone();
        let tls = facts.tls.expect("TLS");
        assert_eq!(tls.verdict, TlsVerdict::Authenticated);
        assert_eq!(&*tls.version, name);
        assert!(tls.cipher.starts_with("TLS_"), "{}", tls.cipher);
        assert!(!tls.group.is_empty());
        let certificate = tls.certificate.expect("a certificate");
        assert_eq!(certificate.subject_alt_names, [MX.into()]);
        assert_eq!(&*certificate.issuer, "CN=Root");
        assert_eq!(certificate.sha256.len(), 64);
        assert!(facts.extensions.pipelining && !facts.extensions.starttls);
        connection.quit().await;
        let heard = scripted.heard().await;
        assert_eq!(heard.sni.as_deref(), Some(MX));
        assert_eq!(
            heard.lines,
            ["EHLO us.test", "STARTTLS", "<TLS>", "EHLO us.test", "QUIT"]
        );
        assert!(heard.closed_cleanly, "row I4-05");
    }
}

#[tokio::test]
async fn post_quantum_key_exchange_by_default() {
    let ca = Ca::new("Root");
    let scripted = Scripted::start(secure(ca.leaf(&[MX]).server(), &[]));
    let connection = connector(&ca).connect(&peer_of(&scripted)).await.unwrap();
    let tls = connection.facts().tls.as_ref().unwrap();
    assert_eq!(&*tls.group, "X25519MLKEM768");
}

/// Each defect: its server, its reason key, its code, a look at the fault.
#[tokio::test]
async fn a5_08_h4_01_to_h4_05_each_defect_alone() {
    let (ca, stranger) = (Ca::new("Root"), Ca::new("Stranger"));
    let inner = ca.intermediate("Inner");
    let mut expired = leaf_params(&[MX]);
    expired.not_after = date_time_ymd(2026, 2, 28);
    let mut future = leaf_params(&[MX]);
    future.not_before = date_time_ymd(2026, 3, 2);
    let mut purpose = leaf_params(&[MX]);
    purpose.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let mut common_name = leaf_params(&[]);
    common_name
        .distinguished_name
        .push(rcgen::DnType::CommonName, MX);
    let not_trusted = "cert-not-trusted";
    for (leaf, reason, code) in [
        (ca.issue(expired), "cert-expired", "expired"),
        (ca.issue(future), not_trusted, "not-yet-valid"),
        (
            ca.leaf(&["mx2.d.test", "d.test"]),
            "cert-host-mismatch",
            "host-mismatch",
        ),
        (
            ca.leaf(&["*.x.d.test"]),
            "cert-host-mismatch",
            "host-mismatch",
        ),
        (ca.issue(common_name), "cert-host-mismatch", "host-mismatch"),
        (Leaf::self_signed(&[MX]), not_trusted, "self-signed"),
        (
            stranger.leaf(&[MX]).with(stranger.der()),
            not_trusted,
            "unknown-issuer",
        ),
        (inner.leaf(&[MX]), not_trusted, "missing-intermediate"),
        (ca.issue(purpose), not_trusted, "invalid-purpose"),
    ] {
        let scripted = Scripted::start(secure(leaf.server(), &[]));
        let error = refused(connect(&ca, &scripted, Posture::Authenticate).await);
        assert_eq!(error.stage, Stage::Handshake, "{code}");
        assert_eq!(error.cause.reason().key(), reason, "{code}: {error}");
        assert_eq!(error.cause.report_code().as_deref(), Some(code));
        let Cause::Certificate(failure) = &error.cause else {
            panic!("{code}: {error}");
        };
        assert!(failure.leaf.is_some(), "{code}");
        // A6-02, A6-05: after the handshake failed nothing is heard.
        let heard = scripted.heard().await;
        assert_eq!(heard.lines[..2], ["EHLO us.test", "STARTTLS"], "{code}");
        assert!(
            heard.lines[2].starts_with('<') && heard.lines.len() == 3,
            "{code}"
        );

        for posture in OBSERVING {
            let scripted = Scripted::start(secure(leaf.server(), &[]));
            let connection = connect(&ca, &scripted, posture).await.unwrap();
            let tls = connection.facts().tls.clone().unwrap();
            assert!(!tls.verdict.would_verify(), "{code}");
            assert_eq!(tls.verdict.failure().map(|f| f.code()), Some(code));
        }
    }
}

#[tokio::test]
async fn h4_01_h4_03_the_fault_has_dates_and_names() {
    let ca = Ca::new("Root");
    let mut expired = leaf_params(&[MX]);
    expired.not_after = date_time_ymd(2026, 2, 28);
    let scripted = Scripted::start(secure(ca.issue(expired).server(), &[]));
    let error = refused(connect(&ca, &scripted, Posture::Authenticate).await);
    assert_eq!(
        error.cause.to_string(),
        "the certificate is not valid: it expired on 2026-02-28T00:00:00Z and now is \
         2026-03-01T12:00:00Z"
    );
    let scripted = Scripted::start(secure(ca.leaf(&["a.test", "b.test"]).server(), &[]));
    let error = refused(connect(&ca, &scripted, Posture::Authenticate).await);
    let Cause::Certificate(failure) = error.cause else {
        panic!("{error}");
    };
    assert_eq!(
        failure.fault,
        CertificateFault::HostMismatch {
            expected: MX.into(),
            names: vec!["a.test".into(), "b.test".into()],
        }
    );
}

#[tokio::test]
async fn an_intermediate_that_is_sent_is_used() {
    let ca = Ca::new("Root");
    let inner = ca.intermediate("Inner");
    let leaf = inner.leaf(&["*.d.test"]).with(inner.der());
    let scripted = Scripted::start(secure(leaf.server(), &[]));
    assert!(connect(&ca, &scripted, Posture::Authenticate).await.is_ok());
    // Row I2-11: it is not remembered for a host that does not send it.
    let scripted = Scripted::start(secure(inner.leaf(&[MX]).server(), &[]));
    assert!(
        connect(&ca, &scripted, Posture::Authenticate)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn observed_is_never_authenticated_whatever_it_saw() {
    let ca = Ca::new("Root");
    for posture in OBSERVING {
        let scripted = Scripted::start(secure(ca.leaf(&[MX]).server(), &[]));
        let connection = connect(&ca, &scripted, posture).await.unwrap();
        let verdict = connection.facts().tls.clone().unwrap().verdict;
        assert_eq!(
            verdict,
            TlsVerdict::Observed {
                certificate: Ok(()),
                signature: SignatureCheck::Checked,
            }
        );
        assert!(verdict.would_verify());
        assert_ne!(
            connection.key(),
            &connector(&ca).pool_key(&peer_of(&scripted), Posture::Authenticate),
            "row I1-12"
        );
    }
}

/// Row I4-02: a certificate is public; showing it proves nothing without its key.
#[tokio::test]
async fn i4_02_a_copied_certificate_without_its_key() {
    let ca = Ca::new("Root");
    let (victim, thief) = (ca.leaf(&[MX]), ca.leaf(&["thief.test"]));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for posture in [
            Posture::Authenticate,
            Posture::DangerousEncrypt,
            Posture::DangerousOpportunistic,
        ] {
            let server = victim.server_with_key_of(&thief, &[version]);
            let scripted = Scripted::start(secure(server, &[]));
            let error = refused(connect(&ca, &scripted, posture).await);
            assert!(
                matches!(
                    error.cause,
                    Cause::Handshake(HandshakeFault::WrongSignature)
                ),
                "{posture} {version:?}: {error}"
            );
            assert_eq!(error.cause.reason().key(), "tls-handshake");
            let heard = scripted.heard().await;
            assert!(!heard.lines.iter().any(|l| l.starts_with("MAIL")));
        }
    }
}

/// Row I4-02: what cannot be checked is recorded, and authenticated for nobody.
#[tokio::test]
async fn i4_02_a_signature_that_cannot_be_checked() {
    let ca = Ca::new("Root");
    let (old, thief) = (Leaf::version_1(), ca.leaf(&["thief.test"]));
    let versions = rustls::ALL_VERSIONS;
    for server in [old.server(), old.server_with_key_of(&thief, versions)] {
        let scripted = Scripted::start(secure(Arc::clone(&server), &[]));
        let error = refused(connect(&ca, &scripted, Posture::Authenticate).await);
        assert_eq!(
            error.cause.report_code().as_deref(),
            Some("unsupported-version")
        );
        for posture in OBSERVING {
            let scripted = Scripted::start(secure(Arc::clone(&server), &[]));
            let connection = connect(&ca, &scripted, posture).await.unwrap();
            let verdict = connection.facts().tls.clone().unwrap().verdict;
            assert!(!verdict.would_verify());
            assert!(matches!(
                verdict,
                TlsVerdict::Observed {
                    certificate: Err(_),
                    signature: SignatureCheck::Unchecked,
                }
            ));
        }
    }
}

#[tokio::test]
async fn h3_27_a_client_certificate_is_asked_for_and_not_sent() {
    let ca = Ca::new("Root");
    let scripted = Scripted::start(secure(ca.leaf(&[MX]).server_that_asks(&ca), &[]));
    let connection = connect(&ca, &scripted, Posture::Authenticate)
        .await
        .unwrap();
    let tls = connection.facts().tls.clone().unwrap();
    assert!(tls.client_certificate_requested);
    assert_eq!(tls.verdict, TlsVerdict::Authenticated);
}

/// In TLS 1.3 the alert comes after the handshake is over for the client.
#[tokio::test]
async fn h3_27_a_client_certificate_that_is_demanded_is_told_as_that() {
    let ca = Ca::new("Root");
    for version in rustls::ALL_VERSIONS {
        let server = ca.leaf(&[MX]).server_that_demands(&ca, &[version]);
        let scripted = Scripted::start(secure(server, &[]));
        let error = refused(connect(&ca, &scripted, Posture::Authenticate).await);
        assert_eq!(error.cause.reason().key(), "tls-handshake", "{error}");
        assert!(
            error
                .cause
                .to_string()
                .contains("asks for a client certificate"),
            "{version:?}: {error}"
        );
    }
}

#[tokio::test]
async fn h3_04_broken_handshakes() {
    let ca = Ca::new("Root");
    for (step, code, why) in [
        (Step::Reset, "handshake-reset", "reset"),
        (Step::Close, "handshake-eof", "closed"),
        (say("250 this is not TLS\r\n"), "not-tls", "text"),
        (
            say("\u{15}\u{3}\u{3}\0\u{2}\u{2}("),
            "alert-handshake-failure",
            "alert",
        ),
        (
            say("\u{15}\u{3}\u{1}\0\u{2}\u{2}F"),
            "protocol-version",
            "TLS 1.0 only",
        ),
    ] {
        for posture in [Posture::Authenticate, Posture::DangerousOpportunistic] {
            let mut script = greet(&["STARTTLS"]);
            script.extend([hear("STARTTLS"), say("220 go\r\n"), Step::HearOctets(100)]);
            script.push(step.clone());
            let scripted = Scripted::start(script);
            let error = refused(connect(&ca, &scripted, posture).await);
            assert_eq!(error.stage, Stage::Handshake, "{why}");
            assert_eq!(
                error.cause.reason().key(),
                "tls-handshake",
                "{why}: {error}"
            );
            assert_eq!(
                error.cause.report_code().as_deref(),
                Some(code),
                "{why}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_handshake_that_hangs_is_a_timeout() {
    let ca = Ca::new("Root");
    let mut script = greet(&["STARTTLS"]);
    script.extend([hear("STARTTLS"), say("220 go\r\n"), Step::Silence]);
    let scripted = Scripted::start(script);
    let mut config = crate::config();
    config.timeouts.handshake = std::time::Duration::from_millis(100);
    let connector = smtp_client::Connector::new(config, crate::roots(&ca));
    let error = refused(connector.connect(&peer_of(&scripted)).await);
    assert_eq!(
        error.cause.report_code().as_deref(),
        Some("handshake-timeout")
    );
}

#[tokio::test]
async fn h4_12_a_chain_of_a_megabyte_is_not_taken() {
    let ca = Ca::new("Root");
    let large = ca.leaf(&[MX]).with(vec![0x30; 1 << 20].into());
    let mut many = ca.leaf(&[MX]);
    for n in 0..300 {
        many = many.with(vec![n as u8; 4_096].into());
    }
    for (leaf, posture) in [
        (&large, Posture::Authenticate),
        (&many, Posture::Authenticate),
        (&large, Posture::DangerousOpportunistic),
    ] {
        let scripted = Scripted::start(secure(leaf.server(), &[]));
        let error = refused(connect(&ca, &scripted, posture).await);
        assert_eq!(error.stage, Stage::Handshake);
        let code = error.cause.report_code();
        assert_eq!(code.as_deref(), Some("certificate-too-large"), "{error}");
    }
}

#[tokio::test]
async fn h4_16_roots_replaced_are_in_force_at_once() {
    let (old, new) = (Ca::new("Old"), Ca::new("New"));
    let roots = crate::roots(&old);
    let connector = smtp_client::Connector::new(crate::config(), roots.clone());
    let first = Scripted::start(secure(old.leaf(&[MX]).server(), &[]));
    let connection = connector.connect(&peer_of(&first)).await.unwrap();
    let key = connection.key().clone();
    let replacement = crate::roots(&new).current();
    let generation = roots.replace((*replacement).clone());
    assert_eq!(generation, key.roots_generation + 1);
    assert_ne!(
        connector.pool_key(&peer_of(&first), Posture::Authenticate),
        key
    );
    let second = Scripted::start(secure(old.leaf(&[MX]).server(), &[]));
    assert!(connector.connect(&peer_of(&second)).await.is_err());
    let third = Scripted::start(secure(new.leaf(&[MX]).server(), &[]));
    assert!(connector.connect(&peer_of(&third)).await.is_ok());
    connection.quit().await;
    let heard = first.heard().await;
    assert_eq!(heard.lines.last().map(String::as_str), Some("QUIT"));
}

#[test]
fn a5_15_only_suites_with_forward_secrecy_and_authenticated_encryption_are_offered() {
    // The connector takes this provider as it is (RFC 9325 section 4.2).
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    assert!(!provider.cipher_suites.is_empty());
    for suite in &provider.cipher_suites {
        let name = format!("{:?}", suite.suite());
        let fresh_keys = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        let sealed = name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305_");
        assert!(fresh_keys && sealed, "{name}");
    }
}
