//! `/v1/queue`: list, show, summary.
use std::sync::Arc;

use attempt::Side;
use axum::extract::{Path, RawQuery, State};
use axum::response::Json;
use mail_types::{Host, MailboxError, QueueId};
use outbound_queue::{
    Addresses, Cursor, Keyed, MessageState, QueueError, QueueStore, SuspendedSides, WantedSide,
    goes_by_suspension,
};
use routes::RouteTable;

use crate::kept_back::KeptBack;
use crate::paused;
use crate::queue_view::{detail, item};
use crate::summary_view::{by_reason, held, in_a_word, is_parked, sentence};
use crate::{
    Control, DestinationSummary, Filter, Page, ProblemDetails, QueueDetail, QueueItem, QueueSummary,
};
use api_routes::{Problem, quoted};
use api_routes::{number, parameters, some};

/// Waiting messages that match, in the order of their next attempt. A page may have fewer than `limit`,
/// or none, and `next` all the same: only the messages themselves say whether they match, and looking
/// at very many is done piece by piece. Without `next` it is the last page.
#[utoipa::path(get, path = "/v1/queue", tag = "queue", params(
    ("domain" = Option<String>, Query, description = "Recipient domain, or an address literal in brackets."),
    ("sender" = Option<String>, Query, description = "Reverse-path; `<>` is the null reverse-path, `@` and a domain all of that domain."),
    ("recipient" = Option<String>, Query, description = "One recipient; `@` and a domain is all of that domain."),
    ("reason" = Option<String>, Query, description = "The key of the last attempt's reason."),
    ("side" = Option<String>, Query, description = "Whose move it is: `recipient-admin`, `us` or `wait`."),
    ("state" = Option<String>, Query, description = "`queued`, `deferred`, `active` or `held`."),
    ("older" = Option<u64>, Query, description = "In the queue for longer than this many seconds."),
    ("attempts-over" = Option<u32>, Query, description = "More attempts than this."),
    ("limit" = Option<u64>, Query, minimum = 1, description = "Rows of a page: 100 unless told, 10,000 at most."),
    ("cursor" = Option<String>, Query, description = "`next` of the page before."),
), responses(
    (status = 200, description = "A page.", body = Page<QueueItem>),
    (status = 400, description = "A filter is wrong.", body = ProblemDetails),
    (status = 503, description = "The queue is being read.", body = ProblemDetails),
))]
pub(crate) async fn list<S: QueueStore>(
    State(control): State<Control<S>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<QueueItem>>, Problem> {
    let query = ListQuery::parse(query.as_deref().unwrap_or_default())?;
    let now = control.now();
    let filter = to_filter(&query.filter, now.wall, || {
        control.delivery.suspended_sides()
    })?;
    let page = control
        .queue
        .list(&filter, query.cursor.as_ref(), query.limit, now)
        .await?;
    let suspended = |destination: &_| control.delivery.suspended(destination);
    let kept = KeptBack::of(&control.delivery);
    let items = page.messages.iter();
    let sides = |destination: &_| Some(control.delivery.suspended_for(destination)?.1);
    let items = items.map(|view| item(view, suspended, sides, &kept));
    let items = items.collect();
    Ok(Json(Page {
        items,
        next: page.next.map(Cursor::to_text),
    }))
}

/// One message: recipients, attempts, dialogue.
#[utoipa::path(get, path = "/v1/queue/{id}", tag = "queue", params(
    ("id" = String, Path, description = "Queue id."),
), responses(
    (status = 200, description = "The message.", body = QueueDetail),
    (status = 400, description = "That is no queue id.", body = ProblemDetails),
    (status = 404, description = "It is not in the queue.", body = ProblemDetails),
))]
pub(crate) async fn show<S: QueueStore>(
    State(control): State<Control<S>>,
    Path(id): Path<String>,
) -> Result<Json<QueueDetail>, Problem> {
    let id = parse_id(&id)?;
    let view = control.queue.show(id, control.now()).await;
    let view = view.map_err(|error| match error {
        QueueError::NotFound(_) => Problem::from(error).also(&format!(
            "`sealpost explain {id}` says how it ended, if that is remembered"
        )),
        other => other.into(),
    })?;
    let dialogue = |destination: &_, reason| control.delivery.dialogue(destination, reason);
    let suspended = |destination: &_| control.delivery.suspended(destination);
    let kept = KeptBack::of(&control.delivery);
    let sides = |destination: &_| Some(control.delivery.suspended_for(destination)?.1);
    Ok(Json(detail(&view, dialogue, suspended, sides, &kept)))
}

