//! A domain where all is well, to be broken by tests.

use std::net::IpAddr;
use std::time::Duration;

use delivery::decide::hosts::Candidate;
use delivery::decide::standing::Standing;
use mail_types::{Domain, HostName, Security, Timestamp};
use mta_sts::{Parsed, Policy};
use smtp_client::{DaneVerdict, LeafCertificate, SignatureCheck, StartTls, TlsSession, TlsVerdict};

use crate::facts::{AddressFacts, Facts, HostFacts, MailHosts, Seen, Signed, TxtAnswer};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_772_323_200);

/// `d.test` with an enforced policy, reports, and the one host `mx.d.test`.
pub(crate) fn good() -> Facts {
    Facts {
        domain: Domain::parse("d.test").unwrap(),
        now: NOW,
        record: TxtAnswer::Records(vec![b"v=STSv1; id=1;".to_vec()]),
        policy: Ok(policy("enforce", &["mx.d.test"], 604_800)),
        mail: MailHosts::Hosts {
            hosts: vec![host("mx.d.test")],
            implicit: false,
            left_out: 0,
            security: Security::Insecure,
        },
        unusable: Vec::new(),
        reporting: TxtAnswer::Records(vec![b"v=TLSRPTv1; rua=mailto:tls@d.test".to_vec()]),
        routed_to: None,
        known: None,
        fault: None,
    }
}

pub(crate) fn policy(mode: &str, patterns: &[&str], max_age: u64) -> Parsed {
    let mut text = format!("version: STSv1\nmode: {mode}\nmax_age: {max_age}\n");
    for pattern in patterns {
        text.push_str(&format!("mx: {pattern}\n"));
    }
    Policy::parse(text.as_bytes()).unwrap()
}

/// A host with one address and a valid certificate.
pub(crate) fn host(name: &str) -> HostFacts {
    let name = HostName::parse(name).unwrap();
    let address = ip("192.0.2.1");
    HostFacts {
        candidate: Candidate {
            tls_name: name.clone(),
            name,
            preference: 10,
            port: 25,
            addresses: Ok(vec![address]),
            standing: Standing::default(),
        },
        signed: Signed {
            security: Some(Security::Insecure),
            ..Signed::default()
        },
        addresses: vec![AddressFacts {
            address,
            seen: session(Some(tls()), StartTls::Used),
        }],
    }
}

pub(crate) fn session(tls: Option<TlsSession>, starttls: StartTls) -> Seen {
    Seen::Session {
        starttls,
        tls: tls.map(Box::new),
    }
}

/// A TLS session with a valid certificate.
pub(crate) fn tls() -> TlsSession {
    TlsSession {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        group: "X25519MLKEM768".into(),
        certificate: Some(LeafCertificate {
            subject_alt_names: vec!["mx.d.test".into()],
            issuer: "CN=Test".into(),
            not_before: NOW - Duration::from_secs(86_400),
            not_after: NOW + Duration::from_secs(60 * 86_400),
            sha256: "00".into(),
        }),
        verdict: TlsVerdict::Observed {
            certificate: Ok(()),
            signature: SignatureCheck::Checked,
        },
        dane: DaneVerdict::NotPublished,
        client_certificate_requested: false,
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
