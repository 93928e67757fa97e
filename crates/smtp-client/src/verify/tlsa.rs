//! The DANE verdict (RFC 7672 section 3, RFC 7671 sections 4 and 5) with its exact cause.
//!
//! No public authority has a say here, and no list of certificates that were made public is
//! consulted (RFC 7671 section 4.2, row C3-10): the records of a secure answer are all there is.

use dane::{Certificate, HostRecords};
use mail_types::Timestamp;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{inspect, pkix};
use crate::{CertificateFault, DaneFault, DaneMatch};

/// Whether the TLSA records accept this certificate at `now`.
pub(super) fn judge(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    records: &HostRecords,
    algorithms: &WebPkiSupportedAlgorithms,
    now: Timestamp,
) -> Result<DaneMatch, DaneFault> {
    // RFC 7672 section 3.1.1: with DANE-EE(3) neither names nor dates are looked at.
    let leaf = spki(end_entity);
    if leaf.is_some_and(|c| records.set.end_entity(&c).is_some()) {
        return Ok(DaneMatch::EndEntity);
    }
    let anchors = Anchors::of(end_entity, intermediates, records);
    let mut fault = None;
    for anchor in &anchors.0 {
        match anchored(end_entity, intermediates, anchor, records, algorithms, now) {
            Ok(()) => return Ok(DaneMatch::TrustAnchor),
            // A chain that does not lead to the authority says nothing beyond "no match".
            Err(CertificateFault::UnknownIssuer { .. }) => {}
            Err(other) => fault = fault.or(Some(other)),
        }
    }
    let base = records.base.as_str().into();
    Err(match fault {
        Some(fault) => DaneFault::Anchored { base, fault },
        None => DaneFault::NoMatch {
            base,
            records: list(records).into(),
        },
    })
}

/// An authority that a DANE-TA(2) record names.
struct Anchor<'a> {
    anchor: TrustAnchor<'a>,
    /// Its certificate, unless only its key is known.
    certificate: Option<&'a [u8]>,
}

struct Anchors<'a>(Vec<Anchor<'a>>);

impl<'a> Anchors<'a> {
    /// Everything that may end the chain: certificates above the leaf that a record matches, and what
    /// stands in the records themselves (RFC 7671 section 5.2.2). Every one is tried, so that a chain
    /// goes on past a certificate that leads nowhere (section 5.4, row C3-07).
    fn of(
        end_entity: &'a CertificateDer<'_>,
        intermediates: &'a [CertificateDer<'_>],
        records: &'a HostRecords,
    ) -> Self {
        let mut anchors = Self(Vec::new());
        for der in intermediates {
            if spki(der).is_some_and(|c| records.set.trust_anchor(&c).is_some()) {
                anchors.certificate(der);
            }
        }
        for der in records.set.anchor_certificates() {
            anchors.certificate(der);
        }
        for key in records.set.anchor_keys() {
            for below in std::iter::once(end_entity).chain(intermediates) {
                anchors.key(key, below);
            }
        }
        anchors
    }

    fn certificate(&mut self, der: &'a [u8]) {
        let certificate = CertificateDer::from(der);
        // What cannot be read vouches for nothing.
        if let Ok(anchor) = anchor_from_trusted_cert(&certificate) {
            self.0.push(Anchor {
                anchor: anchor.to_owned(),
                certificate: Some(der),
            });
        }
    }

    /// A bare key (`2 1 0`) has no name: it is tried as the issuer of each certificate.
    fn key(&mut self, spki: &'a [u8], below: &CertificateDer<'_>) {
        let Ok((_, certificate)) = X509Certificate::from_der(below) else {
            return;
        };
        if let (Some(subject), Some(key)) = (content(certificate.issuer().as_raw()), content(spki))
        {
            self.0.push(Anchor {
                anchor: TrustAnchor {
                    subject: subject.to_vec().into(),
                    subject_public_key_info: key.into(),
                    name_constraints: None,
                },
                certificate: None,
            });
        }
    }
}

/// The chain to one authority, its dates (the authority's own too), and the names (RFC 7672
/// section 3.2.2). Only the first fault is told.
fn anchored(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchor: &Anchor<'_>,
    records: &HostRecords,
    algorithms: &WebPkiSupportedAlgorithms,
    now: Timestamp,
) -> Result<(), CertificateFault> {
    let name = server_name(records)?;
    let explain = |error| match error {
        // Which authority signed it does not matter here: not this one.
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => {
            CertificateFault::UnknownIssuer { issuer: "".into() }
        }
        other => pkix::explain(other, end_entity, intermediates, &name),
    };
    let leaf = EndEntityCert::try_from(end_entity).map_err(explain)?;
    leaf.verify_for_usage(
        algorithms.all,
        std::slice::from_ref(&anchor.anchor),
        intermediates,
        pkix::unix_time(now),
        KeyUsage::server_auth(),
        None,
        None,
    )
    .map_err(explain)?;
    if let Some(fault) = anchor.certificate.and_then(|der| dates(der, now)) {
        return Err(fault);
    }
    let fits = |name: &mail_types::HostName| {
        ServerName::try_from(name.as_str())
            .is_ok_and(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok())
    };
    if records.names.iter().any(fits) {
        return Ok(());
    }
    let names: Vec<&str> = records.names.iter().map(|n| n.as_str()).collect();
    Err(CertificateFault::HostMismatch {
        expected: names.join(" or ").into(),
        names: inspect::leaf(end_entity).map_or_else(Vec::new, |l| l.subject_alt_names),
    })
}

/// An authority past its end vouches for nobody, although path validation does not ask for it.
fn dates(der: &[u8], now: Timestamp) -> Option<CertificateFault> {
    let leaf = inspect::leaf(&CertificateDer::from(der))?;
    if now > leaf.not_after {
        let not_after = leaf.not_after;
        return Some(CertificateFault::Expired { not_after, now });
    }
    (now < leaf.not_before).then_some(CertificateFault::NotYetValid {
        not_before: leaf.not_before,
        now,
    })
}

fn server_name(records: &HostRecords) -> Result<ServerName<'_>, CertificateFault> {
    ServerName::try_from(records.base.as_str())
        .map_err(|_| CertificateFault::Malformed("mx-name-is-no-dns-name"))
}

/// The certificate with its key cut out; `None` if it cannot be read, and then nothing matches it.
fn spki<'a>(der: &'a CertificateDer<'_>) -> Option<Certificate<'a>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(Certificate {
        der,
        spki: certificate.tbs_certificate.subject_pki.raw,
    })
}

/// What is inside a DER SEQUENCE.
fn content(der: &[u8]) -> Option<&[u8]> {
    let (_, any) = x509_parser::der_parser::asn1_rs::Any::from_der(der).ok()?;
    Some(any.data)
}

fn list(records: &HostRecords) -> String {
    let shown: Vec<String> = records
        .set
        .records()
        .iter()
        .take(RECORDS_SHOWN)
        .map(ToString::to_string)
        .collect();
    let more = records.set.records().len() - shown.len();
    match more {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

const RECORDS_SHOWN: usize = 4;