/// Waiting mail by domain and reason.
#[utoipa::path(get, path = "/v1/queue/summary", tag = "queue", params(
    ("limit" = Option<u64>, Query, minimum = 1, description = "Rows at most; all unless told."),
    ("cursor" = Option<String>, Query, description = "`next` of the page before. Rows that have changed places since may be missed or come twice."),
), responses(
    (status = 200, description = "Rows, most messages first.", body = QueueSummary),
    (status = 400, description = "The limit is no number, or the cursor none that was given.", body = ProblemDetails),
))]
pub(crate) async fn summary<S: QueueStore>(
    State(control): State<Control<S>>,
    RawQuery(query): RawQuery,
) -> Result<Json<QueueSummary>, Problem> {
    let (limit, from) = page_of_summary(query.as_deref().unwrap_or_default())?;
    let now = control.now();
    let summary = control
        .queue
        .summary(now, from, limit, &control.delivery.suspended_sides());
    let to = from.saturating_add(limit);
    let next = (to < summary.total).then(|| to.to_string());
    let settings = control.delivery.settings();
    let paused = control.delivery.paused();
    let pause_of = |domain: &str| {
        let mut all = paused.iter();
        let (_, pause) = all.find(|(paused, _)| paused.to_string() == domain)?;
        Some(pause)
    };
    let rows = summary.rows.into_iter().map(|row| {
        let (domain, route) = in_words(&row.destination, &settings.routes);
        let cause = goes_by_suspension(row.reason.as_ref(), row.held)
            .then(|| control.delivery.suspended_for(&row.destination))
            .flatten();
        let pause = pause_of(&domain);
        let next = row.next_attempt.filter(|_| pause.is_none());
        let left_alone = cause
            .and_then(|_| control.delivery.suspended(&row.destination))
            .map(|(_, cause)| cause);
        let is_held = row.held && !is_parked(row.reason.as_ref());
        let sentence = match (pause, row.blame) {
            _ if is_held => Some(held(&domain)),
            (Some(pause), None) => Some(paused::sentence(pause)),
            _ => left_alone.or_else(|| Some(sentence(row.blame?, &domain))),
        };
        DestinationSummary {
            domain,
            route,
            side: row.side.map(in_a_word),
            cause: cause.map(|(reason, _)| reason.key().to_owned()),
            reason: row.reason.map(|r| r.to_string()),
            sentence,
            held: row.held,
            paused: pause.is_some(),
            messages: row.count,
            oldest: row.oldest.rfc3339(),
            oldest_age: now.wall.since(row.oldest).as_secs(),
            next_attempt: next.map(mail_types::Timestamp::rfc3339),
        }
    });
    Ok(Json(QueueSummary {
        messages: control.queue.stats(now).messages,
        rows: rows.collect(),
        next,
        reasons: by_reason(summary.reasons),
        paused: paused::list(&control.delivery),
    }))
}

/// How many rows, from which on.
fn page_of_summary(query: &str) -> Result<(usize, usize), Problem> {
    let (mut limit, mut from) = (usize::MAX, 0);
    for parameter in parameters(query) {
        let (name, value) = parameter?;
        match name {
            "limit" => limit = some(name, number(name, &value)?)?,
            "cursor" => from = number(name, &value)?,
            _ => {}
        }
    }
    Ok((limit, from))
}

/// The recipient domain, and the next hop of its route.
fn in_words(
    destination: &outbound_queue::Destination,
    routes: &RouteTable,
) -> (String, Option<String>) {
    match routes::Destination::parse(destination.as_str()) {
        Some(parsed) => routes.in_words(&parsed),
        None => (destination.to_string(), None),
    }
}

