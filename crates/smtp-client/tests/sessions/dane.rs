//! TLSA records: what each kind accepts and refuses, under every posture.

use std::sync::Arc;

use dane::{HostRecords, Records, TlsaSet};
use mail_types::{HostName, TlsaRecord};
use rcgen::date_time_ymd;
use rustls_pki_types::CertificateDer;
use smtp_client::{
    Cause, CertificateFault, Connection, DaneFault, DaneMatch, DaneVerdict, HandshakeFault, Peer,
    Pool, PoolLimits, Posture, SessionError, SignatureCheck, Stage, TlsVerdict,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ca::{Ca, Leaf, leaf_params};
use crate::peer::{Scripted, secure};
use crate::{MX, connector, peer_of};

/// The record of this kind that names the certificate.
fn tlsa(usage: u8, selector: u8, matching: u8, der: &CertificateDer<'_>) -> TlsaRecord {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    let part = match selector {
        0 => der.as_ref(),
        _ => certificate.tbs_certificate.subject_pki.raw,
    };
    let data = match matching {
        0 => part.to_vec(),
        1 => digest(&aws_lc_rs::digest::SHA256, part),
        _ => digest(&aws_lc_rs::digest::SHA512, part),
    };
    TlsaRecord {
        usage,
        selector,
        matching,
        data,
    }
}

fn digest(algorithm: &'static aws_lc_rs::digest::Algorithm, part: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(algorithm, part).as_ref().to_vec()
}

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn records(list: &[TlsaRecord], further: &[&str]) -> Arc<HostRecords> {
    let Records::Usable(set) = TlsaSet::read(list) else {
        panic!("no usable record: {list:?}");
    };
    let further: Vec<HostName> = further.iter().map(|n| name(n)).collect();
    Arc::new(HostRecords::new(name(MX), set, &further))
}

fn peer(scripted: &Scripted, dane: &Arc<HostRecords>) -> Peer {
    Peer {
        dane: Some(Arc::clone(dane)),
        ..peer_of(scripted)
    }
}

/// One session with a server of this certificate. No public authority is trusted but `ca`.
async fn session(
    ca: &Ca,
    leaf: &Leaf,
    dane: &Arc<HostRecords>,
    posture: Posture,
) -> Result<Connection, SessionError> {
    let scripted = Scripted::start(secure(leaf.server(), &[]));
    connector(ca)
        .connect_with(&peer(&scripted, dane), posture)
        .await
}

fn by(connection: &Connection) -> Option<DaneMatch> {
    let tls = connection.facts().tls.as_ref().unwrap();
    tls.dane.authenticated()
}

async fn accepted(leaf: &Leaf, dane: &Arc<HostRecords>, want: DaneMatch, why: &str) {
    let nobody = Ca::new("Nobody's");
    match session(&nobody, leaf, dane, Posture::Dane).await {
        Ok(connection) => assert_eq!(by(&connection), Some(want), "{why}"),
        Err(error) => panic!("{why}: {error}"),
    }
}

async fn fault(leaf: &Leaf, dane: &Arc<HostRecords>, why: &str) -> DaneFault {
    let nobody = Ca::new("Nobody's");
    match session(&nobody, leaf, dane, Posture::Dane).await {
        Ok(_) => panic!("{why}: the session must not open"),
        Err(error) => {
            assert_eq!(error.stage, Stage::Handshake, "{why}");
            match error.cause {
                Cause::Dane(failure) => failure.fault,
                other => panic!("{why}: {other}"),
            }
        }
    }
}

#[tokio::test]
async fn c3_01_c3_05_a_published_certificate_or_key_whatever_its_names_and_dates() {
    let mut params = leaf_params(&["somewhere.else.test"]);
    params.not_after = date_time_ymd(2025, 6, 1);
    let ca = Ca::new("Root");
    for leaf in [
        Leaf::self_signed(&[MX]),
        ca.issue(params),
        ca.leaf(&["other.test"]),
    ] {
        for (selector, matching) in [(1, 1), (1, 2), (0, 0), (0, 1), (0, 2), (1, 0)] {
            let dane = records(&[tlsa(3, selector, matching, &leaf.chain[0])], &[]);
            let why = format!("3 {selector} {matching}");
            accepted(&leaf, &dane, DaneMatch::EndEntity, &why).await;
            let fault = fault(&ca.leaf(&[MX]), &dane, &why).await;
            assert!(matches!(fault, DaneFault::NoMatch { .. }), "{why}: {fault}");
        }
    }
}

