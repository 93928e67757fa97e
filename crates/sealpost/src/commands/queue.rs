//! `sealpost queue …`

use std::io::{BufRead, IsTerminal, Write};

use admin::{
    ActionRequest, ActionResult, AttemptView, Filter, Page, PauseRequest, PauseResult, PausedView,
    QueueAction, QueueDetail, QueueItem, QueueSummary,
};

use crate::cli::{Destination, QueueCommand, Selection};
use crate::control_client::{ControlClient, path_to, segment, typed};
use crate::exit::{Failure, Status};
use terminal::Progress;
use terminal::{Output, Table, age, messages, or_dash, time};

/// Runs one of them.
pub(super) async fn run(
    client: &ControlClient,
    command: QueueCommand,
    out: &mut Output,
) -> anyhow::Result<()> {
    match command {
        QueueCommand::List {
            filter,
            limit,
            json,
        } => list(client, &filter.to_filter(), limit, json.json, out).await,
        QueueCommand::Show { id, json } => show(client, &id, json.json, out).await,
        QueueCommand::Retry(selection) => act(client, QueueAction::Retry, selection, out).await,
        QueueCommand::Hold(selection) => act(client, QueueAction::Hold, selection, out).await,
        QueueCommand::Release(selection) => act(client, QueueAction::Release, selection, out).await,
        QueueCommand::Cancel(selection) => act(client, QueueAction::Cancel, selection, out).await,
        QueueCommand::Bounce(selection) => act(client, QueueAction::Bounce, selection, out).await,
        QueueCommand::Pause(destination) => pause(client, destination, "pause", out).await,
        QueueCommand::Resume(destination) => pause(client, destination, "resume", out).await,
        QueueCommand::Summary { limit, json } => summary(client, limit, json.json, out).await,
    }
}