pub(crate) fn parse_id(text: &str) -> Result<QueueId, Problem> {
    text.parse()
        .map_err(|e| Problem::bad_request(format!("{} is {e}", quoted(text))))
}

struct ListQuery {
    filter: Filter,
    cursor: Option<Cursor>,
    limit: usize,
}

impl ListQuery {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut out = Self {
            filter: Filter::default(),
            cursor: None,
            limit: DEFAULT_LIMIT,
        };
        for parameter in parameters(query) {
            let (name, value) = parameter?;
            match name {
                "domain" => out.filter.domain = Some(value),
                "sender" => out.filter.sender = Some(value),
                "recipient" => out.filter.recipient = Some(value),
                "reason" => out.filter.reason = Some(value),
                "side" => out.filter.side = Some(value),
                "state" => out.filter.state = Some(value),
                "older" => out.filter.older = Some(number(name, &value)?),
                "attempts-over" => {
                    let attempts: u64 = number(name, &value)?;
                    out.filter.attempts_over = Some(u32::try_from(attempts).unwrap_or(u32::MAX));
                }
                "limit" => {
                    out.limit = some(name, number(name, &value)?)?.min(MAX_LIMIT);
                }
                "cursor" => {
                    let cursor = Cursor::from_text(&value);
                    out.cursor = Some(cursor.ok_or_else(|| {
                        Problem::parameter(name, "the cursor is not one that this API gave")
                    })?);
                }
                _ => {}
            }
        }
        Ok(out)
    }
}

/// A recipient domain, or an address literal in brackets.
pub(crate) fn parse_host(text: &str) -> Result<Host, Problem> {
    let wrong = |why: &dyn std::fmt::Display| {
        Problem::bad_request(format!("{} is not a domain: {why}", quoted(text)))
    };
    Host::parse(text).map_err(|error| match error {
        MailboxError::Domain(why) => wrong(&why),
        other => wrong(&other),
    })
}

pub(crate) fn to_filter(
    filter: &Filter,
    now: mail_types::Timestamp,
    suspended: impl FnOnce() -> SuspendedSides,
) -> Result<outbound_queue::Filter, Problem> {
    let domain = filter.domain.as_deref().map(parse_host).transpose();
    let domain = domain.map_err(|problem| problem.of_parameter("domain"))?;
    let reason = filter.reason.as_deref().map(Keyed::from_key);
    if let Some(reason) = &reason
        && reason.known().is_none()
    {
        let keys = attempt::Reason::ALL.map(attempt::Reason::key).join(", ");
        let detail = format!(
            "there is no reason {}; the reasons are {keys}",
            quoted(reason.key())
        );
        return Err(Problem::parameter("reason", detail));
    }
    let side = filter.side.as_deref().map(|text| {
        let known = Side::ALL.into_iter().find(|side| side.key() == text);
        known.ok_or_else(|| {
            let detail = format!(
                "there is no side {}; the sides are us, recipient-admin and wait",
                quoted(text)
            );
            Problem::parameter("side", detail)
        })
    });
    let side = side.transpose()?.map(|side| WantedSide {
        side,
        suspended: Arc::new(suspended()),
    });
    let state = match filter.state.as_deref() {
        None => None,
        Some("queued") => Some(MessageState::Due),
        Some("deferred") => Some(MessageState::Deferred),
        Some("active") => Some(MessageState::Active),
        Some("held") => Some(MessageState::Held),
        Some(other) => {
            let detail = format!(
                "there is no state {}; the states are queued, deferred, active and held",
                quoted(other)
            );
            return Err(Problem::parameter("state", detail));
        }
    };
    Ok(outbound_queue::Filter {
        domain: domain.map(|d| d.to_string().into()),
        destination: None,
        sender: address("sender", filter.sender.as_deref())?,
        recipient: address("recipient", filter.recipient.as_deref())?,
        reason,
        side,
        state,
        arrived_before: filter
            .older
            .map(|secs| now - std::time::Duration::from_secs(secs)),
        attempts_over: filter.attempts_over,
    })
}