#[tokio::test]
async fn c3_02_c3_05_c3_10_a_chain_to_the_published_authority() {
    let ca = Ca::new("Self-made");
    let inner = ca.intermediate("Inner");
    let leaf = inner.leaf(&[MX]).with(inner.der()).with(ca.der());
    for authority in [&ca, &inner] {
        for (selector, matching) in [(0, 1), (1, 1), (0, 0), (1, 0), (0, 2), (1, 2)] {
            let dane = records(&[tlsa(2, selector, matching, &authority.der())], &[]);
            let why = format!("2 {selector} {matching}");
            accepted(&leaf, &dane, DaneMatch::TrustAnchor, &why).await;
            let stranger = Ca::new("Self-made");
            let other = stranger.leaf(&[MX]).with(stranger.der());
            let fault = fault(&other, &dane, &why).await;
            assert!(matches!(fault, DaneFault::NoMatch { .. }), "{why}: {fault}");
        }
    }
    // DANE-TA(2) names an authority above the host's certificate, never that one itself.
    let dane = records(&[tlsa(2, 0, 1, &leaf.chain[0])], &[]);
    assert!(matches!(
        fault(&leaf, &dane, "its own certificate as authority").await,
        DaneFault::NoMatch { .. }
    ));
}

#[tokio::test]
async fn c3_02_names_and_dates_count_under_an_authority() {
    let ca = Ca::new("Self-made");
    let mut expired = leaf_params(&[MX]);
    expired.not_after = date_time_ymd(2026, 2, 28);
    let mut future = leaf_params(&[MX]);
    future.not_before = date_time_ymd(2026, 3, 2);
    let old = Ca::expired("Old");
    for (leaf, authority, reason, why) in [
        (ca.issue(expired), &ca, "cert-expired", "expired leaf"),
        (ca.issue(future), &ca, "cert-not-trusted", "future leaf"),
        (
            ca.leaf(&["other.test"]),
            &ca,
            "cert-host-mismatch",
            "wrong name",
        ),
        (old.leaf(&[MX]), &old, "cert-expired", "expired authority"),
    ] {
        for (selector, matching) in [(0, 1), (1, 1), (0, 0)] {
            let dane = records(&[tlsa(2, selector, matching, &authority.der())], &[]);
            let leaf = leaf.clone().with(authority.der());
            let found = fault(&leaf, &dane, why).await;
            assert!(
                matches!(&found, DaneFault::Anchored { fault, .. } if fault.reason().key() == reason),
                "{why}: {found}"
            );
        }
    }
}

#[tokio::test]
async fn c3_03_further_names_count_if_the_caller_vouches_for_them() {
    let ca = Ca::new("Self-made");
    let leaf = ca.leaf(&["d.test"]).with(ca.der());
    let authority = [tlsa(2, 1, 1, &ca.der())];
    let secure_mx = records(&authority, &["d.test"]);
    accepted(&leaf, &secure_mx, DaneMatch::TrustAnchor, "next-hop domain").await;
    let found = fault(&leaf, &records(&authority, &[]), "insecure MX").await;
    let DaneFault::Anchored {
        fault: CertificateFault::HostMismatch { expected, names },
        ..
    } = found
    else {
        panic!("{found}");
    };
    assert_eq!((&*expected, names), (MX, vec!["d.test".into()]));
}

#[tokio::test]
async fn c3_06_the_strongest_digest_decides() {
    let leaf = Leaf::self_signed(&[MX]);
    let other = Leaf::self_signed(&[MX]);
    let dane = records(
        &[
            tlsa(3, 1, 1, &leaf.chain[0]),
            tlsa(3, 1, 2, &other.chain[0]),
        ],
        &[],
    );
    let found = fault(&leaf, &dane, "only the weaker digest matches").await;
    assert!(matches!(found, DaneFault::NoMatch { .. }));
    accepted(&other, &dane, DaneMatch::EndEntity, "the stronger one").await;
}

/// The chain has a root that everybody trusts, cross-signed by the one that DNS names.
#[tokio::test]
async fn c3_07_the_chain_goes_on_past_a_root_that_is_trusted_locally() {
    let (trusted, named) = (Ca::new("Trusted"), Ca::new("Named"));
    let cross = trusted.cross_signed("Trusted", &named);
    let leaf = trusted.leaf(&[MX]).with(cross).with(named.der());
    for (selector, matching) in [(0, 1), (1, 1)] {
        let dane = records(&[tlsa(2, selector, matching, &named.der())], &[]);
        let connection = session(&trusted, &leaf, &dane, Posture::Dane).await;
        assert_eq!(by(&connection.unwrap()), Some(DaneMatch::TrustAnchor));
    }
    // The same key in another certificate: a record of the key (SPKI) matches either.
    let dane = records(&[tlsa(2, 1, 1, &trusted.der())], &[]);
    accepted(&leaf, &dane, DaneMatch::TrustAnchor, "cross-signed").await;
}

