//! Notifications: which recipients are told of what, and the message that tells it.

use attempt::{PolicyResult, PolicySource, Reason, Record};
use bytes::Bytes;
use dsn::{
    Action, Diagnostic, Host, Notification, Original, Policy, RecipientReport, Reporter,
    ReturnPath, Story,
};
use mail_types::{QueueId, Recipient, Ret, Timestamp};
use outbound_queue::{Leased, NewMessage};

use crate::settings::Settings;
use routes::is_routed;

/// One recipient that may have to be told about.
pub(crate) struct Notice<'a> {
    pub(crate) recipient: &'a Recipient,
    pub(crate) action: Action,
    pub(crate) record: &'a Record<'a>,
    /// When an attempt ended last; `None` if there was none.
    pub(crate) last_attempt: Option<Timestamp>,
    /// The message was held until its time was over.
    pub(crate) held: bool,
    /// What can be done, in words for the sender.
    pub(crate) advice: String,
}

/// What of the original is needed: the whole message, if it may be returned, or its header.
pub(crate) fn octets_needed(leased: &Leased, settings: &Settings) -> usize {
    let whole = leased.envelope.ret == Some(Ret::Full)
        && leased.envelope.size <= u64::try_from(settings.max_returned).unwrap_or(u64::MAX);
    if whole {
        settings.max_returned
    } else {
        MAX_HEADER
    }
}

/// Who speaks in notifications.
pub(crate) fn reporter(settings: &Settings) -> Reporter<'_> {
    Reporter {
        hostname: &settings.hostname,
        from: &settings.bounce_from,
        max_returned: settings.max_returned,
    }
}

/// One message for all recipients of one action, of whom the sender may be told ([`dsn::entitled`]).
/// `original` is what of it there is, `None` if it cannot be read. `None` if no message can be made.
pub(crate) fn compose(
    leased: &Leased,
    notices: &[Notice<'_>],
    original: Option<&[u8]>,
    settings: &Settings,
    id: QueueId,
    now: Timestamp,
) -> Option<NewMessage> {
    let hosts: Vec<Vec<Host<'_>>> = notices.iter().map(|n| hosts(n.record)).collect();
    // On a route the policy is that of the next hop, whose name the sender is not to know.
    let routed = is_routed(leased.destination.as_str());
    let places: Vec<String> = notices
        .iter()
        .map(|n| {
            if routed {
                String::new()
            } else {
                policy_url(n.record.domain)
            }
        })
        .collect();
    let told = notices.iter().zip(&places);
    let policies: Vec<Vec<Policy<'_>>> = told.map(|(n, at)| policies(n.record, at)).collect();
    let reports: Vec<RecipientReport<'_>> = notices
        .iter()
        .zip(hosts.iter().zip(&policies))
        .map(|(notice, (hosts, policies))| report(notice, hosts, policies))
        .collect();
    let is_whole = |o: &[u8]| u64::try_from(o.len()).is_ok_and(|n| n == leased.envelope.size);
    let notification = Notification {
        queue_id: leased.id,
        envelope: &leased.envelope,
        recipients: &reports,
        original: match original {
            None => Original::Withheld,
            Some(whole) if is_whole(whole) => Original::Whole(whole),
            Some(part) => Original::Headers(header(part)),
        },
        // What every way back carries (decision AMB-35).
        return_path: ReturnPath::SevenBit,
    };
    let reporter = reporter(settings);
    // From the ids alone, so that the same notification comes out the same after a crash (H7-04).
    let mut random = [0u8; 16];
    random[..8].copy_from_slice(&leased.id.raw().to_be_bytes());
    random[8..].copy_from_slice(&id.raw().to_be_bytes());
    match dsn::build(&notification, &reporter, now, random) {
        Ok(built) => {
            let message = settings.seal.apply(built.message, now);
            let mut envelope = built.envelope;
            envelope.size = message.len() as u64;
            Some(NewMessage {
                id,
                envelope,
                body: vec![Bytes::from(message)],
            })
        }
        Err(error) => {
            tracing::error!(queue_id = %leased.id, %error, "no notification can be made");
            None
        }
    }
}

fn report<'a>(
    notice: &'a Notice<'a>,
    hosts: &'a [Host<'a>],
    policies: &'a [Policy<'a>],
) -> RecipientReport<'a> {
    let record = notice.record;
    let diagnostic = match record.reply {
        Some(reply) => Some(Diagnostic::Smtp(reply)),
        None if record.reason.is_some() => Some(Diagnostic::Local(record.detail)),
        None => None,
    };
    let is_more = !hosts.is_empty() || !policies.is_empty() || !notice.advice.is_empty();
    let story = is_more.then_some(Story {
        domain: record.domain,
        policies,
        hosts,
        advice: &notice.advice,
    });
    RecipientReport {
        recipient: notice.recipient,
        action: notice.action,
        status: record.dsn,
        remote_mta: record.mx.filter(|_| has_spoken(record)),
        diagnostic,
        last_attempt: notice.last_attempt,
        held: notice.held,
        will_retry_until: record.gives_up,
        summary: record.detail,
        story: story.filter(|_| record.reason.is_some()),
    }
}