/// An address as the queue compares it, with or without its angle brackets. One that no message can
/// have would match nothing, and look like an empty queue.
fn address(name: &str, text: Option<&str>) -> Result<Option<Addresses>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>'));
    let parsed = match Addresses::parse(inner.unwrap_or(text)) {
        Ok(Addresses::Null) if name != "sender" => Err(MailboxError::Form),
        parsed => parsed,
    };
    let null = if name == "sender" {
        ", or <> for notifications"
    } else {
        ""
    };
    match parsed {
        Ok(addresses) => Ok(Some(addresses)),
        Err(wrong) => Err(Problem::parameter(
            name,
            format!(
                "{name} {} is no address: {wrong}; write user@example.org, or @example.org for all of a domain{null}",
                quoted(text)
            ),
        )),
    }
}

/// Of the list.
pub(crate) const PARAMETERS: &[&str] = &[
    "domain",
    "sender",
    "recipient",
    "reason",
    "side",
    "state",
    "older",
    "attempts-over",
    "limit",
    "cursor",
];
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_string_is_read_exactly() {
        let q =
            ListQuery::parse("domain=d.test&sender=%3C%3E&attempts-over=3&limit=999999").unwrap();
        assert_eq!(q.filter.domain.as_deref(), Some("d.test"));
        assert_eq!(q.filter.sender.as_deref(), Some("<>"));
        assert_eq!((q.filter.attempts_over, q.limit), (Some(3), MAX_LIMIT));
        for bad in [
            "older=soon",
            "sender=%zz",
            "sender=%ff",
            "cursor=x",
            "limit=0",
        ] {
            assert!(ListQuery::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn whatever_is_wrong_with_a_value_names_its_parameter() {
        let now = mail_types::Timestamp::from_secs(1000);
        for query in [
            "domain=a%20b",
            "domain=",
            "domain=%ff",
            "sender=x",
            "sender=%zz",
            "recipient=x",
            "reason=x",
            "reason=%ff",
            "side=x",
            "state=x",
            "older=x",
            "attempts-over=x",
            "limit=0",
            "cursor=x",
        ] {
            let parsed = ListQuery::parse(query);
            let problem = parsed
                .and_then(|q| to_filter(&q.filter, now, SuspendedSides::default))
                .unwrap_err();
            let name = query.split('=').next();
            assert_eq!(problem.named_parameter(), name, "{query}");
        }
    }

    #[test]
    fn filters_name_what_is_wrong() {
        let now = mail_types::Timestamp::from_secs(1000);
        let wrong = |f: Filter| {
            format!(
                "{:?}",
                to_filter(&f, now, SuspendedSides::default).unwrap_err()
            )
        };
        assert!(
            wrong(Filter {
                reason: Some("cert-expird".into()),
                ..Filter::default()
            })
            .contains("cert-expired")
        );
        assert!(
            wrong(Filter {
                state: Some("x".into()),
                ..Filter::default()
            })
            .contains("held")
        );
        assert!(
            wrong(Filter {
                domain: Some("a b".into()),
                ..Filter::default()
            })
            .contains("domain")
        );
    }

    #[test]
    fn addresses_are_compared_without_brackets_and_nonsense_is_refused() {
        for (text, bare) in [
            ("a@d.test", "a@d.test"),
            ("<A@d.test>", "A@d.test"),
            ("@d.test", "@d.test"),
            ("<>", ""),
            ("", ""),
            ("@D.test.", "@d.test"),
            ("@bücher.example", "@xn--bcher-kva.example"),
        ] {
            let found = address("sender", Some(text)).unwrap();
            assert_eq!(found, Some(Addresses::parse(bare).unwrap()), "{text}");
        }
        for bad in [
            "example.org",
            "@@",
            "foo bar",
            "<a@d.test",
            "<<a@d.test>>",
            "@",
        ] {
            for name in ["sender", "recipient"] {
                let said = format!("{:?}", address(name, Some(bad)).unwrap_err());
                assert!(
                    said.contains(name) && said.contains(bad) && said.contains("@example.org"),
                    "{said}"
                );
            }
        }
        assert!(
            address("recipient", Some("<>")).is_err(),
            "nobody is the null recipient"
        );
        assert_eq!(address("recipient", None).unwrap(), None);
    }
}
