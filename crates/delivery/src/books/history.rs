//! What the queue remembers of an attempt.

use attempt::{Authenticated, Case, DemandedBy, Record, TlsSession};
use outbound_queue::{AttemptNote, Demands, HostNote, LeasedRecipient};

use crate::books::{Entry, Pace};

/// What a recipient waited for before its destination was paused it waits for afterwards, too.
pub(crate) fn as_before(slot: &LeasedRecipient) -> AttemptNote {
    AttemptNote {
        reason: slot.reason.map(Into::into),
        ..AttemptNote::default()
    }
}

/// What is kept of an entry about one recipient, by its index.
pub(crate) fn remembered(
    entry: &Entry<'_>,
    index: usize,
    record: &Record<'_>,
    case: Case,
    by: Option<DemandedBy>,
) -> AttemptNote {
    match entry.pace {
        Pace::Attempted => note(record, case, by),
        Pace::Paused { .. } => {
            let mut slots = entry.leased.recipients.iter();
            let slot = slots.find(|slot| slot.index == index);
            slot.map(as_before).unwrap_or_default()
        }
        // What is no attempt has no history: the reason is all that is kept.
        Pace::PutOff(_) | Pace::Looked(_) => AttemptNote {
            reason: record.reason.map(Into::into),
            ..AttemptNote::default()
        },
    }
}

/// `case` is the failure's, `by` who demanded what was not met.
pub(crate) fn note(record: &Record<'_>, case: Case, by: Option<DemandedBy>) -> AttemptNote {
    let tried = record.tried.iter().take(HOSTS_NOTED).map(|t| HostNote {
        mx: t.mx.clone(),
        ip: t.ip,
        reason: t.reason.map(Into::into),
        case: t.case.into(),
    });
    AttemptNote {
        reason: record.reason.map(Into::into),
        status: Some(record.dsn),
        reply: record.reply.map(Into::into),
        detail: record.detail.into(),
        mx: record.mx.map(Into::into),
        ip: record.ip,
        tls: record.tls.map(tls_line),
        policy: Demands::of(record.policies),
        case: case.into(),
        by: by.unwrap_or_default().into(),
        tried: if record.tried.len() > 1 {
            tried.collect()
        } else {
            Box::default()
        },
    }
}

fn tls_line(tls: &TlsSession) -> Box<str> {
    let verified = match (tls.authenticated, tls.would_verify) {
        (Authenticated::DaneEe | Authenticated::DaneTa, _) => "certificate as TLSA records name it",
        (Authenticated::Pkix | Authenticated::None, true) => "certificate valid",
        (Authenticated::Pkix | Authenticated::None, false) => "certificate not valid",
    };
    let certificate = tls.cert.as_ref().map(certificate).unwrap_or_default();
    if tls.version == UNKNOWN {
        // The handshake ended over the certificate, for a reason that is told elsewhere.
        return format!("certificate refused{certificate}").into();
    }
    format!("{} {} ({verified}{certificate})", tls.version, tls.cipher).into()
}

/// Names, issuer and end, as far as a phrase has room for them.
fn certificate(cert: &attempt::Certificate) -> String {
    let shown: Vec<&str> = cert
        .subject_alt_names
        .iter()
        .map(|n| &**n)
        .take(3)
        .collect();
    let more = match cert.subject_alt_names.len() {
        n if n > shown.len() => format!(" and {} more", n - shown.len()),
        0 => "no name".to_owned(),
        _ => String::new(),
    };
    format!(
        ": for {}{more}; issued by {}; valid until {}",
        shown.join(", "),
        cert.issuer,
        cert.not_after.rfc3339().replace(".000Z", "Z")
    )
}

/// Hosts of an attempt that the queue remembers.
const HOSTS_NOTED: usize = 8;

/// What a session is called that never came to be.
const UNKNOWN: &str = "unknown";
