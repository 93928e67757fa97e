//! The commands, against a running relay: what they print, what they do, how they exit.

use sealpost_tests::{CliOutput, Event, Relay};
use serde_json::Value;
use testkit::{Action, FakeMx, RecordType, Rule, ZoneFault};

use crate::net::{MESSAGE, Net, SOON, deferred, ok, sent};

testkit::net_test! {
    async fn queue_commands_show_and_move_mail() {
        let net = Net::start().await;
        let (mx, relay, ids) = waiting(&net, &["b@d.test", "c@d.test", "d@d.test"]).await;
        let listed = lines(&ok(&relay, &["queue", "list", "--json"]).await);
        assert_eq!(listed.len(), 3, "{listed:?}");
        let item = listed.iter().find(|i| i["id"] == ids[0].as_str()).unwrap();
        for (field, want) in [
            ("sender", "a@org.test"),
            ("state", "deferred"),
            ("reason", "starttls-not-offered"),
        ] {
            assert_eq!(item[field], want, "{field}: {item}");
        }
        assert_eq!(item["recipients"], serde_json::json!(["b@d.test"]), "{item}");
        assert!(item["next_attempt"].is_string() && item["attempts"] == 1, "{item}");
        let table = ok(&relay, &["queue", "list"]).await.stdout;
        assert!(ids.iter().all(|id| table.contains(id.as_str())), "{table}");
        for (filter, want) in [
            (vec!["--recipient", "c@d.test"], 1),
            (vec!["--domain", "d.test"], 3),
            (vec!["--domain", "e.test"], 0),
            (vec!["--sender", "a@org.test"], 3),
            (vec!["--sender", "<A@org.test>"], 3),
            (vec!["--sender", "@org.test"], 3),
            (vec!["--sender", "<>"], 0),
            (vec!["--recipient", "<c@d.test>"], 1),
            (vec!["--reason", "starttls-not-offered"], 3),
            (vec!["--reason", "cert-expired"], 0),
            (vec!["--side", "recipient-admin"], 3),
            (vec!["--side", "us"], 0),
            (vec!["--reason", "starttls-not-offered", "--side", "recipient-admin"], 3),
            (vec!["--state", "deferred"], 3),
            (vec!["--state", "held"], 0),
            (vec!["--older", "1h"], 0),
            (vec!["--attempts-over", "0"], 3),
            (vec!["--attempts-over", "1"], 0),
            (vec!["--limit", "2"], 2),
        ] {
            let args: Vec<&str> = ["queue", "list", "--json"].into_iter().chain(filter).collect();
            let listed = lines(&ok(&relay, &args).await);
            assert_eq!(listed.len(), want, "{args:?}: {listed:?}");
        }

        let shown = ok(&relay, &["queue", "show", &ids[0], "--json"]).await.json();
        assert_eq!(shown["history"][0]["reason"], "starttls-not-offered", "{shown}");
        assert_eq!(shown["history"][0]["mx"], "mx.d.test", "{shown}");
        assert_eq!(shown["history"][0]["ip"], "127.0.0.25", "{shown}");
        assert_eq!(shown["per_recipient"][0]["address"], "b@d.test", "{shown}");
        assert_eq!(shown["per_recipient"][0]["state"], "pending", "{shown}");
        assert_eq!(shown["message_id"], "<1@org.test>", "{shown}");
        assert!(shown["history"][0]["policy"].as_str().unwrap().contains("enforce"), "{shown}");
        let text = ok(&relay, &["queue", "show", &ids[0]]).await.stdout;
        assert!(text.contains("starttls-not-offered") && text.contains("127.0.0.25"), "{text}");

        let summary = ok(&relay, &["queue", "summary", "--json"]).await.json();
        assert_eq!(summary["messages"], 3, "{summary}");
        assert_eq!(summary["rows"][0]["domain"], "d.test", "{summary}");
        assert_eq!(summary["rows"][0]["reason"], "starttls-not-offered", "{summary}");
        assert_eq!(summary["rows"][0]["messages"], 3, "{summary}");
        let text = ok(&relay, &["queue", "summary"]).await.stdout;
        assert!(text.contains("d.test") && text.contains("3 messages"), "{text}");
        let sentence = summary["rows"][0]["sentence"].as_str().unwrap();
        assert!(sentence.contains("STARTTLS") && sentence.contains("d.test"), "{sentence}");
        assert!(text.contains("WHY") && text.contains(sentence), "{text}");
        let wrong = relay.cli(&["queue", "list", "--side", "theirs"]).await;
        assert!(wrong.code == Some(64) && wrong.stderr.contains("recipient-admin"), "{wrong:?}");

        // A held message stays when the others go.
        ok(&relay, &["queue", "hold", &ids[0]]).await;
        // Of what is not held nothing is released, and what is held is not held once more.
        for (args, want) in [
            (["queue", "release", "--all", "--dry-run"], "1 message would be meant (2 more are not held)\n"),
            (["queue", "hold", "--all", "--dry-run"], "2 messages would be meant (1 more is held already)\n"),
            (["queue", "release", "--recipient", "c@d.test"], "0 messages (1 more is not held)\n"),
        ] {
            assert_eq!(ok(&relay, &args).await.stdout, want, "{args:?}");
        }
        let audited = relay.wait_event(
            |e| e.is("admin.action") && e.text("action") == "queue release", SOON,
        ).await;
        assert_eq!(audited.text("matched"), "0", "{audited}");
        mx.certificate(&net.ca.leaf(&["mx.d.test"]));
        let dry = ok(&relay, &["queue", "retry", "--domain", "d.test", "--dry-run"]).await.stdout;
        assert!(dry.starts_with("3 ") || dry.starts_with("2 "), "{dry}");
        assert!(mx.messages().is_empty());
        ok(&relay, &["queue", "retry", &ids[1]]).await;
        sent_now(&relay, &ids[1]).await;
        let held = ok(&relay, &["queue", "list", "--state", "held", "--json"]).await;
        assert_eq!(lines(&held)[0]["id"], ids[0].as_str());
        ok(&relay, &["queue", "release", &ids[0]]).await;
        ok(&relay, &["queue", "retry", &ids[0]]).await;
        sent_now(&relay, &ids[0]).await;
        assert!(!mx.messages().iter().any(|m| m.recipients().is_empty()));
    }

    async fn ids_that_are_unknown_or_named_twice_are_told_and_not_counted() {
        let net = Net::start().await;
        let (_mx, relay, ids) = waiting(&net, &["b@d.test"]).await;
        let id = ids[0].as_str();
        let held = ok(&relay, &["queue", "hold", id, "00000000000z", id]).await;
        assert_eq!(held.stdout, "1 message\n", "{held:?}");
        assert!(held.stderr.contains("00000000000z is not in the queue"), "{held:?}");
        let audited = relay.wait_event(
            |e| e.is("admin.action") && e.text("action") == "queue hold", SOON,
        ).await;
        assert_eq!(audited.text("matched"), "1", "{audited}");
        assert_eq!(audited.text("target"), format!("{id} 00000000000z"), "{audited}");
        let released = ok(&relay, &["queue", "release", id, "00000000000z", "--json"]).await;
        let result = released.json();
        assert_eq!((&result["matched"], &result["unknown"][0]), (&1.into(), &"00000000000z".into()), "{result}");
    }

    async fn h10_04_cancel_tells_nobody_and_bounce_tells_the_sender_and_both_are_audited() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let (mx, relay, ids) = waiting(&net, &["b@d.test", "c@d.test"]).await;
        ok(&relay, &["queue", "cancel", &ids[0], "--because", "ticket 7"]).await;
        let removed = relay.wait_for("message.removed", &ids[0], SOON).await;
        assert_eq!(removed.text("because"), "cancelled", "{removed}");
        assert!(org.sessions().is_empty());
        ok(&relay, &["queue", "bounce", &ids[1]]).await;
        let notice = org.wait_for_message(SOON).await.text();
        assert!(notice.contains("Action: failed") && notice.contains("c@d.test"), "{notice}");
        assert!(notice.contains("operator"), "{notice}");
        relay.wait_for("message.removed", &ids[1], SOON).await;
        mx.assert_no_mail();
        let audited = relay.wait_event(
            |e| e.is("admin.action") && e.text("action") == "queue cancel", SOON,
        ).await;
        assert_eq!(audited.text("target"), ids[0], "{audited}");
        assert_eq!(audited.text("reason"), "ticket 7", "{audited}");
        assert_eq!(audited.text("uid"), "0", "{audited}");
        assert_eq!(org.messages().len(), 1);
    }

    async fn more_than_ten_messages_are_not_cancelled_or_bounced_without_a_yes() {
        let net = Net::start().await;
        let to: Vec<String> = (0..11).map(|n| format!("u{n}@d.test")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let (_mx, relay, _) = waiting(&net, &to).await;
        for action in ["cancel", "bounce"] {
            let refused = relay.cli(&["queue", action, "--all"]).await;
            assert_eq!(refused.code, Some(64), "{refused:?}");
            assert!(refused.stderr.contains("11 ") && refused.stderr.contains("--yes"), "{refused:?}");
        }
        assert_eq!(lines(&ok(&relay, &["queue", "list", "--json"]).await).len(), 11);
        let counted = ok(&relay, &["queue", "cancel", "--all", "--yes", "--json"]).await.json();
        assert_eq!(counted["matched"], 11);
        assert_eq!(ok(&relay, &["queue", "list", "--json"]).await.stdout, "");
    }

    async fn h10_03_an_enforced_policy_is_forgotten_only_if_danger_is_meant() {
        let net = Net::start().await;
        let (mx, relay, _) = waiting(&net, &["b@d.test"]).await;
        let listed = lines(&ok(&relay, &["policy", "list", "--json"]).await);
        assert_eq!(listed.len(), 1, "{listed:?}");
        for (field, want) in [("domain", "d.test"), ("mode", "enforce"), ("id", "1")] {
            assert_eq!(listed[0][field], want, "{listed:?}");
        }
        assert_eq!(listed[0]["mx"], serde_json::json!(["mx.d.test"]), "{listed:?}");
        assert!(ok(&relay, &["policy", "list"]).await.stdout.contains("mx.d.test"));
        let shown = ok(&relay, &["policy", "show", "D.test.", "--json"]).await.json();
        assert_eq!(shown["max_age"], 604_800, "{shown}");
        assert!(shown["text"].as_str().unwrap().contains("version: STSv1"), "{shown}");
        assert!(ok(&relay, &["policy", "show", "d.test"]).await.stdout.contains("mode: enforce"));
        let unknown = relay.cli(&["policy", "show", "other.test"]).await;
        assert_eq!(unknown.code, Some(65), "{unknown:?}");

        let before = net.host.count("d.test");
        ok(&relay, &["policy", "refresh", "d.test"]).await;
        assert_eq!(net.host.count("d.test"), before + 1);
        net.host.pause().await;
        let failed = relay.cli(&["policy", "refresh", "d.test"]).await;
        assert_eq!(failed.code, Some(75), "{failed:?}");
        assert!(failed.stderr.contains("still counts"), "{failed:?}");
        net.host.resume().await;

        // A domain of which nothing is stored: the cause that was found is told.
        let none = relay.cli(&["policy", "refresh", "other.test"]).await;
        assert_eq!(none.code, Some(65), "{none:?}");
        assert!(none.stderr.contains("_mta-sts.other.test") && none.stderr.contains("NXDOMAIN"), "{none:?}");
        net.zone.fault("_mta-sts.third.test", RecordType::TXT, ZoneFault::ServFail);
        let dead = relay.cli(&["policy", "refresh", "third.test"]).await;
        assert_eq!(dead.code, Some(75), "{dead:?}");
        assert!(dead.stderr.contains("SERVFAIL") && !dead.stderr.contains("is stored"), "{dead:?}");

        let refused = relay.cli(&["policy", "forget", "d.test"]).await;
        assert_eq!(refused.code, Some(65), "{refused:?}");
        assert!(refused.stderr.contains("--dangerous"), "{refused:?}");
        assert_eq!(lines(&ok(&relay, &["policy", "list", "--json"]).await).len(), 1);
        ok(&relay, &["policy", "forget", "d.test", "--dangerous"]).await;
        assert_eq!(ok(&relay, &["policy", "list", "--json"]).await.stdout, "");
        let told = relay.wait_event(|e| e.is("policy.forgotten"), SOON).await;
        assert_eq!((told.text("domain"), told.text("mode")), ("d.test", "enforce"), "{told}");
        // The next message is a first contact again, and is protected.
        let id = relay.send("a@org.test", &["e@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.at("/policies/0/first_contact"), true, "{event}");
        mx.assert_no_mail();
    }

    async fn explain_says_what_happens_why_and_who_can_do_what() {
        let net = Net::start().await;
        let (_mx, relay, ids) = waiting(&net, &["b@d.test"]).await;
        let told = ok(&relay, &["explain", &ids[0]]).await.stdout;
        let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in [
            ids[0].as_str(), "mx.d.test", "STARTTLS", "starttls-not-offered", "RFC 8461",
            "administrator of d.test", "enforce",
        ] {
            assert!(flat.contains(words), "{words}: {told}");
        }
        let json = ok(&relay, &["explain", &ids[0], "--json"]).await.json();
        assert_eq!(json["subject"], ids[0].as_str(), "{json}");
        assert!(json["paragraphs"].as_array().unwrap().len() >= 3, "{json}");
        let told = ok(&relay, &["explain", "d.test"]).await.stdout;
        assert!(told.contains("enforce") && told.contains("mx.d.test"), "{told}");
        let told = ok(&relay, &["explain", "org.test"]).await.stdout;
        assert!(told.contains("org.test") && told.contains("no"), "{told}");
        let nonsense = relay.cli(&["explain", "not a domain"]).await;
        assert_eq!(nonsense.code, Some(65), "{nonsense:?}");
    }

    async fn status_tells_the_state_and_commands_without_a_daemon_say_so() {
        let net = Net::start().await;
        let (_mx, mut relay, ids) = waiting(&net, &["b@d.test"]).await;
        let status = ok(&relay, &["status", "--json"]).await.json();
        assert_eq!(status["hostname"], "relay.test", "{status}");
        assert_eq!(status["ready"], true, "{status}");
        assert_eq!(status["queue_messages"], 1, "{status}");
        assert_eq!(status["deferred"], 1, "{status}");
        assert_eq!(status["listeners"][0]["address"], "127.0.0.1:2525", "{status}");
        assert!(status["oldest"].is_string() && status["free_bytes"].as_u64() > Some(0), "{status}");
        assert!(status["store_bytes"].as_u64() > Some(0), "{status}");
        let modes = status["policies_by_mode"].to_string();
        assert!(modes.contains("[\"enforce\",1]"), "{status}");
        let text = ok(&relay, &["status"]).await.stdout;
        assert!(text.contains("relay.test") && text.contains("1 message (1 deferred)"), "{text}");

        for (args, code) in [
            (vec!["queue", "show", "00000000000z"], 65),
            (vec!["queue", "show", "not-an-id"], 65),
            (vec!["queue", "retry", "00000000000z"], 65),
            (vec!["queue", "list", "--sender", "org.test"], 64),
            (vec!["queue", "list", "--recipient", "@@"], 64),
            (vec!["queue", "bounce", "--recipient", "foo bar"], 64),
            (vec!["queue", "list", "--reason", "nonsense"], 64),
            (vec!["queue", "retry", "--reason", "nonsense"], 64),
            (vec!["queue", "cancel", "--domain", "a b"], 64),
            (vec!["queue", "retry"], 64),
            (vec!["queue", "cancel", &ids[0], "--domain", "e.test"], 64),
            (vec!["queue", "list", "--state", "lost"], 64),
            (vec!["queue", "list", "--older", "soon"], 64),
            (vec!["policy", "show", "-bad-.test"], 64),
            (vec!["nonsense"], 64),
        ] {
            let output = relay.cli(&args).await;
            assert_eq!(output.code, Some(code), "{args:?}: {output:?}");
            assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}: {output:?}");
        }
        ok(&relay, &["check-config"]).await;
        relay.terminate(SOON).await;
        for args in [vec!["status"], vec!["queue", "list"], vec!["policy", "list"]] {
            let output = relay.cli(&args).await;
            assert_eq!(output.code, Some(69), "{args:?}: {output:?}");
            assert!(output.stderr.contains("control.sock"), "{args:?}: {output:?}");
        }
    }

    async fn e5_04_a_dead_destination_is_left_alone_and_an_operator_may_bounce_its_mail() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        let good = net.plain_mx("e.test", "127.0.0.26").await;
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let relay = net.relay().await;
        let mut client = relay.client().await;
        let mut ids = Vec::new();
        for n in 0..10 {
            ids.push(client.send("a@org.test", &[&format!("u{n}@d.test")], MESSAGE).await);
        }
        let mut put_off = Vec::new();
        for id in &ids {
            let event = deferred(&relay, id).await;
            let reason = event.text("reason");
            assert!(["connect", "destination-suspended"].contains(&reason), "{event}");
            assert_eq!(event.text("dsn"), "4.4.1", "{event}");
            if reason == "destination-suspended" {
                put_off.push(id.clone());
            }
        }
        assert!(put_off.len() > 1, "{put_off:?}");
        relay.wait_event(|e| e.is("destination.suspended"), SOON).await;
        // Others are served as ever.
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        sent(&relay, &id).await;
        ok(&relay, &["queue", "bounce", &ids[9]]).await;
        relay.wait_for("delivery.bounced", &ids[9], SOON).await;
        assert!(org.wait_for_message(SOON).await.text().contains("u9@d.test"));
        // It comes back: one probe gets through, and all the rest follows at once.
        let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", None).await;
        ok(&relay, &["queue", "retry", &ids[0]]).await;
        for id in &ids[..9] {
            let event = relay.wait_for("delivery.sent", id, SOON).await;
            if put_off.contains(id) {
                // To be put off is no attempt: this was the first one.
                assert_eq!(event.at("/attempt"), 1, "{event}");
            }
        }
        assert_eq!((mx.messages().len(), good.messages().len()), (9, 1));
    }

    async fn explain_tells_how_mail_ended_that_has_left_the_queue() {
        let net = Net::start().await;
        let (mx, relay, ids) = waiting(&net, &["b@d.test", "c@d.test", "d@d.test"]).await;
        let org = net.plain_mx("org.test", "127.0.1.9").await;
        ok(&relay, &["queue", "cancel", &ids[0]]).await;
        ok(&relay, &["queue", "bounce", &ids[1]]).await;
        relay.wait_for("message.removed", &ids[1], SOON).await;
        org.wait_for_message(SOON).await;
        mx.certificate(&net.ca.leaf(&["mx.d.test"]));
        ok(&relay, &["queue", "retry", &ids[2]]).await;
        relay.wait_for("message.removed", &ids[2], SOON).await;
        for (id, says) in [
            (&ids[0], ["has left the queue", "An operator cancelled it", "was not told", "The log has every attempt"]),
            (&ids[1], ["Failed for good: it could not be delivered to b@d.test", "a@org.test was sent the notification", "", ""]),
            (&ids[2], ["Delivered for d@d.test to mx.d.test (127.0.0.25) over TLSv1.3", "with a verified certificate", "own words: 250", &ids[2]]),
        ] {
            let told = ok(&relay, &["explain", id]).await.stdout;
            let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
            for words in says {
                let words = words.replace("b@d.test", "c@d.test");
                assert!(flat.contains(&words), "{words}: {told}");
            }
            // Asked twice for what is known at once and for all of it, told once.
            assert_eq!(told.matches("What became of it").count(), 1, "{told}");
        }
        // Who looks where it was is told where to look.
        let gone = relay.cli(&["queue", "show", &ids[2]]).await;
        assert!(gone.stderr.contains(&format!("sealpost explain {}", ids[2])), "{gone:?}");
        let never = relay.cli(&["queue", "show", "00000000000z"]).await;
        assert!(never.stderr.contains("says how it ended, if that is remembered"), "{never:?}");
        let never = relay.cli(&["explain", "00000000000z"]).await;
        assert_eq!(never.code, Some(65), "{never:?}");
        assert!(never.stderr.contains("does not remember") && never.stderr.contains("grep 0000000000z /"), "{never:?}");
    }

    async fn h3_32_what_peers_say_cannot_forge_log_lines_or_terminal_codes() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let evil = "450 4.2.1 \x1b[31mred\x07 \"event\":\"delivery.sent\" <script>\x00\u{9b}2J";
        mx.rule(Rule::always("RCPT", Action::Reply(evil.into())));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert!(!event.text("reply").chars().any(char::is_control), "{event}");
        assert!(!event.text("detail").chars().any(char::is_control), "{event}");
        assert!(!relay.events().iter().any(|e| e.0.get("line").is_some()), "{}", relay.story());
        for args in [["queue", "show"], ["explain", ""]] {
            let args: Vec<&str> = args.into_iter().filter(|a| !a.is_empty()).chain([id.as_str()]).collect();
            let printed = ok(&relay, &args).await.stdout;
            assert!(!printed.chars().any(|c| c.is_control() && c != '\n'), "{printed:?}");
        }
    }
}

/// A relay with a message for each recipient of `d.test` that waits because of its policy.
async fn waiting(net: &Net, to: &[&str]) -> (FakeMx, Relay, Vec<String>) {
    let mx = net.plain_mx("d.test", "127.0.0.25").await;
    net.enforce("d.test");
    let relay = net.relay().await;
    let mut client = relay.client().await;
    let mut ids = Vec::new();
    for to in to {
        ids.push(client.send("a@org.test", &[to], MESSAGE).await);
    }
    for id in &ids {
        deferred(&relay, id).await;
        // The operator's commands see the queue, not the log: what it shows must have settled.
        let shown = ok(&relay, &["queue", "show", id, "--json"]).await.json();
        assert_eq!(shown["state"], "deferred", "{shown}");
    }
    (mx, relay, ids)
}

async fn sent_now(relay: &Relay, id: &str) -> Event {
    relay.wait_for("delivery.sent", id, SOON).await
}

/// One JSON object a line.
fn lines(output: &CliOutput) -> Vec<Value> {
    output
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}
