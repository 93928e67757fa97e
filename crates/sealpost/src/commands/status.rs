//! `sealpost status`, `explain` and `reload`.

use std::collections::BTreeSet;
use std::time::SystemTime;

use admin::{
    CertificateView, ClockView, Explanation, LogLossView, LookupView, PauseRequest, RecentView,
    ReloadResult, Section, StatusView,
};
use mail_types::Timestamp;
use serde_json::Value;

use super::report;
use crate::cli::ClockCommand;
use crate::control_client::{ControlClient, path_to, typed};
use crate::exit::{Failure, Status};
use terminal::Progress;
use terminal::{Output, Table, messages, time};

/// One screen about the running daemon.
pub(super) async fn status(
    client: &ControlClient,
    json: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let answer = client.get("/v1/status", &[]).await?;
    if json {
        return Ok(out.json(&answer)?);
    }
    let status: StatusView = typed(&answer)?;
    let state = if status.ready { "ready" } else { "not ready" };
    out.field("server", Some(&format!("{} ({state})", status.hostname)))?;
    let since = format!(
        "{}, running since {}",
        status.version,
        time(&status.started)
    );
    out.field("version", Some(&since))?;
    for problem in &status.problems {
        out.field("problem", Some(problem))?;
    }
    out.field("log", status.log.as_ref().map(log_line).as_deref())?;
    last_reload(&status, out)?;
    let queue = format!(
        "{}{}",
        messages(status.queue_messages),
        by_name(&status.queue_by_state)
    );
    out.field("queue", Some(&queue))?;
    if counted_more_than_once(&status) {
        let note = "by state a message counts once for each destination";
        out.field("", Some(note))?;
    }
    let waiting: Vec<String> = status
        .waiting_for
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(side, count)| match side.as_str() {
            "us" => format!("{count} for us"),
            "recipient-admin" => format!("{count} for the recipients' side"),
            _ => format!("{count} for what usually passes"),
        })
        .collect();
    if !waiting.is_empty() {
        let waiting = format!("{} (`sealpost queue summary`)", waiting.join(", "));
        out.field("waiting", Some(&waiting))?;
    }
    let now = Timestamp::from_system(SystemTime::now());
    for certificate in &status.certificates {
        out.field("certificate", certificate_line(certificate, now).as_deref())?;
    }
    out.field("clock", clock_line(&status.clock).as_deref())?;
    for paused in &status.paused {
        out.field("paused", Some(&super::queue::paused_line(paused)))?;
    }
    out.field("oldest", status.oldest.as_deref().map(time).as_deref())?;
    let attempts = format!(
        "{} delivered, {} deferred, {} bounced since the start",
        status.delivered, status.deferred, status.bounced
    );
    out.field("deliveries", Some(&attempts))?;
    let recently = status.recently.as_ref().and_then(recently);
    out.field("recently", recently.as_deref())?;
    let aside = "wait for a place at their hosts".to_owned();
    let aside = by_name(&[(aside, status.waiting_for_hosts)]);
    out.field(
        "connections",
        Some(&format!("{}{aside}", status.connections)),
    )?;
    policies(&status, out)?;
    out.field("resolver", Some(&lookups(&status.lookups)))?;
    out.field("dnssec", Some(&status.dnssec))?;
    let disk = format!(
        "{} used, {} free",
        rounded(status.store_bytes),
        rounded(status.free_bytes)
    );
    out.field("disk", Some(&disk))?;
    listeners(&status, out)
}

fn policies(status: &StatusView, out: &mut Output) -> anyhow::Result<()> {
    let policies: u64 = status.policies_by_mode.iter().map(|(_, n)| n).sum();
    let policies = format!("{policies}{}", by_name(&status.policies_by_mode));
    out.field("policies", Some(&policies))?;
    out.field("exempt", exempt_line(status).as_deref())?;
    out.field("at risk", at_risk_line(status).as_deref())?;
    out.field("TLS reports", Some(&report::status_line(status)))?;
    Ok(())
}

