//! `sealpost policy …`

use std::time::{Duration, SystemTime};

use admin::{ExemptRequest, Page, PinRequest, PolicyDetail, PolicyView, quoted};
use mail_types::Timestamp;

use crate::cli::{PolicyCommand, PolicyDomain};
use crate::control_client::{ControlClient, segment, typed};
use crate::exit::{Failure, Status};
use terminal::Progress;
use terminal::{Output, Table, messages, or_dash, time};

/// Runs one of them.
pub(super) async fn run(
    client: &ControlClient,
    command: PolicyCommand,
    out: &mut Output,
) -> anyhow::Result<()> {
    match command {
        PolicyCommand::List(json) => list(client, json.json, out).await,
        PolicyCommand::Show(args) => {
            let answer = client.get(&path(&args, "")?, &[]).await?;
            show(&answer, args.json.json, out)
        }
        PolicyCommand::Refresh(args) => {
            let path = path(&args, "/refresh")?;
            let doing = format!("fetching the policy of {}", args.domain);
            let asked = client.post(&path, &Nothing {});
            let mut progress = Progress::new(args.json.json);
            let answer = progress.during(&doing, asked).await?;
            drop(progress);
            show(&answer, args.json.json, out)
        }
        PolicyCommand::Forget {
            domain: args,
            dangerous,
        } => {
            let action = if dangerous {
                "/forget?dangerous=true"
            } else {
                "/forget"
            };
            let answer = client.post(&path(&args, action)?, &Nothing {}).await?;
            if args.json.json {
                return Ok(out.json(&answer)?);
            }
            Ok(out.line(&format!("the policy of {} is forgotten", args.domain))?)
        }
        PolicyCommand::Pin {
            domain: args,
            mx,
            remove,
            because,
        } => {
            let mx = (!remove).then_some(mx);
            let request = PinRequest { mx, because };
            let answer = client.post(&path(&args, "/pin")?, &request).await?;
            show(&answer, args.json.json, out)
        }
        PolicyCommand::Exempt {
            domain: args,
            dangerous,
            until,
            remove: _,
            because,
        } => {
            let request = ExemptRequest {
                until: until.as_deref().map(end).transpose()?,
                dangerous,
                because,
            };
            let answer = client.post(&path(&args, "/exempt")?, &request).await?;
            show(&answer, args.json.json, out)
        }
    }
}

async fn list(client: &ControlClient, json: bool, out: &mut Output) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        "DOMAIN",
        "MODE",
        "ID",
        "EXPIRES",
        "MX",
        "LAST REFRESH",
        "LOCAL",
    ]);
    let mut cursor: Option<String> = None;
    let mut listed = 0;
    let now = Timestamp::from_system(SystemTime::now());
    let mut progress = Progress::new(json);
    loop {
        let query: Vec<_> = cursor
            .map(|cursor| ("cursor", cursor))
            .into_iter()
            .collect();
        out.flush()?;
        let asked = client.get("/v1/policies", &query);
        let answer = progress.during("reading policies", asked).await?;
        let page: Page<PolicyView> = typed(&answer)?;
        if json {
            let items = answer.get("items").and_then(|items| items.as_array());
            for item in items.into_iter().flatten() {
                out.json(item)?;
            }
        } else {
            let rows: Vec<_> = page.items.iter().map(|policy| row(policy, now)).collect();
            table.rows(out, &rows)?;
        }
        listed += page.items.len();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if listed == 0 && !json {
        out.line("no policies")?;
    }
    Ok(())
}

/// When it expires, with a word if that is over: it protects nothing any more.
fn expiry(policy: &PolicyView, now: Timestamp) -> Option<String> {
    let end = policy.expires.as_deref()?;
    let seconds = end.parse().map(jiff::Timestamp::as_second);
    let over = seconds.is_ok_and(|end| u64::try_from(end).is_ok_and(|end| end <= now.as_secs()));
    let word = if over { " (expired)" } else { "" };
    Some(format!("{}{word}", time(end)))
}

fn row(policy: &PolicyView, now: Timestamp) -> Vec<String> {
    let refresh = match (&policy.refresh_failure, &policy.fetched) {
        (Some(why), _) => format!("failed: {why}"),
        (None, fetched) => time_or_dash(fetched.as_deref()),
    };
    let mut local = Vec::new();
    if policy.pin.is_some() {
        local.push("pinned");
    }
    if policy.exemption.as_ref().is_some_and(|e| e.active) {
        local.push("exempt");
    }
    vec![
        policy.domain.clone(),
        or_dash(policy.mode.as_deref()),
        or_dash(policy.id.as_deref()),
        or_dash(expiry(policy, now).as_deref()),
        policy.mx.join(" "),
        refresh,
        local.join(" "),
    ]
}

