//! `sealpost policy …`

use admin::{Page, PolicyDetail, PolicyView};

use crate::cli::{PolicyCommand, PolicyDomain};
use crate::control_client::{ControlClient, segment, typed};
use crate::exit::{Failure, Status};
use crate::output::{Output, Table, or_dash, time};

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
            let answer = client.post(&path(&args, "/refresh")?, &Nothing {}).await?;
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
    }
}

async fn list(client: &ControlClient, json: bool, out: &mut Output) -> anyhow::Result<()> {
    let mut table = Table::new(&["DOMAIN", "MODE", "ID", "EXPIRES", "MX", "LAST REFRESH"]);
    let mut cursor: Option<String> = None;
    let mut listed = 0;
    loop {
        let query: Vec<_> = cursor
            .map(|cursor| ("cursor", cursor))
            .into_iter()
            .collect();
        let answer = client.get("/v1/policies", &query).await?;
        let page: Page<PolicyView> = typed(&answer)?;
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
        out.line("no policies")?;
    }
    Ok(())
}

fn row(policy: &PolicyView) -> Vec<String> {
    let refresh = match &policy.refresh_failure {
        Some(why) => format!("failed: {why}"),
        None => time(&policy.fetched),
    };
    vec![
        policy.domain.clone(),
        policy.mode.clone(),
        policy.id.clone(),
        time(&policy.expires),
        policy.mx.join(" "),
        refresh,
    ]
}

fn show(answer: &serde_json::Value, json: bool, out: &mut Output) -> anyhow::Result<()> {
    if json {
        return Ok(out.json(answer)?);
    }
    let detail: PolicyDetail = typed(answer)?;
    let policy = &detail.policy;
    out.field("domain", Some(&policy.domain))?;
    out.field("mode", Some(&policy.mode))?;
    out.field("id", Some(&policy.id))?;
    out.field("mx", Some(&policy.mx.join(" ")))?;
    out.field("max_age", Some(&format!("{} seconds", detail.max_age)))?;
    out.field("fetched", Some(&time(&policy.fetched)))?;
    out.field("expires", Some(&time(&policy.expires)))?;
    let next = detail.next_refresh.as_deref().map(time);
    out.field("next refresh", Some(&or_dash(next.as_deref())))?;
    out.field("last failure", policy.refresh_failure.as_deref())?;
    out.line("")?;
    for line in detail.text.lines() {
        out.line(line)?;
    }
    Ok(())
}

/// The domain is looked at here, so that a slip is a usage error and no request.
fn path(args: &PolicyDomain, action: &str) -> Result<String, Failure> {
    let domain = mail_types::Domain::parse(&args.domain).map_err(|error| {
        let message = format!("\"{}\" is no domain: {error}", args.domain);
        Failure::new(Status::Usage, message)
    })?;
    Ok(format!("/v1/policies/{}{action}", segment(domain.as_str())))
}

/// The body of a request that says all in its path: an empty object.
#[derive(serde::Serialize)]
struct Nothing {}