/// Domains whose mail goes unprotected because an operator has said so.
fn exempt_line(status: &StatusView) -> Option<String> {
    let domains = match status.policies_exempt {
        0 => return None,
        1 => "1 domain from its policy".to_owned(),
        n => format!("{n} domains from their policies"),
    };
    let until = status.exempt_until.as_deref().map(time).unwrap_or_default();
    Some(format!(
        "{domains}, until {until} at the latest (`sealpost policy list`)"
    ))
}

/// Policies that protect no more, or soon will not.
fn at_risk_line(status: &StatusView) -> Option<String> {
    let policies = |n: u64, alone: &str, many: &str| match n {
        0 => None,
        1 => Some(format!("1 policy {alone}")),
        n => Some(format!("{n} policies {many}")),
    };
    let failing = policies(
        status.policies_at_risk,
        "cannot be refreshed",
        "cannot be refreshed",
    );
    let over = policies(status.policies_ran_out, "has run out", "have run out");
    let all: Vec<String> = [failing, over].into_iter().flatten().collect();
    (!all.is_empty()).then(|| format!("{} (`sealpost policy list`)", all.join(", ")))
}

/// That the configuration on disk is not what is in force.
fn last_reload(status: &StatusView, out: &mut Output) -> anyhow::Result<()> {
    if let Some(since) = &status.reload.under_way_since {
        let waiting = match status.reload.waiting {
            0 => String::new(),
            n => format!(", {n} more waiting"),
        };
        let story = format!("under way since {}{waiting}", time(since));
        out.field("reload", Some(&story))?;
    }
    if let Some(failed) = &status.reload.failed {
        let failed = format!("{failed}; what was in force before stays");
        out.field("reload", Some(&failed))?;
    }
    if !status.reload.needs_restart.is_empty() {
        let keys = status.reload.needs_restart.join(", ");
        out.field("restart", Some(&format!("needed for {keys}")))?;
    }
    Ok(())
}

fn listeners(status: &StatusView, out: &mut Output) -> anyhow::Result<()> {
    out.line("")?;
    let rows: Vec<_> = status
        .listeners
        .iter()
        .map(|l| {
            let state = match &l.closed {
                Some(text) => format!("closed: {text}"),
                None => "open".to_owned(),
            };
            let clients = l.clients.to_string();
            vec![l.name.clone(), l.address.clone(), clients, state]
        })
        .collect();
    Table::new(&["LISTENER", "ADDRESS", "CLIENTS", "STATE"]).rows(out, &rows)?;
    Ok(())
}

/// Recipients delivered in the last minutes.
fn recently(recent: &RecentView) -> Option<String> {
    // To the nearest: a sample comes a second late now and then.
    let minutes = (recent.seconds + 30) / 60;
    let (delivered, until) = (recent.delivered, time(&recent.until));
    (minutes > 0).then(|| format!("{delivered} delivered in the {minutes} min until {until}"))
}

/// All kinds of look-up in one line.
fn lookups(kinds: &[LookupView]) -> String {
    let sum = |of: fn(&LookupView) -> u64| kinds.iter().map(of).sum::<u64>();
    let failed = kinds.iter().filter(|kind| kind.failed > 0);
    let failed: Vec<String> = failed.map(|k| format!("{} {}", k.failed, k.kind)).collect();
    let (answered, failures) = (sum(|k| k.answered), sum(|k| k.failed));
    let which = if failed.is_empty() {
        String::new()
    } else {
        format!(" ({})", failed.join(", "))
    };
    format!("{answered} look-ups answered, {failures} failed{which} since the start")
}

/// The clock, and an operator's word on it.
pub(super) async fn clock(
    client: &ControlClient,
    command: ClockCommand,
    out: &mut Output,
) -> anyhow::Result<()> {
    let (answer, json) = match command {
        ClockCommand::Show(json) => (client.get("/v1/clock", &[]).await?, json.json),
        ClockCommand::Accept { because, json } => {
            let request = PauseRequest { reason: because };
            let answer = client.post("/v1/clock/accept", &request).await?;
            (answer, json.json)
        }
    };
    if json {
        return Ok(out.json(&answer)?);
    }
    let clock: ClockView = typed(&answer)?;
    out.field("time", Some(&time(&clock.judged)))?;
    out.field("clock", clock_line(&clock).as_deref())?;
    Ok(())
}