/// Whether a host took part in it. RFC 3464 section 2.3.5: one that was found in DNS and could not be reached, or was
/// left out, has reported nothing.
fn has_spoken(record: &Record<'_>) -> bool {
    if record.ip.is_none() {
        return false;
    }
    let Some(reason) = record.reason else {
        return true;
    };
    record.reply.is_some() || record.tls.is_some() || shows_a_host(reason)
}

/// Reasons that only a host gives to which there was a connection.
const fn shows_a_host(reason: Reason) -> bool {
    match reason {
        Reason::StarttlsNotOffered
        | Reason::StarttlsRefused
        | Reason::StarttlsInjection
        | Reason::TlsHandshake
        | Reason::CertExpired
        | Reason::CertHostMismatch
        | Reason::CertNotTrusted
        | Reason::DaneMismatch
        | Reason::RequireTlsUnsupported
        | Reason::TlsRequiredByPeer
        | Reason::ConnectionLost
        | Reason::Timeout
        | Reason::Remote4xx
        | Reason::Remote5xx
        | Reason::ExtensionMissing => true,
        Reason::MxNotInPolicy
        | Reason::DaneLookup
        | Reason::DaneUnusable
        | Reason::DaneRequired
        | Reason::RequireTlsNoTls
        | Reason::RouteAuth
        | Reason::PolicyLookup
        | Reason::DnsTemporary
        | Reason::DnsBogus
        | Reason::Connect
        | Reason::AddressRefused
        | Reason::NoSuchDomain
        | Reason::NullMx
        | Reason::NoUsableMx
        | Reason::Loop
        | Reason::DestinationSuspended
        | Reason::Parked
        | Reason::Local => false,
    }
}

fn hosts<'a>(record: &Record<'a>) -> Vec<Host<'a>> {
    record
        .tried
        .iter()
        .map(|t| Host {
            name: &t.mx,
            ip: t.ip,
            // This one was spoken to: its reply, or what became of it, stands before the list.
            failure: if t.detail.is_empty() {
                "answered as told above"
            } else {
                &t.detail
            },
        })
        .collect()
}

/// Only policies that had a part in it.
fn policies<'a>(record: &Record<'a>, published_at: &'a str) -> Vec<Policy<'a>> {
    let told = record
        .policies
        .iter()
        .filter(|p| p.result == PolicyResult::Failed);
    told.map(|p| Policy {
        source: match p.source {
            PolicySource::MtaSts => "MTA-STS",
            PolicySource::Dane => "DANE",
            PolicySource::RequireTls => "REQUIRETLS",
            PolicySource::Local => "local rule",
            PolicySource::Route => "route",
        },
        mode: &p.mode,
        id: p.id.as_deref(),
        published_at: match p.source {
            PolicySource::MtaSts => published_at,
            PolicySource::Dane
            | PolicySource::RequireTls
            | PolicySource::Local
            | PolicySource::Route => "",
        },
        fetched_at: p.fetched_at,
        expires_at: p.expires_at,
    })
    .collect()
}

/// Where a domain publishes its policy (RFC 8461 section 3.3).
fn policy_url(domain: &str) -> String {
    format!("https://mta-sts.{domain}/.well-known/mta-sts.txt")
}

/// Up to and without the empty line.
fn header(content: &[u8]) -> &[u8] {
    let end = content
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map_or(content.len(), |at| at + 2);
    content.get(..end).unwrap_or(content)
}

const MAX_HEADER: usize = 64 * 1024;