#[tokio::test]
async fn c3_08_an_authority_in_the_record_need_not_be_presented() {
    let ca = Ca::new("Self-made");
    let leaf = ca.leaf(&[MX]);
    for selector in [0, 1] {
        let dane = records(&[tlsa(2, selector, 0, &ca.der())], &[]);
        accepted(&leaf, &dane, DaneMatch::TrustAnchor, "2 x 0, leaf only").await;
        let other = records(&[tlsa(2, selector, 0, &Ca::new("Self-made").der())], &[]);
        let found = fault(&leaf, &other, "another authority of that name").await;
        assert!(matches!(found, DaneFault::NoMatch { .. }), "{found}");
    }
    // A digest cannot stand for a certificate that nobody has.
    let dane = records(&[tlsa(2, 1, 1, &ca.der())], &[]);
    let found = fault(&leaf, &dane, "2 1 1, leaf only").await;
    assert!(matches!(found, DaneFault::NoMatch { .. }), "{found}");
}

#[tokio::test]
async fn c3_09_a_bad_record_beside_a_good_one() {
    let leaf = Leaf::self_signed(&[MX]);
    let mut bad = tlsa(3, 1, 2, &Leaf::self_signed(&[MX]).chain[0]);
    bad.data.pop();
    let dane = records(&[bad, tlsa(3, 1, 1, &leaf.chain[0])], &[]);
    accepted(&leaf, &dane, DaneMatch::EndEntity, "one bad, one good").await;
}

#[tokio::test]
async fn c3_11_c4_04_sni_is_the_base_domain_and_pkix_verifies_the_mx_name() {
    let ca = Ca::new("Root");
    let leaf = ca.leaf(&[MX]);
    let Records::Usable(set) = TlsaSet::read(&[tlsa(3, 1, 1, &leaf.chain[0])]) else {
        panic!("a usable record");
    };
    let expanded = Arc::new(HostRecords::new(name("mx.provider.test"), set, &[]));
    for posture in [Posture::Dane, Posture::DaneAndAuthenticate] {
        let scripted = Scripted::start(secure(leaf.server(), &[]));
        let peer = peer(&scripted, &expanded);
        let connection = connector(&ca).connect_with(&peer, posture).await.unwrap();
        assert_eq!(by(&connection), Some(DaneMatch::EndEntity));
        connection.quit().await;
        let heard = scripted.heard().await;
        assert_eq!(heard.sni.as_deref(), Some("mx.provider.test"));
    }
    // The base domain's name in the certificate does not make it valid for the MX name.
    let leaf = ca.leaf(&["mx.provider.test"]);
    let Records::Usable(set) = TlsaSet::read(&[tlsa(3, 1, 1, &leaf.chain[0])]) else {
        panic!("a usable record");
    };
    let expanded = Arc::new(HostRecords::new(name("mx.provider.test"), set, &[]));
    let refused = session(&ca, &leaf, &expanded, Posture::DaneAndAuthenticate).await;
    let error = refused.err().expect("the MX name is not in it");
    assert_eq!(error.cause.reason().key(), "cert-host-mismatch");
}

#[tokio::test]
async fn c4_01_c4_02_i4_04_neither_makes_up_for_the_other() {
    let ca = Ca::new("Root");
    let (good, own) = (ca.leaf(&[MX]), Leaf::self_signed(&[MX]));
    let for_good = records(&[tlsa(3, 1, 1, &good.chain[0])], &[]);
    let for_own = records(&[tlsa(3, 1, 1, &own.chain[0])], &[]);
    let both = Posture::DaneAndAuthenticate;

    let connection = session(&ca, &good, &for_good, both).await.unwrap();
    let tls = connection.facts().tls.as_ref().unwrap();
    assert_eq!(tls.verdict, TlsVerdict::Authenticated);
    assert_eq!(tls.dane, DaneVerdict::Authenticated(DaneMatch::EndEntity));

    let error = session(&ca, &good, &for_own, both).await.err().unwrap();
    assert_eq!(error.cause.reason().key(), "dane-mismatch");
    assert_eq!(error.cause.report_code().as_deref(), Some("dane-no-match"));
    assert_eq!(
        error.judged.unwrap().certificate,
        Ok(()),
        "PKIX had no objection"
    );

    let error = session(&ca, &own, &for_own, both).await.err().unwrap();
    assert_eq!(error.cause.report_code().as_deref(), Some("self-signed"));
    let judged = error.judged.unwrap();
    assert_eq!(judged.dane.would_match(), Some(DaneMatch::EndEntity));

    // DANE alone: what PKIX says is recorded and decides nothing.
    let connection = session(&ca, &own, &for_own, Posture::Dane).await.unwrap();
    let tls = connection.facts().tls.as_ref().unwrap();
    assert!(matches!(
        &tls.verdict,
        TlsVerdict::Observed {
            certificate: Err(_),
            signature: SignatureCheck::Checked
        }
    ));
}

