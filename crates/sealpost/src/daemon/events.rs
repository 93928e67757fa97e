//! Events of the policy cache and of the process, as lines of the event log.

use attempt::{Fields, Level, LogEvent};
use aws_lc_rs::digest::{SHA256, digest};
use delivery::TracedPart;
use mail_types::{HostName, Timestamp};
use mta_sts::Mode;
use policy_cache::{ClockNews, EventKind, FetchError, PolicyEvent, Severity};

/// An event of the policy cache.
pub(crate) struct PolicyLine<'a>(pub(crate) &'a PolicyEvent);

impl LogEvent for PolicyLine<'_> {
    fn event(&self) -> &'static str {
        self.0.kind.name()
    }

    fn level(&self) -> Level {
        match self.0.kind.severity() {
            Severity::Info => Level::Info,
            Severity::Warning => Level::Warn,
            Severity::Error => Level::Error,
        }
    }

    fn at(&self) -> Timestamp {
        self.0.at
    }

    fn fields(&self, fields: &mut Fields<'_>) {
        let e = self.0;
        if let Some(domain) = &e.domain {
            fields.add("domain", domain.as_str());
        }
        if let Some(id) = &e.id {
            fields.add("id", id.as_str());
        }
        if let Some(mode) = e.mode {
            fields.add("mode", mode.as_str());
        }
        if e.expires_at.is_some() {
            fields.time_option("expires_at", e.expires_at);
        }
        kind(e, fields);
    }
}

fn kind(e: &PolicyEvent, fields: &mut Fields<'_>) {
    let kind = &e.kind;
    match kind {
        EventKind::FirstContact { result } => {
            fields.add("first_contact", &true).add("result", result);
        }
        EventKind::Fetched { warnings } => {
            lenient(warnings, fields);
        }
        EventKind::Changed {
            old_mode,
            old_max_age,
            warnings,
            texts: (old, new),
        } => {
            before(*old_mode, *old_max_age, fields);
            // As `sha256sum` of the file says, wherever it is fetched from.
            fields
                .add("old_sha256", &*sha256(old))
                .add("sha256", &*sha256(new));
            lenient(warnings, fields);
        }
        EventKind::Weakened {
            old_mode,
            old_max_age,
        } => {
            before(*old_mode, *old_max_age, fields);
        }
        EventKind::Broad { pattern } => {
            fields.add("pattern", pattern.as_str());
        }
        EventKind::RecordUnusable { .. }
        | EventKind::FetchFailed { .. }
        | EventKind::RefreshFailed { .. }
        | EventKind::FallbackToCache { .. }
        | EventKind::TestingWouldFail { .. } => trouble(kind, fields),
        EventKind::Forgotten { .. } | EventKind::Pinned { .. } | EventKind::Exempted { .. } => {
            order(kind, fields);
        }
        EventKind::StoreFailed { .. }
        | EventKind::IndexFailed { .. }
        | EventKind::StoreRebuilt { .. }
        | EventKind::StoreLost { .. } => store(kind, fields),
        EventKind::AllFetchesFail { domains } => {
            fields
                .add("domains", domains)
                .add("effect", NONE_NEW)
                .add("detail", NOT_REACHED);
        }
        EventKind::Expired => {
            let (effect, detail) = expired(e.mode);
            fields.add("effect", effect).add("detail", detail);
        }
        EventKind::Clock { news, accepted_by } => clock(news, accepted_by.as_deref(), fields),
        EventKind::Refreshed | EventKind::RateLimited | EventKind::Refetch | EventKind::Full => {}
    }
}

/// What keeps a domain's mail from the protection that it publishes, or would keep it from being delivered.
fn trouble(kind: &EventKind, fields: &mut Fields<'_>) {
    match kind {
        EventKind::RecordUnusable { cause } => {
            fields.display("cause", cause).add("effect", UNPROTECTED);
        }
        EventKind::FetchFailed {
            cause,
            kept,
            back_off,
        } => {
            fields
                .add("key", cause.key())
                .display("cause", cause)
                .seconds("back_off", *back_off)
                .add("effect", effect(cause, *kept));
        }
        EventKind::RefreshFailed {
            cause,
            failures,
            alert,
        } => {
            fields
                .add("key", cause.key())
                .display("cause", cause)
                .add("failures", failures)
                .add("alert", alert);
        }
        EventKind::FallbackToCache { cause } => {
            fields.display("cause", cause);
        }
        EventKind::TestingWouldFail {
            mx,
            ip,
            reason,
            detail,
        } => {
            fields
                .add("mx", mx.as_str())
                .add("ip", ip)
                .add("reason", reason.as_str())
                .text("detail", detail);
        }
        _ => {}
    }
}

/// What an operator did.
fn order(kind: &EventKind, fields: &mut Fields<'_>) {
    match kind {
        EventKind::Forgotten { by, reason } => {
            fields.add("by", by.as_str()).add("why", reason.as_str());
        }
        EventKind::Pinned { by, reason, set } => {
            fields
                .add("by", by.as_str())
                .add("why", reason.as_str())
                .add("set", set);
        }
        EventKind::Exempted { by, reason, until } => {
            fields
                .add("by", by.as_str())
                .add("why", reason.as_str())
                .time_option("until", *until);
        }
        _ => {}
    }
}