/// Page by page, so that a queue of any length is listed in little memory.
async fn list(
    client: &ControlClient,
    filter: &Filter,
    limit: Option<usize>,
    json: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let mut table = Table::new(&[
        "ID",
        "STATE",
        "ARRIVED",
        "NEXT ATTEMPT",
        "TRIES",
        "SENDER",
        "RECIPIENTS",
        "REASON",
    ]);
    let mut left = limit.unwrap_or(usize::MAX);
    let mut cursor: Option<String> = None;
    let mut listed = 0;
    let mut progress = Progress::new(json);
    let widest = widest(out.columns());
    while left > 0 {
        let mut query = query(filter);
        query.push(("limit", left.min(PAGE).to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let doing = match listed {
            0 => "reading the queue".to_owned(),
            n => format!("{} so far", messages(n as u64)),
        };
        // Whole lines on the terminal before anything is drawn below them.
        out.flush()?;
        let asked = client.get("/v1/queue", &query);
        let answer = progress.during(&doing, asked).await?;
        let page: Page<QueueItem> = typed(&answer)?;
        if json {
            let items = answer.get("items").and_then(|items| items.as_array());
            for item in items.into_iter().flatten().take(left) {
                out.json(item)?;
            }
        } else {
            let rows: Vec<_> = page
                .items
                .iter()
                .take(left)
                .map(|item| row(item, widest, out))
                .collect();
            table.rows(out, &rows)?;
        }
        listed += page.items.len().min(left);
        left = left.saturating_sub(page.items.len());
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if listed == 0 && !json {
        out.line("no messages")?;
    }
    Ok(())
}

/// Characters of an address in a list on a terminal of so many columns; `queue show` has it whole.
fn widest(columns: Option<usize>) -> usize {
    let left = columns.unwrap_or_default().saturating_sub(BESIDE_ADDRESSES);
    (left / 2).max(NARROW)
}

fn row(item: &QueueItem, widest: usize, out: &Output) -> Vec<String> {
    let short = |address: &str| out.cut(address, widest);
    let recipients = match item.recipients.as_slice() {
        [] => "-".to_owned(),
        [one] => short(one),
        [first, rest @ ..] => format!("{} +{}", short(first), rest.len()),
    };
    vec![
        item.id.clone(),
        state(item),
        time(&item.arrived),
        or_dash(item.next_attempt.as_deref().map(time).as_deref()),
        item.attempts.to_string(),
        short(&sender(&item.sender)),
        recipients,
        or_dash(item.reason.as_deref()),
    ]
}

/// With a word if no attempt is made for its destination's sake.
fn state(item: &QueueItem) -> String {
    let paused = if item.paused { " (paused)" } else { "" };
    format!("{}{paused}", item.state)
}

async fn show(
    client: &ControlClient,
    id: &str,
    json: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let path = path_to("/v1/queue", id, &mail_types::QueueIdError.to_string())?;
    let answer = client.get(&path, &[]).await?;
    if json {
        return Ok(out.json(&answer)?);
    }
    let detail: QueueDetail = typed(&answer)?;
    let item = &detail.item;
    out.field("id", Some(&item.id))?;
    out.field("state", Some(&state(item)))?;
    out.field("sender", Some(&sender(&item.sender)))?;
    out.field("client", detail.client.as_deref())?;
    out.field("upstream id", detail.upstream_id.as_deref())?;
    out.field("message-id", detail.message_id.as_deref())?;
    out.field("size", Some(&format!("{} bytes", item.size)))?;
    out.field("arrived", Some(&time(&item.arrived)))?;
    out.field("attempts", Some(&item.attempts.to_string()))?;
    out.field(
        "next attempt",
        item.next_attempt.as_deref().map(time).as_deref(),
    )?;
    let given_up = detail.expires.as_deref().map(time);
    out.field(
        "given up",
        Some(given_up.as_deref().unwrap_or(match item.state.as_str() {
            "held" => "not while it is held",
            _ => "not while its destination is paused",
        })),
    )?;
    out.field("reason", item.reason.as_deref())?;
    out.field("detail", item.detail.as_deref())?;
    out.line("")?;
    let mut table = Table::new(&["RECIPIENT", "STATE", "STATUS", "LAST REPLY"]);
    let rows: Vec<_> = detail
        .per_recipient
        .iter()
        .map(|recipient| {
            vec![
                recipient.address.clone(),
                recipient.state.clone(),
                or_dash(recipient.dsn.as_deref()),
                or_dash(recipient.reply.as_deref()),
            ]
        })
        .collect();
    table.rows(out, &rows)?;
    for attempt in &detail.history {
        show_attempt(attempt, &item.id, out)?;
    }
    if detail.history_left_out > 0 {
        let more = detail.history_left_out;
        out.line("")?;
        out.line(&format!("and {more} more results in between, not kept"))?;
    }
    Ok(())
}

fn show_attempt(attempt: &AttemptView, id: &str, out: &mut Output) -> anyhow::Result<()> {
    out.line("")?;
    let times = match attempt.times {
        1 => String::new(),
        times => format!(", {times} times with this result"),
    };
    out.field("attempt", Some(&format!("{}{times}", time(&attempt.at))))?;
    let recipients = attempt.recipients.join(", ");
    out.field("recipients", Some(&*recipients).filter(|r| !r.is_empty()))?;
    let peer = match (&attempt.mx, &attempt.ip) {
        (Some(mx), Some(ip)) => Some(format!("{mx} [{ip}]")),
        (mx, ip) => mx.clone().or_else(|| ip.clone()),
    };
    out.field("mx", peer.as_deref())?;
    for host in &attempt.tried {
        out.field("tried", Some(host))?;
    }
    out.field("tls", attempt.tls.as_deref())?;
    out.field("policy", attempt.policy.as_deref())?;
    out.field("reason", attempt.reason.as_deref())?;
    out.field("status", attempt.dsn.as_deref())?;
    out.field("reply", attempt.reply.as_deref())?;
    out.field("detail", attempt.detail.as_deref())?;
    let Some(transcript) = &attempt.transcript else {
        return Ok(());
    };
    let whose = match transcript.queue_id.as_str() {
        own if own == id => String::new(),
        other => format!(" (of another message, {other})"),
    };
    let heading = format!(
        "the last one with this reason{whose}, with {} at {}",
        transcript.peer,
        time(&transcript.at)
    );
    out.field("dialogue", Some(&heading))?;
    for line in transcript.text.lines() {
        out.line(&format!("    {line}"))?;
    }
    Ok(())
}

async fn summary(
    client: &ControlClient,
    limit: Option<usize>,
    json: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let limit: Vec<_> = limit
        .map(|n| ("limit", n.to_string()))
        .into_iter()
        .collect();
    let asked = client.get("/v1/queue/summary", &limit);
    let mut progress = Progress::new(json);
    let answer = progress.during("adding up the queue", asked).await?;
    drop(progress);
    if json {
        return Ok(out.json(&answer)?);
    }
    let summary: QueueSummary = typed(&answer)?;
    let mut table = Table::new(&[
        "MESSAGES",
        "DOMAIN",
        "REASON",
        "MOVE",
        "OLDEST",
        "AGE",
        "NEXT ATTEMPT",
        "WHY",
    ]);
    let room = out.columns().unwrap_or_default();
    let room = room.saturating_sub(BESIDE_SENTENCES).max(NARROW);
    let rows: Vec<_> = summary
        .rows
        .iter()
        .map(|row| {
            vec![
                row.messages.to_string(),
                match &row.route {
                    Some(route) => format!("{} via {route}", row.domain),
                    None => row.domain.clone(),
                },
                match (&row.reason, &row.cause) {
                    (Some(reason), Some(cause)) => format!("{reason} ({cause})"),
                    (reason, _) => or_dash(reason.as_deref()),
                },
                or_dash(row.side.as_deref().map(whose)),
                time(&row.oldest),
                age(row.oldest_age),
                match (row.paused, row.next_attempt.as_deref().map(time)) {
                    (true, _) => "paused".to_owned(),
                    (false, next) => or_dash(next.as_deref()),
                },
                match (&row.sentence, &row.reason) {
                    (Some(sentence), _) => out.cut(sentence, room),
                    (None, None) => "not tried yet".to_owned(),
                    (None, Some(_)) => "-".to_owned(),
                },
            ]
        })
        .collect();
    table.rows(out, &rows)?;
    if summary.next.is_some() {
        out.line("…")?;
    }
    out.line(&messages(summary.messages))?;
    for paused in &summary.paused {
        out.line(&paused_line(paused))?;
    }
    Ok(())
}

/// Whose move it is, in a word.
pub(super) fn whose(side: &str) -> &str {
    match side {
        "recipient-admin" => "theirs",
        "us" => "ours",
        "wait" => "passes",
        other => other,
    }
}

/// What an operator keeps back, in one line.
pub(super) fn paused_line(paused: &PausedView) -> String {
    format!(
        "{} is paused since {} by {}: {}",
        paused.domain,
        time(&paused.since),
        paused.by,
        paused.because
    )
}

async fn pause(
    client: &ControlClient,
    destination: Destination,
    action: &str,
    out: &mut Output,
) -> anyhow::Result<()> {
    let path = format!("/v1/destinations/{}/{action}", segment(&destination.domain));
    let request = PauseRequest {
        reason: destination.because,
    };
    let answer = client.post(&path, &request).await?;
    if destination.json.json {
        return Ok(out.json(&answer)?);
    }
    let result: PauseResult = typed(&answer)?;
    if let ("pause", false, Some(paused)) = (action, result.changed, &result.paused) {
        out.line(&paused_line(paused))?;
    }
    let what = match (action, result.changed) {
        ("pause", true) => "is paused",
        ("pause", false) => "was paused already, and nothing was changed",
        (_, true) => "goes on",
        (_, false) => "was not paused",
    };
    let waiting = match result.messages {
        Some(1) => "; 1 message waits for it".to_owned(),
        Some(n) => format!("; {n} messages wait for it"),
        None => String::new(),
    };
    out.line(&format!("{} {what}{waiting}", result.domain))?;
    Ok(())
}

/// Acts on what is selected. What cannot be undone is counted first, and asked about if it is much.
async fn act(
    client: &ControlClient,
    action: QueueAction,
    selection: Selection,
    out: &mut Output,
) -> anyhow::Result<()> {
    let filter = selection.filter.to_filter();
    if selection.ids.is_empty() && filter.is_empty() && !selection.all {
        return Err(Failure::new(Status::Usage, "name queue ids or a filter, or say --all").into());
    }
    let json = selection.json.json;
    let mut request = ActionRequest {
        action,
        ids: selection.ids,
        filter,
        all: selection.all,
        dry_run: true,
        reason: selection.because,
    };
    let is_final = matches!(action, QueueAction::Cancel | QueueAction::Bounce);
    if is_final && !selection.yes && !selection.dry_run {
        let asked = client.post(ACTIONS, &request);
        let counted = Progress::new(json)
            .during("counting messages", asked)
            .await?;
        let counted: ActionResult = typed(&counted)?;
        if counted.matched > MANY {
            confirm(action, counted.matched)?;
        }
    }
    request.dry_run = selection.dry_run;
    let doing = match (selection.dry_run, action) {
        (true, _) => "counting messages",
        (false, QueueAction::Retry) => "making messages due",
        (false, QueueAction::Hold) => "holding messages",
        (false, QueueAction::Release) => "releasing messages",
        (false, QueueAction::Cancel) => "removing messages",
        (false, QueueAction::Bounce) => "returning messages",
    };
    let asked = client.post(ACTIONS, &request);
    let answer = Progress::new(json).during(doing, asked).await?;
    let result: ActionResult = typed(&answer)?;
    if selection.json.json {
        out.json(&answer)?;
    } else {
        told(&result, action, selection.dry_run, out)?;
    }
    for id in result.unknown.iter().take(NAMED) {
        eprintln!("sealpost: {id} is not in the queue");
    }
    match result.unknown.len().saturating_sub(NAMED) {
        0 => {}
        more => eprintln!("sealpost: nor are {more} others; --json names all"),
    }
    Ok(())
}

fn told(
    result: &ActionResult,
    action: QueueAction,
    dry_run: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let suffix = match (dry_run, result.under_way, result.matched) {
        (true, ..) => " would be meant".to_owned(),
        (false, 0, _) => String::new(),
        (false, _, 1) => "; it was being delivered just now and may still arrive".to_owned(),
        (false, 1, _) => "; 1 of them was being delivered just now and may still arrive".to_owned(),
        (false, n, _) => {
            format!("; {n} of them were being delivered just now and may still arrive")
        }
    };
    let untried = untried(result);
    let already = already(result, action);
    let count = messages(result.matched);
    Ok(out.line(&format!("{count}{suffix}{untried}{already}"))?)
}

/// What matches and needs nothing.
fn already(result: &ActionResult, action: QueueAction) -> String {
    match (action, result.already) {
        (_, 0) => String::new(),
        (QueueAction::Release, 1) => " (1 more is not held)".to_owned(),
        (QueueAction::Release, n) => format!(" ({n} more are not held)"),
        (_, 1) => " (1 more is held already)".to_owned(),
        (_, n) => format!(" ({n} more are held already)"),
    }
}

/// What of it no attempt is made on.
fn untried(result: &ActionResult) -> String {
    let held = (result.held > 0).then(|| format!("{} held", result.held));
    let paused = (result.paused > 0).then(|| match result.paused {
        1 => "1 at a paused destination".to_owned(),
        n => format!("{n} at paused destinations"),
    });
    let parts: Vec<String> = held.into_iter().chain(paused).collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!(" ({}: not tried)", parts.join(", ")),
    }
}

fn confirm(action: QueueAction, matched: u64) -> anyhow::Result<()> {
    let what = match action {
        QueueAction::Cancel => "removed without telling their senders",
        QueueAction::Bounce => "returned to their senders",
        QueueAction::Retry | QueueAction::Hold | QueueAction::Release => "changed",
    };
    let question = format!("{matched} messages would be {what}");
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let remedy = format!("{question}; say --yes to do it");
        return Err(Failure::new(Status::Usage, remedy).into());
    }
    eprint!("{question}. Do it? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Status::Usage, "nothing was done").into()),
    }
}

fn query(filter: &Filter) -> Vec<(&'static str, String)> {
    let texts = [
        ("domain", &filter.domain),
        ("sender", &filter.sender),
        ("recipient", &filter.recipient),
        ("reason", &filter.reason),
        ("side", &filter.side),
        ("state", &filter.state),
    ];
    let mut query: Vec<_> = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name, text.clone()?)))
        .collect();
    query.extend(filter.older.map(|secs| ("older", secs.to_string())));
    query.extend(
        filter
            .attempts_over
            .map(|n| ("attempts-over", n.to_string())),
    );
    query
}

