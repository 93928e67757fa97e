//! Certificates of every kind against the PKIX verdict that *authenticate* acts on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mail_types::{HostName, Timestamp};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    NameConstraints, RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tls_words::Untrusted;

use super::{Noting, pkix, server_name};
use crate::{
    CertificateFailure, CertificateFault, Revocation, RevocationFailure, RootSet, RootSource,
};

/// An authority of a test's own.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

impl Ca {
    fn root(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca(name);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn leaf(&self, names: &[&str]) -> CertificateDer<'static> {
        self.issue(leaf(names))
    }

    fn issue(&self, params: CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    fn trusted(&self) -> RootSet {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.pem).unwrap();
        RootSet::load(&[RootSource::File(file.path().to_owned())])
            .unwrap()
            .0
    }
}

fn ca(name: &str) -> CertificateParams {
    let mut params = leaf(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = Vec::new();
    params
}

fn leaf(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

type Verdict = Result<(), CertificateFault>;

/// What *authenticate* says of this chain for this MX name.
fn verdict(roots: &RootSet, chain: &[&CertificateDer<'static>], mx: &str) -> Verdict {
    verdict_at(roots, chain, mx, NOW)
}

fn verdict_at(
    roots: &RootSet,
    chain: &[&CertificateDer<'static>],
    mx: &str,
    now: Timestamp,
) -> Verdict {
    let mx = HostName::parse(mx).unwrap();
    let name = server_name(&mx).map_err(|failure| failure.fault)?;
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let chain: Vec<CertificateDer<'static>> = chain.iter().map(|der| (*der).clone()).collect();
    let (leaf, intermediates) = chain.split_first().unwrap();
    pkix::judge(leaf, intermediates, &name, roots, &algorithms, now)
}

fn code(verdict: Verdict) -> &'static str {
    match verdict {
        Ok(()) => "ok",
        Err(fault) => CertificateFailure {
            fault,
            leaf: None,
            presented: 1,
        }
        .code(),
    }
}

fn stored(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn i1_01_i1_02_only_a_dns_name_in_the_san_counts() {
    let ca = Ca::root("Root");
    let roots = ca.trusted();
    let mut common_name = leaf(&[]);
    common_name
        .distinguished_name
        .push(DnType::CommonName, "mx1.d.test");
    assert_eq!(
        code(verdict(&roots, &[&ca.issue(common_name)], "mx1.d.test")),
        "host-mismatch"
    );
    for san in [
        SanType::Rfc822Name("mx1.d.test".try_into().unwrap()),
        SanType::URI("mx1.d.test".try_into().unwrap()),
        SanType::URI("smtp://mx1.d.test".try_into().unwrap()),
        SanType::IpAddress([127, 0, 0, 25].into()),
    ] {
        let mut params = leaf(&[]);
        params
            .distinguished_name
            .push(DnType::CommonName, "mx1.d.test");
        params.subject_alt_names = vec![san.clone()];
        let verdict = verdict(&roots, &[&ca.issue(params)], "mx1.d.test");
        assert_eq!(code(verdict), "host-mismatch", "{san:?}");
    }
    // Beside a DNS name they do no harm.
    let mut params = leaf(&["mx1.d.test"]);
    params
        .subject_alt_names
        .push(SanType::IpAddress([127, 0, 0, 25].into()));
    assert_eq!(
        code(verdict(&roots, &[&ca.issue(params)], "mx1.d.test")),
        "ok"
    );
}

#[test]
fn i1_04_i1_05_i1_06_i1_09_wildcards_are_one_whole_label_the_first() {
    let ca = Ca::root("Root");
    let roots = ca.trusted();
    for (san, mx, want) in [
        ("*.d.test", "a.d.test", true),
        ("*.d.test", "A.D.Test", true),
        ("*.d.test", "mx_1.d.test", true),
        ("*.d.test", "a.b.d.test", false),
        ("*.d.test", "d.test", false),
        ("f*.d.test", "foo.d.test", false),
        ("*x.d.test", "mx.d.test", false),
        ("a.*.test", "a.d.test", false),
        ("*.*.d.test", "a.b.d.test", false),
        ("*", "mx1.d.test", false),
        ("*.test", "d.test", false),
        ("*.", "d.test", false),
    ] {
        let verdict = verdict(&roots, &[&ca.leaf(&[san])], mx);
        assert_eq!(verdict.is_ok(), want, "{san} for {mx}: {verdict:?}");
    }
}

#[test]
fn i1_07_i1_08_names_are_a_labels_without_a_final_dot() {
    let ca = Ca::root("Root");
    let roots = ca.trusted();
    let a_label = ca.leaf(&["xn--mx-fka.test"]);
    assert_eq!(code(verdict(&roots, &[&a_label], "xn--mx-fka.test")), "ok");
    // DNS publishes `mx1.d.test.`: the dot is no part of the name.
    let plain = ca.leaf(&["mx1.d.test"]);
    assert_eq!(code(verdict(&roots, &[&plain], "mx1.d.test.")), "ok");
    let weak = weak_roots();
    for (pem, mx) in [(U_LABEL, "xn--m-xka.d.test"), (TRAILING_DOT, "mx1.d.test")] {
        assert!(verdict(&weak, &[&stored(pem)], mx).is_err(), "{mx}");
    }
}

#[test]
fn i2_01_i2_02_the_chain_and_the_dates_of_all_its_parts_count() {
    let ca = Ca::root("Root");
    let roots = ca.trusted();
    let stranger = Ca::root("Root");
    assert!(verdict(&roots, &[&stranger.leaf(&["mx.test"])], "mx.test").is_err());
    let mut params = self::ca("Inner");
    params.not_after = date_time_ymd(2026, 1, 1);
    let expired = ca.below(params);
    let leaf = expired.leaf(&["mx.test"]);
    assert_eq!(
        code(verdict(&roots, &[&leaf, &expired.der], "mx.test")),
        "expired"
    );
    // Another certificate of the same intermediate is found, whatever the order.
    let renewed = self::ca("Inner")
        .signed_by(expired.issuer.key(), &ca.issuer)
        .unwrap();
    for chain in [
        [&leaf, &expired.der, renewed.der()],
        [&leaf, renewed.der(), &expired.der],
    ] {
        assert_eq!(code(verdict(&roots, &chain, "mx.test")), "ok");
    }
}

#[test]
fn i2_03_i2_04_i2_06_h4_13_constraints_of_issuers_hold() {
    let root = Ca::root("Root");
    let roots = root.trusted();
    // An end entity that plays issuer.
    let mut params = leaf(&["issuer.test"]);
    params.distinguished_name.push(DnType::CommonName, "No CA");
    params.is_ca = IsCa::ExplicitNoCa;
    let no_ca = root.below(params);
    let chain = [&no_ca.leaf(&["mx.test"]), &no_ca.der];
    assert_eq!(
        code(verdict(&roots, &chain, "mx.test")),
        "issuer-is-not-a-ca"
    );
    // Path length 0, and one more all the same.
    let mut params = ca("Zero");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let zero = root.below(params);
    let below = zero.below(ca("Below zero"));
    let chain = [&below.leaf(&["mx.test"]), &below.der, &zero.der];
    assert_eq!(code(verdict(&roots, &chain, "mx.test")), "path-length");
    // Name constraints, for wildcards too.
    let mut params = ca("Constrained");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("accept.d.test".to_owned())],
        excluded_subtrees: vec![GeneralSubtree::DnsName("no.accept.d.test".to_owned())],
    });
    let only = root.below(params);
    for (san, mx, want) in [
        ("mx.accept.d.test", "mx.accept.d.test", "ok"),
        ("mx.d.test", "mx.d.test", "name-constraint"),
        ("*.d.test", "accept.d.test", "name-constraint"),
        (
            "mx.no.accept.d.test",
            "mx.no.accept.d.test",
            "name-constraint",
        ),
        ("*.accept.d.test", "no.accept.d.test", "name-constraint"),
    ] {
        let chain = [&only.leaf(&[san]), &only.der];
        assert_eq!(code(verdict(&roots, &chain, mx)), want, "{san}");
    }
    let mut params = leaf(&["mx.test"]);
    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    unknown.set_criticality(true);
    params.custom_extensions = vec![unknown];
    let chain = [&root.issue(params)];
    assert_eq!(
        code(verdict(&roots, &chain, "mx.test")),
        "unhandled-critical-extension"
    );
}

#[test]
fn i2_03_h4_12_a_path_is_at_most_so_deep() {
    let root = Ca::root("Root");
    let roots = root.trusted();
    for (depth, want) in [(6, "ok"), (7, "path-depth"), (30, "path-depth")] {
        let mut authorities = vec![root.below(ca("Level 1"))];
        while authorities.len() < depth {
            let next = authorities.last().unwrap();
            let next = next.below(ca(&format!("Level {}", authorities.len() + 1)));
            authorities.push(next);
        }
        let leaf = authorities.last().unwrap().leaf(&["mx.test"]);
        let mut chain = vec![&leaf];
        chain.extend(authorities.iter().rev().map(|a| &a.der));
        assert_eq!(code(verdict(&roots, &chain, "mx.test")), want, "{depth}");
    }
}

#[test]
fn i2_05_a_certificate_for_clients_is_none_for_servers() {
    let ca = Ca::root("Root");
    let roots = ca.trusted();
    for (usages, want) in [
        (vec![ExtendedKeyUsagePurpose::ClientAuth], "invalid-purpose"),
        (
            vec![ExtendedKeyUsagePurpose::EmailProtection],
            "invalid-purpose",
        ),
        (Vec::new(), "ok"),
        (
            vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
            "ok",
        ),
    ] {
        let mut params = leaf(&["mx.test"]);
        params.extended_key_usages = usages;
        assert_eq!(code(verdict(&roots, &[&ca.issue(params)], "mx.test")), want);
    }
    // A CA's certificate is no server's.
    let mut params = self::ca("Inner");
    params.subject_alt_names = leaf(&["mx.test"]).subject_alt_names;
    let inner = ca.below(params);
    assert_eq!(
        code(verdict(&roots, &[&inner.der], "mx.test")),
        "ca-used-as-end-entity"
    );
}

#[test]
fn i2_08_a_hostile_chain_is_given_up_soon() {
    let (root, stranger) = (Ca::root("Root"), Ca::root("Stranger"));
    let roots = root.trusted();
    // All of one name and one key, so that each may be the issuer of each.
    let inner = stranger.below(ca("Inner"));
    let leaf = inner.leaf(&["mx.test"]);
    let crossed: Vec<CertificateDer<'static>> = (0..500)
        .map(|n| {
            let mut params = ca("Inner");
            params.serial_number = Some(SerialNumber::from(n));
            let certificate = params.signed_by(inner.issuer.key(), &inner.issuer).unwrap();
            certificate.der().clone()
        })
        .collect();
    let mut chain = vec![&leaf];
    chain.extend(&crossed);
    let began = Instant::now();
    assert!(verdict(&roots, &chain, "mx.test").is_err());
    // A tenth of a second on an idle machine, many on one with much to do; without a budget it would be hours.
    assert!(
        began.elapsed() < Duration::from_mins(1),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn i2_09_h4_11_short_keys_and_old_digests_are_refused() {
    let weak = weak_roots();
    for chain in [vec![SHA1_LEAF], vec![UNDER_SHA1, SHA1_ISSUER]] {
        let chain: Vec<_> = chain.into_iter().map(stored).collect();
        let chain: Vec<_> = chain.iter().collect();
        let verdict = verdict(&weak, &chain, "mx1.d.test");
        assert_eq!(code(verdict), "unsupported-signature-algorithm");
    }
    // The chain says nothing of the leaf's own key: no signature by such a one can be checked, so
    // that *authenticate* ends the handshake.
    for pem in [RSA_1024, P_192] {
        assert!(!super::inspect::is_checkable(&stored(pem)));
    }
    assert!(super::inspect::is_checkable(&stored(WEAK_ROOT)));
}

#[test]
fn i2_10_keys_of_all_common_kinds_pass() {
    let ca = Ca::root("Root");
    let roots = ca.trusted();
    let kinds: [&'static SignatureAlgorithm; 5] = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ];
    for kind in kinds {
        let key = KeyPair::generate_for(kind).unwrap();
        let leaf = leaf(&["mx.test"]).signed_by(&key, &ca.issuer).unwrap();
        assert_eq!(
            code(verdict(&roots, &[leaf.der()], "mx.test")),
            "ok",
            "{kind:?}"
        );
        assert!(super::inspect::is_checkable(leaf.der()), "{kind:?}");
    }
}

#[test]
fn i3_05_dates_are_held_to_the_second() {
    let ca = Ca::root("Root");
    let roots = ca.trusted();
    let mut params = leaf(&["mx.test"]);
    params.not_before = date_time_ymd(2026, 3, 1);
    params.not_after = date_time_ymd(2026, 4, 1);
    let leaf = ca.issue(params);
    let (from, to) = (1_772_323_200, 1_775_001_600);
    for (at, want) in [
        (from - 1, "not-yet-valid"),
        (from, "ok"),
        (to, "ok"),
        (to + 1, "expired"),
    ] {
        let verdict = verdict_at(&roots, &[&leaf], "mx.test", Timestamp::from_secs(at));
        assert_eq!(code(verdict), want, "{at}");
    }
}

#[test]
fn h8_06_dates_beyond_31_and_32_bits_are_dates_like_others() {
    let ca = Ca::root("Root");
    for (year, far) in [
        (1971, false),
        (2038, true),
        (2050, true),
        (2106, true),
        (9999, true),
    ] {
        let mut params = leaf(&["mx.test"]);
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let leaf = ca.issue(params);
        let verdict = verdict_at(&ca.trusted(), &[&leaf], "mx.test", NOW);
        assert_eq!(code(verdict), if far { "ok" } else { "expired" }, "{year}");
    }
}

#[test]
fn i3_06_i3_08_revocation_lists_hard_and_soft() {
    let ca = Ca::root("Root");
    let stranger = Ca::root("Root");
    let numbered = |serial: u64| {
        let mut params = leaf(&["mx.test"]);
        params.serial_number = Some(SerialNumber::from(serial));
        ca.issue(params)
    };
    let (good, bad) = (numbered(1), numbered(2));
    let fresh = crl(&ca, 2, 2027);
    let old = crl(&ca, 2, 2026);
    let forged = crl(&stranger, 1, 2027);
    let other = crl(&Ca::root("Other"), 1, 2027);
    use RevocationFailure::{Hard, Soft};
    for (list, mode, of_good, of_bad) in [
        (&fresh, Soft, "ok", "revoked"),
        (&fresh, Hard, "ok", "revoked"),
        (&old, Soft, "ok", "revoked"),
        (&old, Hard, "crl-expired", "crl-expired"),
        (&other, Soft, "ok", "ok"),
        (
            &other,
            Hard,
            "unknown-revocation-status",
            "unknown-revocation-status",
        ),
        (
            &forged,
            Soft,
            "crl-not-by-the-issuer",
            "crl-not-by-the-issuer",
        ),
        (
            &forged,
            Hard,
            "crl-not-by-the-issuer",
            "crl-not-by-the-issuer",
        ),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), list).unwrap();
        let (lists, warnings) = Revocation::load(&[file.path().to_owned()], mode).unwrap();
        assert!(warnings.is_empty() && lists.count() == 1);
        let outdated = lists.outdated(NOW).count();
        assert_eq!(outdated, usize::from(list == &old));
        let roots = ca.trusted().with_revocation(lists);
        for (leaf, want) in [(&good, of_good), (&bad, of_bad)] {
            assert_eq!(code(verdict(&roots, &[leaf], "mx.test")), want, "{mode:?}");
        }
    }
    let missing = ["/nonexistent/list.crl".into()];
    assert!(Revocation::load(&missing, Hard).is_err());
    let (none, warnings) = Revocation::load(&missing, Soft).unwrap();
    assert_eq!((none.count(), warnings.len()), (0, 1));
}

/// A list that revokes this serial number, in PEM; the next is due at the beginning of the year.
fn crl(ca: &Ca, serial: u64, next_update: i32) -> String {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2025, 2, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 2, 1),
        next_update: date_time_ymd(next_update, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&ca.issuer).unwrap().pem().unwrap()
}

fn weak_roots() -> RootSet {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), WEAK_ROOT).unwrap();
    RootSet::load(&[RootSource::File(file.path().to_owned())])
        .unwrap()
        .0
}