/// A certificate of ours that somebody should look at: it has ended, or soon ends, or cannot be read.
fn certificate_line(certificate: &CertificateView, now: Timestamp) -> Option<String> {
    let of = &certificate.of;
    let Some(end) = &certificate.not_after else {
        return Some(format!("{of}: cannot be read"));
    };
    let parsed: jiff::Timestamp = end.parse().ok()?;
    let left = parsed.as_second() - i64::try_from(now.as_secs()).ok()?;
    if left < 0 {
        return Some(format!("{of}: ended {} ago ({})", rough(-left), time(end)));
    }
    (left < SOON).then(|| format!("{of}: ends in {} ({})", rough(left), time(end)))
}

/// In the largest unit of which there is one.
fn rough(seconds: i64) -> String {
    match seconds {
        s if s >= 86_400 => format!("{} d", s / 86_400),
        s if s >= 3600 => format!("{} h", s / 3600),
        s => format!("{} min", s / 60),
    }
}

/// Whether the states add up to more messages than there are.
fn counted_more_than_once(status: &StatusView) -> bool {
    let counted: u64 = status.queue_by_state.iter().map(|(_, n)| n).sum();
    counted > status.queue_messages
}

/// What is doubted, if anything.
fn clock_line(clock: &ClockView) -> Option<String> {
    let wall = clock.doubted.as_deref()?;
    Some(format!(
        "says {} and is not believed: it has jumped, and has been steady for {} of the 120 minutes that it takes; \
         `sealpost clock accept` if it is right",
        time(wall),
        clock.steady.unwrap_or_default() / 60
    ))
}

/// Events are being lost: how many, since when, why.
fn log_line(loss: &LogLossView) -> String {
    let events = match loss.lost {
        1 => "1 event was".to_owned(),
        n => format!("{n} events were"),
    };
    format!(
        "{events} lost since {}, and it has not gone on: {}",
        time(&loss.since),
        loss.cause
    )
}

/// Plain words about a message or a domain.
pub(super) async fn explain(
    client: &ControlClient,
    subject: &str,
    json: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let path = path_to("/v1/explain", subject, "neither a queue id nor a domain")?;
    // What is known here is told before anybody else is asked.
    let mut told = BTreeSet::new();
    if !json {
        let known = client.get(&path, &[("live", "false".to_owned())]).await;
        // A relay that has not been restarted since its program became a later one may not know the
        // parameter; whatever else it refuses, it refuses without it too.
        if let Some(known) = if_not_refused(known)? {
            let known: Explanation = typed(&known)?;
            sections(&known.sections, &told, out)?;
            told.extend(known.sections.into_iter().map(|section| section.title));
            out.flush()?;
        }
    }
    let asked = client.get(&path, &[]);
    let doing = "asking DNS and the policy host";
    let answer = Progress::new(json).during(doing, asked).await;
    let answer = match answer {
        // What has been told stays true, of a message that has left the queue since.
        Err(gone) if gone.status == Status::Data && !told.is_empty() => {
            out.line("")?;
            return Ok(out.paragraph(&gone.message)?);
        }
        answer => answer?,
    };
    if json {
        return Ok(out.json(&answer)?);
    }
    let explanation: Explanation = typed(&answer)?;
    sections(&explanation.sections, &told, out)?;
    if let Some(letter) = &explanation.letter {
        out.line("")?;
        out.heading("A letter to the recipient's administrator, ready to be sent")?;
        for line in letter.lines() {
            out.line(&format!("  | {line}"))?;
        }
    }
    Ok(())
}

