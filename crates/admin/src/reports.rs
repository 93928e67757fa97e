//! `/v1/reports`: TLS reports (RFC 8460): list, show, send.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{self, Extension, Path, RawQuery};
use axum::response::Json;
use mail_types::{Domain, Timestamp};
use outbound_queue::QueueStore;
use tls_reports::{ListFilter, ReportView as Kept, Reports, State};
use tls_rpt::Day;
use tokio::task::block_in_place;

use crate::policies::parse;
use crate::{
    Audit, Control, Page, ProblemDetails, ReportDetail, ReportView, ReportsView,
    SendReportsRequest, SendReportsResult,
};
use api_routes::Operator;
use api_routes::{Problem, quoted};
use api_routes::{number, parameters, some};

/// The states of a report, as they are asked for.
pub const REPORT_STATES: [&str; 4] = [
    State::Collecting.key(),
    State::Pending.key(),
    State::Sent.key(),
    State::Dropped.key(),
];

/// Which reports are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    day: Option<Day>,
    domain: Option<Domain>,
    state: Option<State>,
}

/// TLS reports, those of the latest day first.
#[utoipa::path(get, path = "/v1/reports", tag = "reports", params(
    ("day" = Option<String>, Query, description = "Only those of this day (UTC), as in 2026-03-01."),
    ("domain" = Option<String>, Query, description = "Only those to this policy domain."),
    ("state" = Option<String>, Query, description = "`collecting`, `pending`, `sent` or `dropped`."),
    ("limit" = Option<u64>, Query, minimum = 1, description = "Rows of a page; 10000 unless told."),
    ("cursor" = Option<String>, Query, description = "`next` of the page before."),
), responses(
    (status = 200, description = "A page.", body = Page<ReportView>),
    (status = 400, description = "A parameter is wrong.", body = ProblemDetails),
    (status = 409, description = "This relay sends no reports.", body = ProblemDetails),
))]
pub(crate) async fn list<S: QueueStore>(
    extract::State(control): extract::State<Control<S>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<ReportView>>, Problem> {
    let asked = Asked::parse(query.as_deref().unwrap_or_default())?;
    let reports = reports(&control)?;
    let kept = block_in_place(|| reports.list(&asked.wanted.filter()));
    let mut rows: Vec<_> = kept.into_iter().map(view).collect();
    rows.sort_unstable_by(|a, b| place(a).cmp(&place(b)));
    Ok(Json(asked.page(rows)))
}

/// One report: the latest of a domain unless a day is named.
#[utoipa::path(get, path = "/v1/reports/{domain}", tag = "reports", params(
    ("domain" = String, Path, description = "Policy domain."),
    ("day" = Option<String>, Query, description = "Of this day (UTC), as in 2026-03-01."),
), responses(
    (status = 200, description = "The report.", body = ReportDetail),
    (status = 400, description = "That is no domain, or no day.", body = ProblemDetails),
    (status = 404, description = "Nothing was counted.", body = ProblemDetails),
    (status = 409, description = "This relay sends no reports.", body = ProblemDetails),
))]
pub(crate) async fn show<S: QueueStore>(
    extract::State(control): extract::State<Control<S>>,
    Path(domain): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<ReportDetail>, Problem> {
    let domain = parse(&domain)?;
    let asked = Asked::parse(query.as_deref().unwrap_or_default())?;
    let reports = reports(&control)?;
    let wanted = Wanted {
        domain: Some(domain.clone()),
        ..asked.wanted
    };
    let report = block_in_place(|| {
        let latest = reports.list(&wanted.filter());
        let latest = latest.into_iter().max_by_key(|kept| kept.day)?;
        let report = reports.show(latest.day, domain.as_str())?;
        Some(ReportDetail {
            view: view(latest),
            report,
        })
    });
    let when = asked.wanted.day;
    report.map(Json).ok_or_else(|| {
        let when = when.map_or_else(String::new, |day| format!(" on {day}"));
        Problem::not_found(format!(
            "nothing is known of TLS to {domain}{when}; reports are kept for 30 days"
        ))
    })
}

/// Send pending reports now, without the delay that spreads them over hours.
#[utoipa::path(post, path = "/v1/reports/send", tag = "reports", request_body = SendReportsRequest, responses(
    (status = 200, description = "How many are due now.", body = SendReportsResult),
    (status = 400, description = "That is no domain, or no day.", body = ProblemDetails),
    (status = 409, description = "This relay sends no reports.", body = ProblemDetails),
    (status = 503, description = "The relay is starting, or its disk takes nothing.", body = ProblemDetails),
))]
pub(crate) async fn send<S: QueueStore>(
    extract::State(control): extract::State<Control<S>>,
    Extension(operator): Extension<Operator>,
    body: Bytes,
) -> Result<Json<SendReportsResult>, Problem> {
    let request: SendReportsRequest = serde_json::from_slice(&body)
        .map_err(|e| Problem::bad_request(format!("the body does not say which: {e}")))?;
    let wanted = Wanted {
        day: request.day.as_deref().map(day).transpose()?,
        domain: request.domain.as_deref().map(parse).transpose()?,
        state: None,
    };
    let reports = reports(&control)?;
    let due = block_in_place(|| reports.send_now(&wanted.filter()))
        .map_err(|e| Problem::unavailable(format!("no report was made due: {e}")))?
        as u64;
    let target = wanted.named();
    control.daemon.audit(&Audit {
        at: control.now().wall,
        by: &operator,
        action: "report send",
        target: &target,
        matched: due,
        reason: request.reason.as_deref(),
        error: None,
    });
    Ok(Json(SendReportsResult { due }))
}