/// 2026-11-24: the stored certificates are valid from the day on which they were made.
const NOW: Timestamp = Timestamp::from_secs(1_795_478_400);
const WEAK_ROOT: &str = include_str!("../../tests/certificates/weak-root.pem");
const RSA_1024: &str = include_str!("../../tests/certificates/rsa-1024.pem");
const P_192: &str = include_str!("../../tests/certificates/p192.pem");
const SHA1_LEAF: &str = include_str!("../../tests/certificates/sha1-leaf.pem");
const SHA1_ISSUER: &str = include_str!("../../tests/certificates/sha1-issuer.pem");
const UNDER_SHA1: &str = include_str!("../../tests/certificates/under-sha1.pem");
const U_LABEL: &str = include_str!("../../tests/certificates/u-label.pem");
const TRAILING_DOT: &str = include_str!("../../tests/certificates/trailing-dot.pem");

/// The verifier of policy hosts accepts what rustls accepts, and says why it refuses a chain.
#[test]
fn h2_01_h2_03_i4_08_policy_hosts_are_judged_by_rustls_and_the_cause_is_noted() {
    let (ca, stranger) = (Ca::root("Our CA"), Ca::root("Other CA"));
    let own_key = KeyPair::generate().unwrap();
    let own = leaf(&["a.test"]).self_signed(&own_key).unwrap();
    let noted_of = |chain: &[CertificateDer<'static>], roots: &RootSet| {
        let to = Arc::new(Mutex::new(None));
        let into = Arc::clone(&to);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Noting {
            verifier: WebPkiServerVerifier::builder_with_provider(
                Arc::clone(roots.store()),
                provider,
            )
            .build()
            .unwrap(),
            note: Arc::new(move |why: Untrusted| *into.lock() = Some(why.to_string())),
        };
        let name = ServerName::try_from("a.test").unwrap();
        let verdict =
            verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], pkix::unix_time(NOW));
        (verdict.is_ok(), to.lock().take())
    };
    let good = ca.leaf(&["a.test"]);
    let refused = |words: &str| (false, Some(words.to_owned()));
    assert_eq!(
        noted_of(std::slice::from_ref(&good), &ca.trusted()),
        (true, None)
    );
    assert_eq!(
        noted_of(&[ca.leaf(&["b.test"])], &ca.trusted()),
        (false, None),
        "another name is told by the error itself"
    );
    let (alone, words) = noted_of(std::slice::from_ref(&good), &stranger.trusted());
    assert!(!alone && words.is_some_and(|w| w.contains("does not present")));
    let (whole, words) = noted_of(&[good, ca.der.clone()], &stranger.trusted());
    assert!(!whole && words.is_some_and(|w| w.contains("Our CA is not trusted")));
    for own in [own.der().clone(), stranger.der.clone()] {
        assert_eq!(
            noted_of(&[own], &ca.trusted()),
            refused("it is self-signed")
        );
    }
}
