//! What operators turn on and change while the relay runs: traces, the configuration, the log.

use mail_types::Timestamp;
use sealpost_tests::{Event, Relay, eventually};
use testkit::PolicyFault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::net::{MESSAGE, Net, SOON, deferred, ok, sent};

testkit::net_test! {
    async fn explain_tells_what_is_known_at_once_and_waits_for_a_policy_host_only_so_long() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let relay = net.relay().await;
        // What is known here: nobody is asked for it.
        let mut socket = UnixStream::connect(relay.folder().join("control.sock")).await.unwrap();
        let asked = "GET /v1/explain/d.test?live=false HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.write_all(asked.as_bytes()).await.unwrap();
        let mut known = String::new();
        socket.read_to_string(&mut known).await.unwrap();
        assert!(known.starts_with("HTTP/1.1 200 ") && known.contains("What happens"), "{known}");
        assert!(!known.contains("What applies") && net.host.requests().is_empty(), "{known}");
        // A fetch has a minute.
        net.host.fault("d.test", PolicyFault::Stall);
        let told = ok(&relay, &["explain", "d.test"]).await.stdout;
        let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains("has not answered within 5 s: run `sealpost check d.test` for the whole story"), "{told}");
        assert!(flat.contains("mx.d.test (127.0.0.25)"), "DNS has answered: {told}");
        for title in ["What happens", "What applies to d.test", "What can be done"] {
            let times = told.lines().filter(|line| *line == title).count();
            assert_eq!(times, 1, "{title}: {told}");
        }
        let json = ok(&relay, &["explain", "d.test", "--json"]).await.json();
        assert!(json.to_string().contains("has not answered within 5 s"), "{json}");
    }

    async fn a_trace_shows_the_plan_and_the_dialogue_until_it_ends() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.1.1").await;
        let _other = net.mx("e.test", "127.0.1.2").await;
        net.enforce("d.test");
        let relay = net.relay().await;
        let listed = ok(&relay, &["trace", "D.test.", "--for", "5m", "--json"]).await.json();
        assert_eq!(listed["subject"], "d.test", "{listed}");
        // Lists are one object a line.
        let two = ok(&relay, &["trace", "mx.e.test", "--json"]).await.stdout;
        let lines = two.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let mut subjects: Vec<_> = lines.map(|t| t["subject"].as_str().unwrap().to_owned()).collect();
        subjects.sort();
        assert_eq!(subjects, ["d.test", "mx.e.test"]);
        ok(&relay, &["trace", "mx.e.test", "--end"]).await;
        for domain in ["e.test", "d.test"] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            sent(&relay, &id).await;
        }
        let plan = relay.wait_event(|e| e.is("trace.plan"), SOON).await;
        assert_eq!(plan.text("subject"), "d.test", "{plan}");
        let lines = plan.at("/lines").to_string();
        assert!(lines.contains("policy enforce id 1") && lines.contains("127.0.1.1"), "{plan}");
        let session = relay.wait_event(|e| e.is("trace.session"), SOON).await;
        let lines = session.at("/lines").to_string();
        for words in ["> EHLO relay.test", "> MAIL FROM:<a@org.test>", "> RCPT TO:<b@d.test>"] {
            assert!(lines.contains(words), "{words} is not in {session}");
        }
        assert!(!lines.contains("Hello."), "no content: {session}");
        assert!(!relay.events().iter().any(|e| e.text("event").starts_with("trace.") && e.text("domain") == "e.test"));
        let audited = relay.wait_event(|e| e.is("admin.action"), SOON).await;
        assert_eq!((audited.text("action"), audited.text("target")), ("trace", "d.test"), "{audited}");

        ok(&relay, &["trace", "d.test", "--end"]).await;
        let before = relay.events().iter().filter(|e| e.is("trace.session")).count();
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let after = relay.events().iter().filter(|e| e.is("trace.session")).count();
        assert_eq!(before, after);
        for (args, code) in [
            (vec!["trace", "d.test", "--end"], 65),
            (vec!["trace", "no such thing"], 65),
            (vec!["trace", "d.test", "--for", "90d"], 65),
            (vec!["trace", "d.test", "--for", "soon"], 64),
            (vec!["explain", "not_a/domain"], 65),
        ] {
            let refused = relay.cli(&args).await;
            assert_eq!(refused.code, Some(code), "{args:?}: {refused:?}");
            assert_eq!(refused.stderr.trim().lines().count().min(1), 1, "{refused:?}");
        }
    }

    async fn h7_11_a_reload_names_each_change_and_what_waits_for_a_restart() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.1.1").await;
        net.enforce("d.test");
        let mut relay = net.relay().await;
        let unchanged = ok(&relay, &["reload", "--json"]).await.json();
        assert_eq!(unchanged["changes"], serde_json::json!([]), "{unchanged}");
        relay.reconfigure(|c| {
            c.set("queue.retry", r#"["3h"]"#)
                .set("queue.lifetime", r#""9d""#)
                .set("delivery.connections-per-host", "7")
                .append("[[domain]]\nname = \"e.test\"\ntls = \"verified\"\n")
        });
        let result = ok(&relay, &["reload"]).await.stdout;
        for line in [
            "queue.retry: [\"1h\"] -> [\"3h\"]: in effect",
            "domain[0].tls: unset -> \"verified\": in effect",
            "delivery.connections-per-host: ",
        ] {
            assert!(result.contains(line), "{line} is not in\n{result}");
        }
        assert!(result.lines().any(|l| l.ends_with("-> 7: needs a restart")), "{result}");
        let told = |key: &'static str| move |e: &Event| e.is("config.changed") && e.text("key") == key;
        let retry = relay.wait_event(told("queue.retry"), SOON).await;
        assert_eq!((retry.text("old"), retry.text("new")), (r#"["1h"]"#, r#"["3h"]"#), "{retry}");
        assert_eq!(retry.text("effect"), "now", "{retry}");
        let waits = relay.wait_event(told("delivery.connections-per-host"), SOON).await;
        assert_eq!((waits.text("effect"), waits.text("level")), ("restart", "warn"), "{waits}");
        // In effect: the schedule and the rule.
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        let (now, next) = (crate::net::time(&event, "/ts"), crate::net::time(&event, "/next_attempt"));
        assert!(next - now > 2 * 3600, "{event}");
        assert!(crate::net::time(&event, "/gives_up") - now > 8 * 24 * 3600, "{event}");
        // What waits is named again; what is wrong changes nothing.
        let again = ok(&relay, &["reload", "--json"]).await.json();
        assert_eq!(again["changes"].as_array().map(Vec::len), Some(1), "{again}");
        relay.reconfigure(|c| c.set("queue.retry", r#"["soon"]"#).set("log.format", r#""postfix""#));
        let refused = relay.cli(&["reload"]).await;
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert!(refused.stderr.contains("queue.retry"), "{refused:?}");
        let seen = relay.events().len();
        relay.hang_up();
        let failed = relay.wait_event_after(seen, |e| e.is("config.reload-failed"), SOON).await;
        assert!(failed.text("detail").contains("queue.retry"), "{failed}");
        // The format of the log, while it runs.
        relay.reconfigure(|c| c.set("queue.retry", r#"["3h"]"#));
        relay.hang_up();
        relay.wait_event(|e| e.text("line").contains("event=config.reloaded"), SOON).await;
    }

    async fn h10_01_h10_02_what_weakens_is_said_at_the_start_and_of_every_delivery() {
        let net = Net::start().await;
        let mut peers = Vec::new();
        for (domain, ip) in [("audited.test", "127.0.1.1"), ("exempt.test", "127.0.1.2")] {
            peers.push(net.plain_mx(domain, ip).await);
            net.enforce(domain);
        }
        let now = Timestamp::from_system(std::time::SystemTime::now());
        let until = Timestamp::from_secs(now.as_secs() + 20 * 24 * 3600);
        let rule = format!(
            "[[domain]]\nname = \"audited.test\"\nmta-sts = \"dangerous-audit\"\nuntil = \"{}\"\n\
             reason = \"they are moving\"\n",
            until.rfc3339()
        );
        let mut relay = Relay::start(net.config().append(&rule)).await;
        let danger = |e: &Event| e.is("config.dangerous") && e.text("detail").contains("audited.test");
        relay.wait_event(danger, SOON).await;
        let why = ["--because", "ticket 9"];
        let exempt = ["policy", "exempt", "exempt.test", "--dangerous", "--until", "7d"];
        ok(&relay, &exempt.into_iter().chain(why).collect::<Vec<_>>()).await;
        for (domain, by) in [("audited.test", "audit"), ("exempt.test", "exempt")] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = sent(&relay, &id).await;
            assert_eq!(event.text("weakened_by"), by, "{event}");
            assert_eq!(event.text("level"), "warn", "{event}");
        }
        relay.restart().await;
        let reminder = relay.wait_event(|e| e.is("policy.exemption-in-force"), SOON).await;
        assert_eq!(reminder.text("domain"), "exempt.test", "{reminder}");
        assert_eq!((reminder.text("why"), reminder.text("by")), ("ticket 9", "uid 0"), "{reminder}");
        assert!(crate::net::time(&reminder, "/until") > crate::net::time(&reminder, "/ts"), "{reminder}");
    }

    async fn the_log_goes_on_in_a_new_file_after_it_was_moved() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.1.1").await;
        let relay = net.relay().await;
        let first = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &first).await;
        let (log, old) = (relay.folder().join("events.log"), relay.folder().join("events.log.1"));
        std::fs::rename(&log, &old).unwrap();
        ok(&relay, &["reload"]).await;
        let second = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let both = |relay: &Relay| {
            let read = |path| std::fs::read_to_string(path).unwrap_or_default();
            (read(relay.folder().join("events.log.1")), read(relay.folder().join("events.log")))
        };
        while !both(&relay).1.contains(&format!("\"delivery.sent\",\"queue_id\":\"{second}\"")) {
            tokio::task::yield_now().await;
        }
        let (before, after) = both(&relay);
        assert!(before.contains(&first) && !after.contains(&first), "{before}\n{after}");
    }

    async fn h7_11_a_refused_reload_goes_on_in_a_new_file_as_well_and_says_so_there() {
        let net = Net::start().await;
        let mut relay = net.relay().await;
        let (log, old) = (relay.folder().join("events.log"), relay.folder().join("events.log.1"));
        relay.reconfigure(|c| c.set("queue.retry", r#"["soon"]"#));
        std::fs::rename(&log, &old).unwrap();
        relay.hang_up();
        let told = eventually(SOON, async || {
            let new = std::fs::read_to_string(&log).unwrap_or_default();
            new.contains("config.reload-failed").then_some(())
        });
        assert!(told.await.is_some(), "{}", std::fs::read_to_string(&old).unwrap());
    }

    async fn completions_are_printed_for_each_shell() {
        let net = Net::start().await;
        let relay = net.relay().await;
        for shell in ["bash", "zsh", "fish"] {
            let script = ok(&relay, &["completions", shell]).await.stdout;
            assert!(script.contains("check-config") && script.contains("attempts-over"), "{shell}");
        }
        assert_eq!(relay.cli(&["completions", "cmd"]).await.code, Some(64));
    }
}
