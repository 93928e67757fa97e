//! `sealpost report …`: TLS reports (RFC 8460).

use admin::{
    Page, ReportDetail, ReportView, SendReportsRequest, SendReportsResult, StatusView, quoted,
};
use mail_types::Domain;

use crate::cli::ReportCommand;
use crate::control_client::{ControlClient, segment, typed};
use crate::exit::{Failure, Status};
use terminal::Progress;
use terminal::{Output, Table, or_dash, time};

/// Runs one of them.
pub(super) async fn run(
    client: &ControlClient,
    command: ReportCommand,
    out: &mut Output,
) -> anyhow::Result<()> {
    match command {
        ReportCommand::List {
            day,
            domain,
            state,
            json,
        } => {
            let domain = domain.as_deref().map(parse).transpose()?;
            let domain = domain.map(|domain| domain.to_string());
            let wanted = [("day", day), ("domain", domain), ("state", state)];
            list(client, wanted, json.json, out).await
        }
        ReportCommand::Show { domain, day, json } => {
            let path = format!("/v1/reports/{}", segment(parse(&domain)?.as_str()));
            let query: Vec<_> = day.map(|day| ("day", day)).into_iter().collect();
            let answer = client.get(&path, &query).await?;
            if json.json {
                return Ok(out.json(&answer)?);
            }
            show(&typed(&answer)?, out)
        }
        ReportCommand::Send {
            domain,
            day,
            because,
            json,
        } => {
            let domain = domain.as_deref().map(parse).transpose()?;
            let request = SendReportsRequest {
                domain: domain.map(|domain| domain.to_string()),
                day,
                reason: because,
            };
            let answer = client.post("/v1/reports/send", &request).await?;
            if json.json {
                return Ok(out.json(&answer)?);
            }
            let result: SendReportsResult = typed(&answer)?;
            Ok(out.line(&due(result.due))?)
        }
    }
}

async fn list(
    client: &ControlClient,
    wanted: [(&str, Option<String>); 3],
    json: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let mut table = Table::new(&["DAY", "DOMAIN", "STATE", "GOOD", "FAILED", "RESULT"]);
    let mut cursor: Option<String> = None;
    let mut listed = 0;
    let mut progress = Progress::new(json);
    loop {
        let given = wanted.iter();
        let given = given.filter_map(|(name, value)| Some((*name, value.clone()?)));
        let mut query: Vec<_> = given.collect();
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        out.flush()?;
        let asked = client.get("/v1/reports", &query);
        let answer = progress.during("reading reports", asked).await?;
        let page: Page<ReportView> = typed(&answer)?;
        if json {
            let items = answer.get("items").and_then(|items| items.as_array());
            for item in items.into_iter().flatten() {
                out.json(item)?;
            }
        } else {
            let rows: Vec<_> = page.items.iter().map(row).collect();
            table.rows(out, &rows)?;
        }
        listed += page.items.len();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if listed == 0 && !json {
        out.line("no reports")?;
    }
    Ok(())
}

fn row(report: &ReportView) -> Vec<String> {
    vec![
        report.day.clone(),
        report.domain.clone(),
        report.state.clone(),
        report.successes.to_string(),
        report.failures.to_string(),
        or_dash(story(report).as_deref()),
    ]
}

/// What became of it, in some words.
fn story(report: &ReportView) -> Option<String> {
    let at = report.at.as_deref().map(time);
    let detail = report.detail.as_deref();
    match report.state.as_str() {
        "sent" => {
            let to = report.to.as_deref().map(|to| format!("to {to}"));
            let at = at.map(|at| format!("at {at}"));
            let parts: Vec<_> = [to, at].into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        }
        "pending" => {
            let next = report.next_attempt.as_deref().map(time);
            let next = next.map(|next| format!("next attempt {next}"));
            let failed = detail.map(|why| match report.attempts {
                0 | 1 => why.to_owned(),
                n => format!("{n} attempts, the last: {why}"),
            });
            let parts: Vec<_> = [failed, next].into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join("; "))
        }
        _ => detail.map(str::to_owned),
    }
}