/// For the status.
pub(crate) fn summary(reports: &Reports) -> ReportsView {
    let of = |state| {
        reports.list(&ListFilter {
            state: Some(state),
            ..ListFilter::default()
        })
    };
    let pending = of(State::Pending);
    ReportsView {
        collecting: of(State::Collecting).len() as u64,
        pending: pending.len() as u64,
        failing: pending.iter().filter(|kept| kept.attempts > 0).count() as u64,
    }
}

fn reports<S>(control: &Control<S>) -> Result<Arc<Reports>, Problem> {
    control.daemon.reports().ok_or_else(|| {
        Problem::refused(
            "TLS reports are off: nothing is counted or sent until reporting.contact-info is set \
             (and reporting.enabled is not false)",
        )
    })
}

fn day(text: &str) -> Result<Day, Problem> {
    text.parse()
        .map_err(|error| Problem::parameter("day", format!("{}: {error}", quoted(text))))
}

fn view(kept: Kept) -> ReportView {
    ReportView {
        day: kept.day.to_string(),
        domain: kept.domain,
        state: kept.state.key().to_owned(),
        successes: kept.successes,
        failures: kept.failures,
        report_id: kept.report_id,
        to: kept.to,
        attempts: u64::from(kept.attempts),
        next_attempt: kept.next_attempt.map(Timestamp::rfc3339),
        detail: kept.detail,
        at: kept.at.map(Timestamp::rfc3339),
    }
}

/// The latest day first, within it by name.
fn place(view: &ReportView) -> (std::cmp::Reverse<&str>, &str) {
    (std::cmp::Reverse(&view.day), &view.domain)
}

impl Wanted {
    fn filter(&self) -> ListFilter<'_> {
        ListFilter {
            day: self.day,
            domain: self.domain.as_ref().map(Domain::as_str),
            state: self.state,
        }
    }

    /// For the audit log.
    fn named(&self) -> String {
        let day = self.day.map(|day| day.to_string());
        let domain = self.domain.as_ref().map(ToString::to_string);
        let parts: Vec<String> = domain.into_iter().chain(day).collect();
        match parts.is_empty() {
            true => "all".to_owned(),
            false => parts.join(" "),
        }
    }
}

/// What of the list is asked for.
struct Asked {
    wanted: Wanted,
    limit: usize,
    /// Day and domain of the last row of the page before.
    after: Option<(String, String)>,
}