/// None if the daemon says that the question is wrong, or that there is no such thing.
fn if_not_refused(answer: Result<Value, Failure>) -> Result<Option<Value>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(refused) if [Status::Data, Status::Usage].contains(&refused.status) => Ok(None),
        Err(failed) => Err(failed),
    }
}

/// Those whose titles have not been told yet.
fn sections(all: &[Section], told: &BTreeSet<String>, out: &mut Output) -> anyhow::Result<()> {
    let new = all.iter().filter(|section| !told.contains(&section.title));
    for (n, section) in new.enumerate() {
        if n > 0 || !told.is_empty() {
            out.line("")?;
        }
        out.heading(&section.title)?;
        for paragraph in &section.paragraphs {
            out.paragraph(paragraph)?;
        }
    }
    Ok(())
}

/// Lets the daemon read its configuration anew.
pub(super) async fn reload(
    client: &ControlClient,
    json: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let asked = client.post("/v1/reload", &Value::Null);
    let doing = "reading the configuration anew";
    let answer = Progress::new(json).during(doing, asked).await?;
    if json {
        return Ok(out.json(&answer)?);
    }
    let result: ReloadResult = typed(&answer)?;
    for change in &result.changes {
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        let (old, new) = (old.unwrap_or("unset"), new.unwrap_or("unset"));
        let effect = if change.in_effect {
            "in effect"
        } else {
            "needs a restart"
        };
        out.line(&format!("{}: {old} -> {new}: {effect}", change.key))?;
    }
    if result.changes.is_empty() {
        out.line("no key has changed; the files that keys name were read again")?;
    }
    Ok(())
}

/// ` (2 active, 5 deferred)`, or nothing.
fn by_name(counts: &[(String, u64)]) -> String {
    let parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", parts.join(", "))
    }
}

