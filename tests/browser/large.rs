//! How soon each view shows its data while very many messages wait, as a browser's own clock has
//! it. `BROWSER_MESSAGES=1000000 TESTKIT_LIMIT=7200 SEALPOST_BIN=…/release/sealpost` is the long run
//! with the goal of 200 ms; without it a small one shows that all of it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sealpost_tests::{Relay, SmtpClient};
use testkit::{RecordType, ZoneFault};
use tokio::task::JoinSet;

use crate::driver::Browser;
use crate::net::{ADMIN, Net, PAGE, deferred, logged_in};

testkit::net_test! {
    async fn each_view_is_shown_quickly_while_very_many_messages_wait() {
        let long: Option<usize> = std::env::var("BROWSER_MESSAGES").ok().map(|n| n.parse().unwrap());
        let messages = long.unwrap_or(3_000);
        let goal = if long.is_some() { GOAL } else { 10 * GOAL };
        let domains = (messages / 100).max(60);
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        for n in 0..domains {
            for name in [format!("m{n}.test"), format!("_mta-sts.m{n}.test")] {
                let kind = if name.starts_with('_') { RecordType::TXT } else { RecordType::MX };
                net.zone.fault(&name, kind, ZoneFault::ServFail);
            }
        }
        let relay = net.relay_with(|config| config
            .set("queue.retry", r#"["5h"]"#)
            .set("queue.minimum-free-space", r#""1MiB""#)
            .set("access.connections-per-client", "1000")
            .set("delivery.connections", "64")
            .set("log.level", r#""error""#)).await;
        relay.send("a@org.test", &["b@d.test"], crate::net::MESSAGE).await;
        let begun = Instant::now();
        fill(&relay, messages, domains).await;
        let all = deferred(&relay, messages as u64 + 1, Duration::from_secs(1_800)).await;
        assert!(all, "{}", relay.story());
        println!("{messages} messages in {domains} domains wait after {:?}", begun.elapsed());

        let browser = logged_in(ADMIN).await;
        browser.until_says("Accepts and delivers mail").await;
        let mut late = Vec::new();
        for (view, shown) in VIEWS {
            let mut loads = Vec::new();
            for _ in 0..LOADS {
                loads.push(load(&browser, view, shown).await);
            }
            loads.sort_by_key(|(ms, _)| *ms);
            let (middle, calls) = &loads[LOADS / 2];
            let (first, last) = (loads[0].0, loads[LOADS - 1].0);
            println!("#/{view}: shown after {middle} ms ({first} to {last}); {calls}");
            if *middle > goal {
                late.push(format!("#/{view} is shown after {middle} ms: {calls}"));
            }
        }
        browser.go(&format!("{PAGE}#/queue")).await;
        let page = "document.querySelectorAll('main td.id').length === 50";
        browser.until("a whole page", page).await;
        assert!(late.is_empty(), "{}", late.join("\n"));
        assert_eq!(browser.complaints().await, [""; 0]);
    }
}

/// Loads a view as a new page. Milliseconds from the navigation's start until its data was painted,
/// and what the calls of the API took.
async fn load(browser: &Browser, view: &str, shown: &str) -> (u64, String) {
    browser.go("about:blank").await;
    let watch = WATCH.replace("SHOWN", shown);
    let script = browser.on_each_page(&watch).await;
    browser.go(&format!("{PAGE}#/{view}")).await;
    browser.until(view, "window.shownAfter !== undefined").await;
    browser.not_on_each_page(&script).await;
    let after = browser.script("return window.shownAfter").await;
    // What is asked early is what the view wants.
    let wasted = browser.script("return window.wasted.join(' ')").await;
    assert_eq!(wasted, "", "{view}");
    let calls = browser
        .script(
            "return performance.getEntriesByType('resource').filter(e => e.name.includes('/v1/'))
               .map(e => `${new URL(e.name).pathname} ${e.duration.toFixed(1)} ms`).join(', ')",
        )
        .await;
    let calls = calls.as_str().unwrap_or_default().to_owned();
    (after.as_f64().unwrap().round() as u64, calls)
}

/// Hands messages over, many sessions at a time.
async fn fill(relay: &Relay, messages: usize, domains: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (next, address) = (Arc::clone(&next), relay.address());
        clients.spawn(async move {
            let mut client = SmtpClient::connect(address).await;
            client.ehlo("client.test").await;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= messages {
                    return;
                }
                let (sender, domain) = (n % 1_000, n % domains);
                let commands = format!(
                    "MAIL FROM:<s{sender}@org.test>\r\nRCPT TO:<u{n}@m{domain}.test>\r\nDATA\r\n"
                );
                client.write(commands.as_bytes()).await;
                for code in [250, 250, 354] {
                    client.reply().await.demand(code);
                }
                client.write(BODY).await;
                client.reply().await.demand(250);
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

/// Views, with what is true as soon as their data can be seen: a first screen of it.
const VIEWS: [(&str, &str); 14] = [
    (
        "",
        "document.querySelector('.ready') && document.querySelector('.chart .plot')",
    ),
    ("queue", ROWS),
    ("queue?domain=m7.test", SOME),
    ("queue?reason=dns-temporary", SOME),
    ("queue?reason=cert-expired", SOME),
    ("queue?state=deferred", SOME),
    ("queue?state=active", SOME),
    ("queue?older=0", SOME),
    ("queue?older=8640000", SOME),
    ("queue?attempts-over=0", SOME),
    ("queue?attempts-over=9", SOME),
    (
        "deferrals",
        "document.querySelectorAll('.reason tbody tr').length >= 20",
    ),
    (
        "policies",
        "document.querySelectorAll('main tbody tr').length >= 1",
    ),
    (
        "events",
        "document.querySelector('main')?.innerText.includes('● live')",
    ),
];
const ROWS: &str = "document.querySelectorAll('main td.id').length >= 20";
const SOME: &str = "document.querySelector('main td.id, main .empty')";

/// Notes when `SHOWN` was true for the first time and a frame with it had been drawn.
const WATCH: &str = "new MutationObserver((_, me) => {
    if (!(SHOWN)) return;
    me.disconnect();
    const asked = performance.getEntriesByType('resource').map(e => e.name).filter(name => name.includes('/v1/'));
    window.wasted = asked.filter((name, n) => asked.indexOf(name) !== n).concat([...window.early.keys()]);
    requestAnimationFrame(() => setTimeout(() => { window.shownAfter = performance.now(); }));
}).observe(document, { subtree: true, childList: true, characterData: true });";

const GOAL: u64 = 200;
const LOADS: usize = 5;
const CLIENTS: usize = 30;
const BODY: &[u8] =
    b"From: s@org.test\r\nTo: u@m.test\r\nSubject: one of many\r\n\r\nHello.\r\n.\r\n";