fn clock(news: &ClockNews, accepted_by: Option<&str>, fields: &mut Fields<'_>) {
    let (by, back) = match news {
        ClockNews::TakenBack => return,
        ClockNews::Jumped { by, back } | ClockNews::Believed { by, back } => (*by, *back),
    };
    let direction = if back { "back" } else { "ahead" };
    fields.seconds("delta", by).add("direction", direction);
    match news {
        ClockNews::Jumped { .. } => fields.add("detail", HELD),
        ClockNews::Believed { .. } => fields.add("by", accepted_by.unwrap_or("two steady hours")),
        ClockNews::TakenBack => fields,
    };
}

/// What becomes of mail without a fetch.
fn effect(cause: &FetchError, kept: bool) -> &'static str {
    match cause {
        _ if kept => "the stored policy stays in force",
        FetchError::ClockDoubted(_) => "mail waits",
        _ if cause.is_ours() => "mail waits",
        _ => UNPROTECTED,
    }
}

/// What it means that a policy of this mode has run out, and what can be done.
const fn expired(mode: Option<Mode>) -> (&'static str, &'static str) {
    match mode {
        Some(Mode::None) => (
            "none: it asked for nothing",
            "the next mail has a new one looked for",
        ),
        Some(Mode::Testing) => (
            "what enforcing it would have kept back is noted no longer",
            "the next mail has a new one fetched; `sealpost check DOMAIN` says whether it can be had",
        ),
        Some(Mode::Enforce) | None => (
            "the next mail has a new one fetched; where that cannot be had, it goes as if the domain had no policy, \
             unless something else asks for TLS",
            "`sealpost check DOMAIN` says whether a new one can be had; until then `sealpost policy pin` demands what \
             it demanded",
        ),
    }
}

const NONE_NEW: &str = "stored policies stay in force until they run out; mail to other domains goes as if they had no policy, unless \
     something else asks for TLS";

const NOT_REACHED: &str = "our own network may keep us from port 443 of others: see the firewall, tls.roots and the \
                           clock; `sealpost check DOMAIN` tries one";

const UNPROTECTED: &str =
    "mail goes as if the domain had no policy, unless something else asks for TLS";

const HELD: &str = "no policy and no mail runs out by that: the old time goes on until the new one has been \
                    steady for two hours, or `sealpost clock accept` says that it is right";

/// What befell the store on disk.
fn store(kind: &EventKind, fields: &mut Fields<'_>) {
    match kind {
        EventKind::StoreFailed { error } | EventKind::IndexFailed { error } => {
            fields.add("cause", error.as_str());
        }
        EventKind::StoreRebuilt {
            part,
            cause,
            policies,
        } => {
            fields
                .add("part", part.as_str())
                .add("cause", cause.as_str())
                .add("policies", policies);
        }
        EventKind::StoreLost { cause, policies } => {
            fields
                .add("cause", cause.as_str())
                .add("policies", policies);
        }
        _ => {}
    }
}

/// In hexadecimal digits.
pub(crate) fn sha256(text: &str) -> String {
    let sum = digest(&SHA256, text.as_bytes());
    sum.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn before(mode: Mode, max_age: std::time::Duration, fields: &mut Fields<'_>) {
    fields
        .add("old_mode", mode.as_str())
        .seconds("old_max_age", max_age);
}

fn lenient(warnings: &[impl std::fmt::Display], fields: &mut Fields<'_>) {
    if !warnings.is_empty() {
        let text = warnings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        fields.add("lenient", text.as_str());
    }
}

/// A part of an attempt that is traced.
pub(crate) struct TraceLine<'a> {
    pub(crate) at: Timestamp,
    pub(crate) subject: &'a str,
    pub(crate) part: &'a TracedPart<'a>,
}

impl LogEvent for TraceLine<'_> {
    fn event(&self) -> &'static str {
        match self.part.mx {
            Some(_) => "trace.session",
            None => "trace.plan",
        }
    }

    fn level(&self) -> Level {
        Level::Debug
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn fields(&self, fields: &mut Fields<'_>) {
        let lines: Vec<&str> = self.part.text.lines().collect();
        fields
            .add("subject", self.subject)
            .display("queue_id", &self.part.queue_id)
            .add("domain", self.part.domain)
            .add("mx", &self.part.mx.map(HostName::as_str))
            .add("ip", &self.part.ip)
            .add("lines", &lines);
    }
}

#[cfg(test)]
mod tests {
    use attempt::{Format, Formatter};
    use mail_types::Domain;

    use super::*;

    fn line(kind: EventKind, mode: Option<Mode>) -> String {
        let event = PolicyEvent {
            at: Timestamp::from_secs(0),
            domain: Domain::parse("d.test").ok(),
            id: None,
            mode,
            expires_at: None,
            kind,
        };
        let mut out = Vec::new();
        Formatter::new(Format::Json, "relay.test", "sealpost", 1)
            .write(&PolicyLine(&event), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a7_01_h2_30_what_ended_or_fails_says_what_that_means_and_what_to_do() {
        for (mode, effect) in [
            (Mode::Enforce, "as if the domain had no policy"),
            (Mode::Testing, "noted no longer"),
            (Mode::None, "asked for nothing"),
        ] {
            let line = line(EventKind::Expired, Some(mode));
            for part in ["\"effect\":", effect, "\"detail\":"] {
                assert!(line.contains(part), "{part}: {line}");
            }
        }
        let line = line(EventKind::AllFetchesFail { domains: 20 }, None);
        for part in ["\"domains\":20", "\"effect\":", "port 443"] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}