fn show(detail: &ReportDetail, out: &mut Output) -> anyhow::Result<()> {
    let report = &detail.view;
    out.field("domain", Some(&report.domain))?;
    out.field("day", Some(&report.day))?;
    let state = match report.state.as_str() {
        "collecting" => "collecting: the day (UTC) is not over, and this is what it has so far",
        other => other,
    };
    out.field("state", Some(state))?;
    let sessions = format!("{} good, {} failed", report.successes, report.failures);
    out.field("sessions", Some(&sessions))?;
    out.field("report id", report.report_id.as_deref())?;
    out.field("result", story(report).as_deref())?;
    out.line("")?;
    for line in serde_json::to_string_pretty(&detail.report)?.lines() {
        out.line(line)?;
    }
    Ok(())
}

fn due(count: u64) -> String {
    match count {
        0 => "no report is pending".to_owned(),
        1 => "1 report is due now; `sealpost report list` says what becomes of it".to_owned(),
        n => format!("{n} reports are due now; `sealpost report list` says what becomes of them"),
    }
}

/// For `sealpost status`.
pub(super) fn status_line(status: &StatusView) -> String {
    let Some(reports) = &status.reports else {
        return "off (reporting.contact-info)".to_owned();
    };
    let domains = match reports.collecting {
        1 => "1 domain".to_owned(),
        n => format!("{n} domains"),
    };
    let failing = match reports.failing {
        0 => String::new(),
        n => format!(" ({n} tried in vain so far)"),
    };
    format!(
        "{domains} counted today, {} to be sent{failing} (`sealpost report list`)",
        reports.pending
    )
}

/// The domain is looked at here, so that a slip is a usage error and no request.
fn parse(domain: &str) -> Result<Domain, Failure> {
    Domain::parse(domain).map_err(|error| {
        let message = format!("{} is no domain: {error}", quoted(domain));
        Failure::new(Status::Usage, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: &str) -> ReportView {
        ReportView {
            day: "2026-03-01".to_owned(),
            domain: "d.test".to_owned(),
            state: state.to_owned(),
            successes: 5,
            failures: 2,
            report_id: None,
            to: None,
            attempts: 0,
            next_attempt: None,
            detail: None,
            at: None,
        }
    }

    #[test]
    fn each_state_says_what_became_of_it() {
        let some = |text: &str| Some(text.to_owned());
        let sent = ReportView {
            to: some("mailto:r@d.test"),
            at: some("2026-03-02T01:00:00.000Z"),
            ..view("sent")
        };
        assert_eq!(
            story(&sent).unwrap(),
            "to mailto:r@d.test at 2026-03-02T01:00:00Z"
        );
        let pending = ReportView {
            next_attempt: some("2026-03-02T01:00:00.000Z"),
            ..view("pending")
        };
        assert_eq!(
            story(&pending).unwrap(),
            "next attempt 2026-03-02T01:00:00Z"
        );
        let failed = ReportView {
            attempts: 2,
            detail: some("r.d.test answered 500"),
            ..pending
        };
        assert_eq!(
            story(&failed).unwrap(),
            "2 attempts, the last: r.d.test answered 500; next attempt 2026-03-02T01:00:00Z"
        );
        let dropped = ReportView {
            detail: some("the domain asks for no reports"),
            ..view("dropped")
        };
        assert_eq!(story(&dropped).unwrap(), "the domain asks for no reports");
        assert_eq!(story(&view("collecting")), None);
        assert_eq!(row(&view("collecting"))[3..], ["5", "2", "-"]);
    }

    #[test]
    fn what_is_due_is_counted() {
        assert_eq!(due(0), "no report is pending");
        assert!(due(1).starts_with("1 report is") && due(2).starts_with("2 reports are"));
    }

    #[test]
    fn a_slip_in_a_domain_is_a_usage_error() {
        assert_eq!(parse("a..b").unwrap_err().status, Status::Usage);
        assert_eq!(parse("D.test").unwrap().as_str(), "d.test");
    }
}