fn sender(address: &str) -> String {
    if address.is_empty() {
        "<>".to_owned()
    } else {
        address.to_owned()
    }
}

/// Unknown ids that have a line each.
const NAMED: usize = 100;
const ACTIONS: &str = "/v1/queue/actions";
const PAGE: usize = 500;
/// Characters of an address where a terminal is narrow.
const NARROW: usize = 32;
/// What the other columns of a list take with a long reason, and how many recipients there are besides.
const BESIDE_ADDRESSES: usize = 112;
/// What the other columns of the summary take.
const BESIDE_SENTENCES: usize = 110;
/// More than this is not cancelled or bounced by a slip of the hand.
const MANY: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_room_that_the_terminal_has() {
        for (columns, want) in [
            (None, 32),
            (Some(80), 32),
            (Some(176), 32),
            (Some(200), 44),
            (Some(300), 94),
        ] {
            assert_eq!(widest(columns), want, "{columns:?}");
        }
    }

    #[test]
    fn a_filter_becomes_the_query_that_the_api_takes() {
        let filter = Filter {
            sender: Some(String::new()),
            side: Some("us".to_owned()),
            older: Some(7200),
            attempts_over: Some(3),
            ..Filter::default()
        };
        let query = query(&filter);
        let expected = [
            ("sender", ""),
            ("side", "us"),
            ("older", "7200"),
            ("attempts-over", "3"),
        ];
        assert_eq!(
            query,
            expected.map(|(name, value)| (name, value.to_owned()))
        );
        let read: serde_json::Value = serde_json::to_value(&filter).unwrap();
        for (name, _) in &query {
            assert!(read.get(name).is_some(), "{name} is no field of the filter");
        }
    }

    #[tokio::test]
    async fn an_empty_id_is_no_id_and_no_command_of_another_version() {
        let client = ControlClient::new("/nonexistent/control.sock".into());
        let mut out = Output::to(Box::new(std::io::sink()));
        let refused = show(&client, "", false, &mut out).await.unwrap_err();
        assert!(
            refused.to_string().contains("\"\" is not a queue id"),
            "{refused}"
        );
        let refused = crate::commands::status::explain(&client, "", false, &mut out).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("neither a queue id nor a domain"),
            "{refused}"
        );
    }
}