#[tokio::test]
async fn what_is_not_demanded_is_recorded_and_authenticates_nobody() {
    let ca = Ca::new("Root");
    let (good, own) = (ca.leaf(&[MX]), Leaf::self_signed(&[MX]));
    let dane = records(&[tlsa(3, 1, 1, &good.chain[0])], &[]);
    for posture in [
        Posture::Authenticate,
        Posture::DangerousEncrypt,
        Posture::DangerousOpportunistic,
    ] {
        let connection = session(&ca, &good, &dane, posture).await.unwrap();
        let verdict = &connection.facts().tls.as_ref().unwrap().dane;
        assert_eq!(*verdict, DaneVerdict::Observed(Ok(DaneMatch::EndEntity)));
        assert_eq!(verdict.authenticated(), None);
    }
    let connection = session(&ca, &own, &dane, Posture::DangerousEncrypt).await;
    let connection = connection.unwrap();
    let failure = connection.facts().tls.as_ref().unwrap().dane.failure();
    assert_eq!(failure.map(|f| f.code()), Some("dane-no-match"));
}

#[tokio::test]
async fn dane_without_records_is_refused() {
    let ca = Ca::new("Root");
    for posture in [Posture::Dane, Posture::DaneAndAuthenticate] {
        let scripted = Scripted::start(secure(ca.leaf(&[MX]).server(), &[]));
        let (connector, peer) = (connector(&ca), peer_of(&scripted));
        let refused = connector.connect_with(&peer, posture).await;
        let error = refused.err().expect("nothing to hold it against");
        assert_eq!(error.cause.reason().key(), "local", "{error}");
    }
}

/// Row I4-02 with TLSA records: a certificate that DNS names is public too.
#[tokio::test]
async fn i4_02_c3_01_a_copied_certificate_without_its_key_matches_nothing() {
    let ca = Ca::new("Root");
    let (victim, thief) = (ca.leaf(&[MX]), ca.leaf(&["thief.test"]));
    for usage in [2, 3] {
        let der = if usage == 2 {
            ca.der()
        } else {
            victim.chain[0].clone()
        };
        let dane = records(&[tlsa(usage, 0, 0, &der)], &[]);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            for posture in [Posture::Dane, Posture::DaneAndAuthenticate] {
                let server = victim.server_with_key_of(&thief, &[version]);
                let scripted = Scripted::start(secure(server, &[]));
                let opening = connector(&ca);
                let opening = opening.connect_with(&peer(&scripted, &dane), posture).await;
                let error = opening.err().expect("a stolen certificate");
                assert!(
                    matches!(
                        error.cause,
                        Cause::Handshake(HandshakeFault::WrongSignature)
                    ),
                    "{posture} {version:?}: {error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn i1_12_a_connection_serves_only_the_records_it_was_held_against() {
    let ca = Ca::new("Root");
    let leaf = ca.leaf(&[MX]);
    let dane = records(&[tlsa(3, 1, 1, &leaf.chain[0])], &[]);
    let equal = records(&[tlsa(3, 1, 1, &leaf.chain[0])], &[]);
    let more = records(
        &[tlsa(3, 1, 1, &leaf.chain[0]), tlsa(3, 0, 1, &ca.der())],
        &[],
    );
    let scripted = Scripted::start(secure(leaf.server(), &[]));
    let connector = connector(&ca);
    let opened = peer(&scripted, &dane);
    let opening = connector.connect_with(&opened, Posture::Dane);
    let connection = opening.await.unwrap();
    assert_eq!(connection.facts().dane.as_ref(), Some(&dane));
    let pool = Pool::new(PoolLimits::default());
    pool.put(connection);
    let key = |peer: &Peer, posture| connector.pool_key(peer, posture);
    let (same, without) = (peer(&scripted, &equal), peer_of(&scripted));
    assert!(
        pool.take(&key(&peer(&scripted, &more), Posture::Dane))
            .is_none()
    );
    assert!(pool.take(&key(&without, Posture::Authenticate)).is_none());
    assert!(
        pool.take(&key(&same, Posture::DaneAndAuthenticate))
            .is_none()
    );
    assert!(pool.take(&key(&same, Posture::Dane)).is_some());
}