/// For people: three digits or so, in the largest unit that fits.
pub(super) fn rounded(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, factor)| bytes >= *factor) {
        Some((name, factor)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*factor);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// Seconds: certificates that end within 30 days are told.
const SOON: i64 = 30 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    /// What was printed.
    #[derive(Clone, Default)]
    struct Printed(Arc<Mutex<Vec<u8>>>);

    impl Write for Printed {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(text);
            Ok(text.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_protects_less_is_told_where_people_look() {
        let told = |more: Value| {
            let mut status = json!({
                "version": "", "hostname": "", "started": "", "ready": true, "problems": [],
                "listeners": [], "queue_messages": 0, "queue_by_state": [], "oldest": null,
                "delivered": 0, "deferred": 0, "bounced": 0, "connections": 0,
                "policies_by_mode": [], "dnssec": "", "store_bytes": 0, "free_bytes": 0,
            });
            let fields = status.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            let status: StatusView = serde_json::from_value(status).unwrap();
            (exempt_line(&status), at_risk_line(&status))
        };
        assert_eq!(told(json!({})), (None, None));
        // Overdue by minutes: nobody has to look yet.
        assert_eq!(told(json!({ "policy_expiry_in": 90_000 })), (None, None));
        let (exempt, at_risk) = told(json!({
            "policies_exempt": 2, "exempt_until": "2026-03-01T00:00:00.000Z",
            "policies_at_risk": 1, "policy_expiry_in": 90_000, "policies_ran_out": 3,
        }));
        let exempt = exempt.unwrap();
        assert!(
            exempt.starts_with("2 domains from their policies, until 2026-03-01"),
            "{exempt}"
        );
        assert_eq!(
            at_risk.unwrap(),
            "1 policy cannot be refreshed, 3 policies have run out (`sealpost policy list`)"
        );
    }

    /// `explain` against a daemon that gives these answers, one after the other.
    async fn explained(answers: [(u16, Value); 2]) -> (anyhow::Result<()>, String) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = tokio::spawn(async move {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await.unwrap();
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        });
        let printed = Printed::default();
        let mut out = Output::to(Box::new(printed.clone()));
        let client = ControlClient::new(socket);
        let result = explain(&client, "00000000000z", false, &mut out).await;
        serving.await.unwrap();
        let text = String::from_utf8(printed.0.lock().clone()).unwrap();
        (result, text)
    }

    fn sections_of(titles: &[&str]) -> Value {
        let sections = titles.iter().map(
            |title| serde_json::json!({ "title": title, "paragraphs": [format!("about {title}")] }),
        );
        serde_json::json!({
            "subject": "00000000000z", "paragraphs": [], "sections": sections.collect::<Vec<_>>(),
        })
    }

    fn problem(status: u16, key: &str, detail: &str) -> (u16, Value) {
        let body = serde_json::json!({
            "type": format!("urn:sealpost:problem:{key}"), "title": "t", "status": status, "detail": detail,
        });
        (status, body)
    }

    #[tokio::test]
    async fn a_daemon_that_does_not_know_the_short_question_is_asked_the_long_one() {
        let old = problem(400, "unknown-parameter", "no parameter live");
        let (result, text) = explained([old, (200, sections_of(&["Why"]))]).await;
        result.unwrap();
        assert_eq!(text.matches("about Why").count(), 1, "{text}");
    }

    #[tokio::test]
    async fn what_was_told_stays_told_if_the_message_leaves_the_queue() {
        let gone = problem(404, "not-found", "message 00000000000z is not in the queue");
        let (result, text) = explained([(200, sections_of(&["What happens"])), gone]).await;
        result.unwrap();
        assert!(
            text.contains("about What happens") && text.contains("is not in the queue"),
            "{text}"
        );
        // Where nothing was told that is the answer.
        let gone = || problem(404, "not-found", "message 00000000000z is not in the queue");
        let (result, text) = explained([gone(), gone()]).await;
        let failure: Failure = result.unwrap_err().downcast().unwrap();
        assert_eq!((failure.status, text.as_str()), (Status::Data, ""));
    }

    #[test]
    fn certificates_are_told_when_they_have_ended_or_soon_end() {
        let now = Timestamp::from_secs(1_772_366_400); // 2026-03-01T12:00:00Z
        let said = |end: Option<&str>| {
            let certificate = CertificateView {
                of: "listener tls".to_owned(),
                not_after: end.map(str::to_owned),
            };
            certificate_line(&certificate, now)
        };
        for (end, want) in [
            (
                Some("2026-02-27T11:00:00Z"),
                Some("listener tls: ended 2 d ago (2026-02-27T11:00:00Z)"),
            ),
            (
                Some("2026-03-01T15:30:00.5Z"),
                Some("listener tls: ends in 3 h (2026-03-01T15:30:00Z)"),
            ),
            (Some("2026-03-31T12:00:00Z"), None),
            (None, Some("listener tls: cannot be read")),
        ] {
            assert_eq!(said(end).as_deref(), want, "{end:?}");
        }
    }

    #[test]
    fn what_was_delivered_lately_is_told_with_minutes_to_the_nearest() {
        let said = |seconds: u64, delivered: u64| {
            recently(&RecentView {
                delivered,
                deferred: 0,
                bounced: 0,
                seconds,
                until: "1970-01-01T00:04:01.000Z".to_owned(),
            })
        };
        // And until when it was counted.
        let until = "until 1970-01-01T00:04:01Z";
        assert_eq!(
            said(241, 1).unwrap(),
            format!("1 delivered in the 4 min {until}")
        );
        assert_eq!(
            said(239, 1).unwrap(),
            format!("1 delivered in the 4 min {until}")
        );
        assert_eq!(
            said(60, 70).unwrap(),
            format!("70 delivered in the 1 min {until}")
        );
        assert_eq!(said(29, 1), None);
    }

    #[test]
    fn counts_and_sizes_in_words() {
        let counts = [("active".to_owned(), 2), ("held".to_owned(), 0)];
        assert_eq!(by_name(&counts), " (2 active)");
        assert_eq!(by_name(&[]), "");
        assert_eq!(rounded(1_610_612_736), "1.5 GiB");
        assert_eq!(rounded(1023), "1023 B");
    }
}
