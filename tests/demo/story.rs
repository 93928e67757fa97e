//! The demonstration itself.

use std::time::{Duration, Instant};

use sealpost_tests::{Event, Relay, eventually};

use crate::explanation::explain;
use crate::internet::{Expected, Internet, SITES, Site};
use crate::screen::{Ink, Screen};

/// Tells all of it; whether every message fared as expected.
pub(crate) async fn tell() -> bool {
    let screen = Screen::new();
    let begun = Instant::now();
    screen.line(Ink::Bold, "Sealpost: one message to each of six domains");
    screen.wrapped(Ink::Dim, 0, PREFACE);
    let internet = Internet::start().await;
    let mut relay = Relay::start(internet.relay()).await;
    let ready = begun.elapsed().as_secs_f64();
    screen.line(
        Ink::Dim,
        &format!("sealpost serve: ready after {ready:.1} s"),
    );

    let mut outcomes = Vec::new();
    for (n, site) in SITES.iter().enumerate() {
        screen.line(
            Ink::Bold,
            &format!("\n{}. {}  {}", n + 1, site.domain, site.about),
        );
        outcomes.push(deliver(&relay, site, &screen).await);
    }
    let waiting = outcomes
        .iter()
        .flatten()
        .find(|event| event.is("delivery.deferred"))
        .map(|event| event.text("queue_id").to_owned());
    show_command(&relay, &["queue", "summary"], &screen).await;
    if let Some(id) = waiting {
        show_command(&relay, &["explain", &id], &screen).await;
    }

    let good = results(&internet, &outcomes, &screen);
    let ended = relay.terminate(PATIENCE).await;
    if !ended.success() {
        screen.line(
            Ink::Red,
            &format!("sealpost did not end well after SIGTERM: {ended}"),
        );
    }
    good && ended.success()
}

/// Sends one message and shows the events about it; the last is the outcome.
async fn deliver(relay: &Relay, site: &Site, screen: &Screen) -> Option<Event> {
    let before = relay.events().len();
    let to = format!("ann@{}", site.domain);
    let content = format!(
        "From: demo@sender.test\r\nTo: {to}\r\nSubject: Hello\r\n\
         Message-ID: <{}@sender.test>\r\n\r\nA letter, not a postcard.\r\n",
        site.domain
    );
    let started = Instant::now();
    let id = relay
        .send("demo@sender.test", &[&to], content.as_bytes())
        .await;
    let mut shown = before;
    let mut outcome: Option<Event> = None;
    // A message that is done is removed; one that waits stays.
    let mut last = vec!["message.removed"];
    last.extend(site.is_tested().then_some("policy.testing-would-fail"));
    let _ = eventually(PATIENCE, async || {
        let events = relay.events();
        for event in events.iter().skip(shown) {
            let about_us = event.text("queue_id") == id || event.text("domain") == site.domain;
            if about_us && let Some(text) = explain(event) {
                show(event, text, started.elapsed(), screen);
            }
            if event.text("queue_id") == id && event.text("event").starts_with("delivery.") {
                outcome = Some(event.clone());
                last.retain(|name| event.is("delivery.sent") || *name != "message.removed");
            }
            last.retain(|name| !(about_us && event.is(name)));
        }
        shown = events.len();
        (outcome.is_some() && last.is_empty()).then_some(())
    })
    .await;
    outcome
}

fn show(event: &Event, explanation: &str, after: Duration, screen: &Screen) {
    let name = event.text("event");
    let ink = match name {
        "delivery.sent" => Ink::Green,
        "delivery.deferred" | "policy.testing-would-fail" => Ink::Yellow,
        "delivery.bounced" | "delivery.expired" => Ink::Red,
        _ => Ink::Plain,
    };
    let painted = screen.paint(ink, &format!("{name:<26}"));
    let facts = facts(event);
    screen.put(&format!(
        "  {:>6.3} s  {painted}{facts}\n",
        after.as_secs_f64()
    ));
    if name.starts_with("delivery.") && !event.text("detail").is_empty() {
        screen.wrapped(Ink::Plain, INDENT, event.text("detail"));
    }
    screen.wrapped(Ink::Dim, INDENT, explanation);
}

/// The fields that matter most, as they stand in the log.
fn facts(event: &Event) -> String {
    let mut facts = Vec::new();
    for (key, pointer) in [
        ("queue_id", "/queue_id"),
        ("mode", "/mode"),
        ("reason", "/reason"),
        ("dsn", "/dsn"),
        ("mx", "/mx"),
        ("tls", "/tls/version"),
        ("authenticated", "/tls/authenticated"),
        ("attempt", "/attempt"),
    ] {
        if let Some(text) = event.at(pointer).as_str() {
            facts.push(format!("{key}={text}"));
        } else if let Some(number) = event.at(pointer).as_u64() {
            facts.push(format!("{key}={number}"));
        }
    }
    // Which message it is, the heading says.
    if !event.is("message.received") {
        facts.retain(|fact| !fact.starts_with("queue_id="));
    }
    facts.join(" ")
}

async fn show_command(relay: &Relay, args: &[&str], screen: &Screen) {
    screen.line(Ink::Bold, &format!("\n$ sealpost {}", args.join(" ")));
    let output = relay.cli(args).await;
    screen.block(&output.stdout);
    screen.block(&output.stderr);
}

/// The table at the end; whether all is as expected.
fn results(internet: &Internet, outcomes: &[Option<Event>], screen: &Screen) -> bool {
    screen.line(Ink::Bold, "\nWhat became of the six messages");
    let mut good = 0;
    for (n, (site, outcome)) in SITES.iter().zip(outcomes).enumerate() {
        let became = describe(outcome.as_ref());
        let as_expected = outcome.as_ref().is_some_and(|event| {
            let (fits, taken) = match site.expected {
                Expected::SentVerified => (
                    event.is("delivery.sent") && event.at("/tls/authenticated") == "pkix",
                    1,
                ),
                Expected::Sent => (event.is("delivery.sent"), 1),
                Expected::Deferred(reason) => (
                    event.is("delivery.deferred") && event.text("reason") == reason,
                    0,
                ),
            };
            fits && internet.taken(n) == taken
        });
        let (ink, verdict) = if as_expected {
            (Ink::Green, "as expected")
        } else {
            (Ink::Red, "NOT AS EXPECTED")
        };
        good += usize::from(as_expected);
        screen.put(&format!(
            "  {:<23}{became:<34}{}\n",
            site.domain,
            screen.paint(ink, verdict)
        ));
    }
    screen.line(Ink::Bold, &format!("{good} of {} as expected", SITES.len()));
    good == SITES.len()
}

fn describe(outcome: Option<&Event>) -> String {
    let Some(event) = outcome else {
        return "no attempt ended in time".into();
    };
    match event.text("event") {
        "delivery.sent" if event.at("/tls").is_null() => "delivered in plain text".into(),
        "delivery.sent" if event.at("/tls/authenticated") == "none" => {
            "delivered over unverified TLS".into()
        }
        "delivery.sent" => "delivered over verified TLS".into(),
        "delivery.deferred" => format!("waits: {}", event.text("reason")),
        other => other.to_owned(),
    }
}

const PREFACE: &str = "The real binary runs on a private loopback of its own, with a name server, a \
    policy host and six mail servers beside it. Nothing leaves this machine. Events come from \
    sealpost's own log.";
/// Under the names of the events.
const INDENT: usize = 12;
const PATIENCE: Duration = Duration::from_secs(10);