fn show(answer: &serde_json::Value, json: bool, out: &mut Output) -> anyhow::Result<()> {
    if json {
        return Ok(out.json(answer)?);
    }
    let detail: PolicyDetail = typed(answer)?;
    let policy = &detail.policy;
    out.field("domain", Some(&policy.domain))?;
    out.field(
        "mode",
        Some(policy.mode.as_deref().unwrap_or("none stored")),
    )?;
    out.field("id", policy.id.as_deref())?;
    if !policy.mx.is_empty() {
        out.field("mx", Some(&policy.mx.join(" ")))?;
    }
    let max_age = detail.max_age.map(|secs| format!("{secs} seconds"));
    out.field("max_age", max_age.as_deref())?;
    out.field("fetched", policy.fetched.as_deref().map(time).as_deref())?;
    let now = Timestamp::from_system(SystemTime::now());
    out.field("expires", expiry(policy, now).as_deref())?;
    let next = detail.next_refresh.as_deref().map(time);
    out.field("next refresh", Some(&or_dash(next.as_deref())))?;
    out.field("last failure", policy.refresh_failure.as_deref())?;
    let testing = detail.testing_failure.as_ref();
    let testing = testing.map(|last| {
        format!(
            "would have failed at {} at {}: {}",
            last.mx,
            time(&last.at),
            last.reason
        )
    });
    out.field("if enforced", testing.as_deref())?;
    if let Some(pin) = &policy.pin {
        out.field("pinned to", Some(&pin.mx.join(" ")))?;
        out.field("pinned by", Some(&ordered(&pin.by, &pin.at, &pin.because)))?;
    }
    if let Some(exemption) = &policy.exemption {
        let over = if exemption.active { "" } else { " (over)" };
        out.field(
            "exempt until",
            Some(&format!("{}{over}", time(&exemption.until))),
        )?;
        let by = ordered(&exemption.by, &exemption.at, &exemption.because);
        out.field("exempted by", Some(&by))?;
    }
    let domain = &policy.domain;
    let waiting = detail.waiting.filter(|n| *n > 0).map(|n| {
        let (count, theirs) = (messages(n), if n == 1 { "its" } else { "their" });
        if detail.paused {
            return format!("{count}, until `sealpost queue resume {domain}`");
        }
        format!("{count}, for {theirs} next attempt; `sealpost queue retry --domain {domain}` tries them now")
    });
    out.field("waiting", waiting.as_deref())?;
    let held = detail.held.filter(|n| *n > 0).map(|n| {
        let count = messages(n);
        format!("{count}, until `sealpost queue release --domain {domain}`")
    });
    out.field("held", held.as_deref())?;
    if let Some(text) = &detail.text {
        out.line("")?;
        for line in text.lines() {
            out.line(line)?;
        }
    }
    Ok(())
}

fn ordered(by: &str, at: &str, because: &str) -> String {
    format!("{by} at {}: {because}", time(at))
}

fn time_or_dash(text: Option<&str>) -> String {
    or_dash(text.map(time).as_deref())
}

/// The end of an exemption: a time span from now, a day, or a time.
fn end(text: &str) -> Result<String, Failure> {
    let time = match settings::parse_duration(text) {
        Some(millis) => {
            let now = Timestamp::from_system(SystemTime::now());
            return Ok((now + Duration::from_millis(millis)).rfc3339());
        }
        None => text.parse::<jiff::Timestamp>().or_else(|_| {
            let day: jiff::civil::Date = text.parse()?;
            // A day counts to its end, as in the configuration.
            let evening = day.at(23, 59, 59, 0).to_zoned(jiff::tz::TimeZone::UTC)?;
            Ok::<_, jiff::Error>(evening.timestamp())
        }),
    };
    time.map(|time| time.to_string()).map_err(|_| {
        let message = format!(
            "{} is no time: write 7d, 2026-03-01 or 2026-03-01T12:00:00Z",
            quoted(text)
        );
        Failure::new(Status::Usage, message)
    })
}

/// The domain is looked at here, so that a slip is a usage error and no request.
fn path(args: &PolicyDomain, action: &str) -> Result<String, Failure> {
    let domain = mail_types::Domain::parse(&args.domain).map_err(|error| {
        let message = format!("{} is no domain: {error}", quoted(&args.domain));
        Failure::new(Status::Usage, message)
    })?;
    Ok(format!("/v1/policies/{}{action}", segment(domain.as_str())))
}

/// The body of a request that says all in its path: an empty object.
#[derive(serde::Serialize)]
struct Nothing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_has_run_out_is_marked() {
        let policy: PolicyView = serde_json::from_value(serde_json::json!({
            "domain": "d.test", "mode": "enforce", "mx": ["mx.d.test"],
            "expires": "1970-01-01T01:00:00Z",
        }))
        .unwrap();
        for (now, want) in [
            (3599, "1970-01-01T01:00:00Z"),
            (3600, "1970-01-01T01:00:00Z (expired)"),
        ] {
            assert_eq!(row(&policy, Timestamp::from_secs(now))[3], want, "{now}");
        }
    }

    #[test]
    fn an_exemption_ends_at_a_time() {
        assert_eq!(end("2026-03-01").unwrap(), "2026-03-01T23:59:59Z");
        assert_eq!(end("2026-03-01T12:00:00Z").unwrap(), "2026-03-01T12:00:00Z");
        assert!(end("7d").unwrap().ends_with('Z'));
        for bad in ["", "soon", "90"] {
            assert_eq!(end(bad).unwrap_err().status, Status::Usage, "{bad}");
        }
    }
}
