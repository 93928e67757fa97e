use mail_types::{HostName, Timestamp};
use mta_sts::Policy;
use reasons::Reason;
use smtp_client::{
    Cause, CertificateFailure, CertificateFault, DaneFailure, DaneFault, DaneMatch, DaneVerdict,
    HandshakeFault, Judged, OpeningTimes, Reply, SessionError, SocketFault, Stage, Transcript,
};

use super::*;

fn policy(mode: &str) -> Policy {
    let text = format!("version: STSv1\nmode: {mode}\nmx: mx1.d.test\nmax_age: 86400\n");
    Policy::parse(text.as_bytes()).unwrap().policy
}

fn mx(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn certificate(fault: CertificateFault) -> CertificateFailure {
    CertificateFailure {
        fault,
        leaf: None,
        presented: 1,
    }
}

fn expired() -> CertificateFault {
    CertificateFault::Expired {
        not_after: Timestamp::from_secs(1),
        now: Timestamp::from_secs(2),
    }
}

fn no_match() -> DaneVerdict {
    DaneVerdict::Observed(Err(Box::new(DaneFailure {
        fault: DaneFault::NoMatch {
            base: "mx1.d.test".into(),
            records: "3 1 1 01".into(),
        },
        leaf: None,
        presented: 1,
    })))
}

fn error(cause: Cause, judged: Option<Judged>) -> SessionError {
    SessionError {
        stage: Stage::Handshake,
        cause,
        tls: None,
        judged: judged.map(Box::new),
        transcript: Transcript::default(),
        from: None,
        times: OpeningTimes::default(),
    }
}

fn shown(cause: Cause) -> Option<Shown> {
    Shown::of_error(&error(cause, None))
}

/// What a certificate with this fault shows.
fn with(fault: CertificateFault) -> Shown {
    shown(Cause::Certificate(Box::new(certificate(fault)))).unwrap()
}

fn good(dane: Checked) -> Shown {
    let pkix = Checked::Good;
    Shown::Tls { pkix, dane }
}

/// Counts as `about type code`, for a host that the policy lists.
fn told(policy: Option<&Policy>, records: Records<'_>, shown: &Shown) -> Vec<String> {
    counts(policy, &mx("mx1.d.test"), records, shown)
        .map(words)
        .collect()
}

fn words((about, fault): Count) -> String {
    let fault = match fault {
        None => "good".to_owned(),
        Some(Fault { result, code }) => {
            let code = code.as_deref().unwrap_or("-");
            format!("{} {code}", result.key())
        }
    };
    format!("{about:?} {fault}")
}

#[test]
fn b2_01_a_session_that_is_as_the_policy_demands_is_a_good_one() {
    let enforce = policy("enforce");
    let session = good(Checked::Unasked);
    assert_eq!(
        told(Some(&enforce), Records::Absent, &session),
        ["Sts good"]
    );
}

#[test]
fn b2_02_testing_counts_as_enforce_does() {
    for mode in ["enforce", "testing"] {
        let policy = policy(mode);
        let told = told(Some(&policy), Records::Absent, &with(expired()));
        assert_eq!(told, ["Sts certificate-expired expired"], "{mode}");
    }
}

#[test]
fn b2_03_b2_04_no_starttls_and_a_refused_one_are_told_apart() {
    let offered = shown(Cause::StartTlsNotOffered("SIZE".into())).unwrap();
    let refused = Reply::parse("454 4.7.0 TLS not available").unwrap();
    let refused = shown(Cause::StartTlsRefused(refused)).unwrap();
    let (enforce, none) = (policy("enforce"), Records::Absent);
    assert_eq!(
        told(Some(&enforce), none, &offered),
        ["Sts starttls-not-supported -"]
    );
    assert_eq!(
        told(Some(&enforce), none, &refused),
        ["Sts starttls-not-supported starttls-refused-454"]
    );
}

#[test]
fn b2_05_b2_06_b2_07_what_is_wrong_with_a_certificate() {
    let mismatch = CertificateFault::HostMismatch {
        expected: "mx1.d.test".into(),
        names: vec![],
    };
    let unknown = CertificateFault::UnknownIssuer { issuer: "X".into() };
    let missing = CertificateFault::MissingIntermediate { issuer: "X".into() };
    let table = [
        (mismatch, "certificate-host-mismatch host-mismatch"),
        (expired(), "certificate-expired expired"),
        (unknown, "certificate-not-trusted unknown-issuer"),
        (missing, "certificate-not-trusted missing-intermediate"),
        (
            CertificateFault::SelfSigned,
            "certificate-not-trusted self-signed",
        ),
        (
            CertificateFault::Constraint("name-constraints"),
            "certificate-not-trusted name-constraints",
        ),
        (
            CertificateFault::Purpose("extended-key-usage"),
            "certificate-not-trusted extended-key-usage",
        ),
    ];
    let enforce = policy("enforce");
    for (fault, expected) in table {
        let told = told(Some(&enforce), Records::Absent, &with(fault));
        assert_eq!(told, [format!("Sts {expected}")]);
    }
}

#[test]
fn b2_08_everything_else_is_a_validation_failure() {
    let enforce = policy("enforce");
    for (fault, code) in [
        (
            HandshakeFault::Alert("handshake-failure".into()),
            "alert-handshake-failure",
        ),
        (HandshakeFault::ProtocolVersion, "protocol-version"),
        (HandshakeFault::Eof, "handshake-eof"),
        (HandshakeFault::Timeout, "handshake-timeout"),
    ] {
        let shown = shown(Cause::Handshake(fault)).unwrap();
        let told = told(Some(&enforce), Records::Absent, &shown);
        assert_eq!(told, [format!("Sts validation-failure {code}")]);
    }
    // The host is not listed: whatever its TLS is worth, and also before anybody asks it.
    let other = mx("other.d.test");
    let session = good(Checked::Unasked);
    let counted = counts(Some(&enforce), &other, Records::Absent, &session);
    let expected = "Sts validation-failure sts-mx-mismatch";
    assert_eq!(counted.map(words).collect::<Vec<_>>(), [expected]);
    let reason = Reason::MxNotInPolicy;
    let left_out = overlooked(Some(&enforce), &other, Records::Absent, reason);
    assert_eq!(left_out.map(words).unwrap(), expected);
    // By a rule of our own that lists others: that is no fault of the domain's.
    let listed = mx("mx1.d.test");
    assert_eq!(
        overlooked(Some(&enforce), &listed, Records::Absent, reason),
        None
    );
}

#[test]
fn b2_09_b2_10_b2_11_what_is_wrong_with_tlsa_records() {
    let session = good(Checked::dane(&no_match()));
    // Decision AMB-31: no record is wrong, it is the certificate.
    assert_eq!(
        told(None, Records::Usable, &session),
        ["Tlsa validation-failure dane-no-match"]
    );
    let unusable = Records::Unusable("usage 1");
    let session = good(Checked::Unasked);
    assert_eq!(
        told(None, unusable, &session),
        ["Tlsa tlsa-invalid usage 1"]
    );
    let name = mx("mx1.d.test");
    let before = |records, reason| overlooked(None, &name, records, reason).map(words).unwrap();
    assert_eq!(
        before(unusable, Reason::DaneUnusable),
        "Tlsa tlsa-invalid usage 1"
    );
    assert_eq!(
        before(Records::Unknown, Reason::DaneLookup),
        "Tlsa dnssec-invalid tlsa-lookup"
    );
    assert_eq!(
        before(Records::Absent, Reason::DaneRequired),
        "Tlsa dane-required -"
    );
    // What is ours is nobody else's fault.
    assert_eq!(
        overlooked(None, &name, Records::Unknown, Reason::Local),
        None
    );
}

#[test]
fn b2_15_what_the_network_does_for_a_moment_is_not_reported() {
    let socket = || SocketFault {
        kind: std::io::ErrorKind::ConnectionReset,
        text: "reset".into(),
    };
    for cause in [
        Cause::Connect(socket()),
        Cause::Lost(socket()),
        Cause::Timeout(std::time::Duration::from_secs(1)),
        Cause::Remote(Reply::parse("421 4.3.0 busy").unwrap()),
        Cause::Local("no random numbers".into()),
    ] {
        assert_eq!(shown(cause.clone()), None, "{cause}");
    }
    // After ClientHello it is the handshake's.
    assert!(shown(Cause::Handshake(HandshakeFault::Reset)).is_some());
}

#[test]
fn b2_20_records_and_a_policy_are_counted_each() {
    let enforce = policy("enforce");
    let both = good(Checked::Good);
    assert_eq!(
        told(Some(&enforce), Records::Usable, &both),
        ["Sts good", "Tlsa good"]
    );
    // What one says against the certificate, the other need not.
    let judged = Judged {
        certificate: Err(Box::new(certificate(expired()))),
        dane: DaneVerdict::Observed(Ok(DaneMatch::EndEntity)),
    };
    let cause = Cause::Certificate(Box::new(certificate(expired())));
    let refused = Shown::of_error(&error(cause, Some(judged))).unwrap();
    assert_eq!(
        told(Some(&enforce), Records::Usable, &refused),
        ["Sts certificate-expired expired", "Tlsa good"]
    );
}

#[test]
fn b2_21_without_a_policy_any_tls_is_good() {
    for published in [None, Some(policy("none"))] {
        let told = |shown: &Shown| told(published.as_ref(), Records::Absent, shown);
        assert_eq!(told(&with(expired())), ["NoPolicy good"]);
        let plain = shown(Cause::StartTlsNotOffered("".into())).unwrap();
        assert_eq!(told(&plain), ["NoPolicy starttls-not-supported -"]);
    }
    // Where there are records that is a policy.
    assert_eq!(
        told(None, Records::Usable, &good(Checked::Good)),
        ["Tlsa good"]
    );
}