impl Asked {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut out = Self {
            wanted: Wanted::default(),
            limit: ROWS,
            after: None,
        };
        for parameter in parameters(query) {
            let (name, value) = parameter?;
            match name {
                "day" => out.wanted.day = Some(day(&value)?),
                "domain" => {
                    let domain = Domain::parse(&value).map_err(|error| {
                        let detail = format!("{} is not a domain: {error}", quoted(&value));
                        Problem::parameter(name, detail)
                    })?;
                    out.wanted.domain = Some(domain);
                }
                "state" => {
                    out.wanted.state = Some(State::from_key(&value).ok_or_else(|| {
                        let known = REPORT_STATES.join(", ");
                        let detail = format!("{} is none of the states {known}", quoted(&value));
                        Problem::parameter(name, detail)
                    })?);
                }
                "limit" => out.limit = some(name, number(name, &value)?)?,
                "cursor" => {
                    let parts = value.split_once(' ');
                    let (day, domain) = parts.ok_or_else(|| {
                        let detail = format!("{} is no cursor of ours", quoted(&value));
                        Problem::parameter(name, detail)
                    })?;
                    out.after = Some((day.to_owned(), domain.to_owned()));
                }
                _ => {}
            }
        }
        Ok(out)
    }

    /// Of rows in order.
    fn page(&self, rows: Vec<ReportView>) -> Page<ReportView> {
        let after = self.after.as_ref();
        let after = after.map(|(day, domain)| (std::cmp::Reverse(&**day), &**domain));
        let mut rows = rows
            .into_iter()
            .skip_while(|row| after.is_some_and(|after| place(row) <= after));
        let items: Vec<_> = rows.by_ref().take(self.limit).collect();
        let last = items.last().filter(|_| rows.next().is_some());
        let next = last.map(|last| format!("{} {}", last.day, last.domain));
        Page { items, next }
    }
}

pub(crate) const PARAMETERS: &[&str] = &["day", "domain", "state", "limit", "cursor"];
/// Of a page, unless told.
const ROWS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn view(day: &str, domain: &str) -> ReportView {
        ReportView {
            day: day.to_owned(),
            domain: domain.to_owned(),
            state: "pending".to_owned(),
            successes: 1,
            failures: 0,
            report_id: None,
            to: None,
            attempts: 0,
            next_attempt: None,
            detail: None,
            at: None,
        }
    }

    #[test]
    fn pages_hold_each_report_once_the_latest_day_first() {
        let rows = || {
            let mut rows = Vec::new();
            for day in ["2026-02-28", "2026-03-02", "2026-03-01"] {
                rows.extend(["c.test", "a.test", "b.test"].map(|domain| view(day, domain)));
            }
            rows.sort_unstable_by(|a, b| place(a).cmp(&place(b)));
            rows
        };
        let whole: Vec<_> = rows()
            .iter()
            .map(|r| (r.day.clone(), r.domain.clone()))
            .collect();
        assert_eq!(whole[0], ("2026-03-02".to_owned(), "a.test".to_owned()));
        for limit in 1..=10 {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let after: String = cursor
                    .map(|c: String| format!("&cursor={}", c.replace(' ', "+")))
                    .unwrap_or_default();
                let page = Asked::parse(&format!("limit={limit}{after}"))
                    .unwrap()
                    .page(rows());
                assert!(!page.items.is_empty() && page.items.len() <= limit);
                seen.extend(page.items.into_iter().map(|r| (r.day, r.domain)));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, whole, "{limit}");
        }
    }

    #[test]
    fn what_is_asked_for_is_read_or_refused() {
        let asked = Asked::parse("day=2026-03-01&domain=D.test&state=sent")
            .unwrap()
            .wanted;
        assert_eq!(asked.named(), "d.test 2026-03-01");
        assert_eq!(asked.state, Some(State::Sent));
        assert_eq!(Wanted::default().named(), "all");
        for (query, parameter) in [
            ("day=yesterday", "day"),
            ("day=2026-02-30", "day"),
            ("domain=a..b", "domain"),
            ("state=lost", "state"),
            ("limit=0", "limit"),
            ("cursor=x", "cursor"),
        ] {
            let problem = format!("{:?}", Asked::parse(query).err().unwrap());
            assert!(
                problem.contains(&format!("Some({parameter:?})")),
                "{query}: {problem}"
            );
        }
    }
}
