//! Whose move it is, and what is said of it: by the log, `explain`, `queue show` and notifications.

use std::collections::BTreeMap;

use sealpost_tests::{Event, Relay, eventually};
use serde_json::Value;
use testkit::{Action, Banner, FakeMx, ReceivedMessage, Rule, StartTls};

use crate::net::{MESSAGE, Net, SOON, bounced, deferred, ok};

testkit::net_test! {
    async fn what_our_own_rule_or_route_demands_is_ours_to_put_right() {
        let net = Net::start().await;
        let _listed = net.mx("r-list.test", "127.0.0.21").await;
        let _bare = net.plain_mx("r-enc.test", "127.0.0.22").await;
        let hop = net.peer("hop.test", "127.0.0.23").await;
        hop.certificate(&net.expired("hop.test"));
        net.zone.a("hop.test", "127.0.0.23");
        let config = net.config().append(
            "[[domain]]\nname = \"r-list.test\"\nmta-sts = \"require\"\nmx = [\"mx.elsewhere.test\"]\n\
             [[domain]]\nname = \"r-enc.test\"\ntls = \"encrypted\"\n\
             [[route]]\nrecipient-domain = \"r-route.test\"\nrelay = \"hop.test:25\"\ntls = \"verified\"\n",
        );
        let relay = Relay::start(config).await;
        for (domain, detail, advice) in [
            (
                "r-list.test",
                "Our own rule for r-list.test does not list mx.r-list.test, an MX host of the domain: the rule \
                 lists only mx.elsewhere.test.",
                "add it to `mx`",
            ),
            ("r-enc.test", "but our own rule for r-enc.test demands it", "It is our own rule"),
            ("r-route.test", "hop.test has expired", "Whoever runs hop.test, the next hop of our route,"),
        ] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            assert!(event.text("detail").contains(detail), "{event}");
            assert!(event.text("advice").starts_with("us: "), "{event}");
            assert!(event.text("advice").contains(advice), "{event}");
            let told = ok(&relay, &["explain", &id]).await.stdout;
            assert!(told.contains("Our side has to act.") && told.contains(advice), "{told}");
            assert!(!told.contains("To: postmaster@"), "a letter to who cannot help: {told}");
            assert!(!told.contains("nothing demands it"), "{told}");
            // So says the list, which the page shows.
            let listed = ok(&relay, &["queue", "list", "--domain", domain, "--json"]).await.stdout;
            assert!(listed.contains(r#""side":"us""#), "{listed}");
            assert!(!told.contains("policy that the domain published"), "of our own rule: {told}");
        }
    }

    async fn every_count_says_whose_move_it_is_as_the_messages_do() {
        let net = Net::start().await;
        // Ours: a route's next hop, a rule's list of hosts, a host that wants no mail from us.
        let hop = net.peer("hop.test", "127.0.0.23").await;
        hop.certificate(&net.expired("hop.test"));
        net.zone.a("hop.test", "127.0.0.23");
        let _listed = net.mx("r-list.test", "127.0.0.21").await;
        let refusing = net.mx("block.test", "127.0.0.22").await;
        refusing.script(|s| s.banner = Banner::Reply("554 5.7.1 listed".into()));
        net.zone.mx("block.test", 20, "down.block.test").a("down.block.test", "127.0.0.29");
        // Theirs, though the answer that decides is one that passes; and what only passes.
        net.enforce_for("theirs.test", &["*.theirs.test"]);
        net.zone.mx("theirs.test", 10, "a.theirs.test").a("a.theirs.test", "127.0.0.24");
        net.zone.mx("theirs.test", 20, "b.theirs.test").a("b.theirs.test", "127.0.0.25");
        let theirs = net.peer("a.theirs.test", "127.0.0.24").await;
        theirs.certificate(&net.expired("a.theirs.test"));
        let busy = net.peer("b.theirs.test", "127.0.0.25").await;
        busy.rule(Rule::always("MAIL", Action::Reply("421 4.3.2 too busy".into())));
        let grey = net.mx("grey.test", "127.0.0.26").await;
        grey.rule(Rule::always("RCPT", Action::Reply("450 4.2.1 later".into())));
        let config = net.config().set("queue.retry", r#"["1s", "1h"]"#).append(
            "[[domain]]\nname = \"r-list.test\"\nmta-sts = \"require\"\nmx = [\"mx.elsewhere.test\"]\n\
             [[route]]\nrecipient-domain = \"r-route.test\"\nrelay = \"hop.test:25\"\ntls = \"verified\"\n",
        );
        let relay = Relay::start(config).await;
        for domain in ["r-list.test", "block.test", "theirs.test", "grey.test"] {
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            deferred(&relay, &id).await;
        }
        for n in 0..3 {
            let id = relay.send("a@org.test", &[&format!("u{n}@r-route.test")], MESSAGE).await;
            deferred(&relay, &id).await;
        }
        relay.wait_event(|e| e.is("destination.suspended"), SOON).await;
        let untried = relay.send("a@org.test", &["last@r-route.test"], MESSAGE).await;
        let event = deferred(&relay, &untried).await;
        assert_eq!(event.text("reason"), "destination-suspended", "{event}");
        // Those that were tried come up again, and are put off with it.
        let mut seen = Seen::default();
        let agreed = eventually(4 * SOON, async || {
            seen = Seen::of(&relay).await;
            seen.agree().then_some(())
        });
        assert!(agreed.await.is_some(), "{seen:?}");
        // Each reason is told as it is here.
        let of = |reason: &str| seen.reasons.iter().find(|r| r["reason"] == reason).unwrap();
        let listed = of("mx-not-in-policy");
        assert!(listed["said"]["sentence"].as_str().unwrap().starts_with("Our own rule for"), "{listed}");
        assert!(listed["said"]["advice"].as_str().unwrap().contains("`[[domain]]`"), "{listed}");
        let blocked = of("remote-5xx");
        assert!(blocked["said"]["advice"].as_str().unwrap().contains("block list"), "{blocked}");
        assert!(of("destination-suspended")["said"].is_null());
        let told = ok(&relay, &["explain", &untried]).await.stdout;
        assert!(told.contains("Our side has to act.") && !told.contains("Nobody has to act"), "{told}");
    }

    async fn a_block_list_that_a_reply_names_is_ours_to_put_right() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let listed = "Client host [192.0.2.1] blocked using bl.example.net";
        mx.rule(Rule::always("RCPT", Action::Reply(format!("450 4.7.1 {listed}"))).about("now@"));
        mx.rule(Rule::always("RCPT", Action::Reply(format!("554 5.7.1 {listed}"))).about("never@"));
        let relay = Relay::start(net.config()).await;
        let id = relay.send("a@org.test", &["now@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        let told = ok(&relay, &["explain", &id]).await.stdout;
        let id = relay.send("a@org.test", &["never@d.test"], MESSAGE).await;
        let returned = bounced(&relay, &id).await;
        for event in [&event, &returned] {
            let advice = event.text("advice");
            assert!(advice.starts_with("us: Look up in the list"), "{event}");
            assert!(event.text("detail").contains("because of a block list"), "{event}");
        }
        assert!(told.contains("Our side has to act. Look up in the list"), "{told}");
    }

    async fn a_message_that_an_operator_returns_has_its_last_cause_in_the_notice() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.3.1").await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("RCPT", Action::Reply("451 4.1.8 unknown sender domain".into())));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        ok(&relay, &["queue", "bounce", &id]).await;
        let any = |e: &Event| e.is("delivery.bounced") && e.text("queue_id") == id;
        let event = relay.wait_event(any, SOON).await;
        let detail = event.text("detail");
        let said = detail.contains("by an operator") && detail.contains("451 4.1.8 unknown sender domain");
        assert!(said, "{event}");
        assert!(event.at("/advice").is_null(), "nothing is to be mended: {event}");
        let notice = notice(&org).await;
        assert!(notice.contains("451 4.1.8"), "{notice}");
    }

    async fn what_is_given_up_is_not_promised_another_attempt() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.3.1").await;
        net.enforce("d.test");
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.certificate(&net.expired("mx.d.test"));
        let config = net.config().set("queue.lifetime", "\"2s\"").set("queue.retry", r#"["1s"]"#);
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = relay.wait_for("delivery.expired", &id, SOON).await;
        let advice = event.text("advice");
        assert!(advice.contains("given up at the end of its lifetime"), "{event}");
        assert!(!advice.contains("next attempt"), "{event}");
        let notice = notice(&org).await;
        let words = notice.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("You may send it again after that."), "{notice}");
        assert!(!words.contains("Nothing has to be changed here"), "{notice}");
        assert!(!words.contains("that were tried"), "one host is told of once: {notice}");
    }

    async fn every_host_is_shown_and_the_most_serious_one_says_whose_move_it_is() {
        let net = Net::start().await;
        net.enforce_for("d.test", &["*.d.test"]);
        let mut peers = Vec::new();
        for (n, name) in ["a.d.test", "b.d.test", "c.d.test"].into_iter().enumerate() {
            let ip = format!("127.0.0.{}", 31 + n);
            net.zone.mx("d.test", 10 * (n as u16 + 1), name).a(name, &ip);
            peers.push(net.peer(name, &ip).await);
        }
        peers[0].certificate(&net.expired("a.d.test"));
        peers[1].rule(Rule::always("MAIL", Action::Reply("421 4.3.2 too busy".into())));
        peers[2].script(|s| s.starttls = StartTls::Off);
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert!(event.text("advice").starts_with("recipient-admin: "), "{event}");
        let told = ok(&relay, &["explain", &id]).await.stdout;
        for words in [
            "Tried: a.d.test (127.0.0.31): The certificate of a.d.test has expired.",
            "Tried: b.d.test (127.0.0.32): ",
            "Tried: c.d.test (127.0.0.33): c.d.test does not offer encryption",
            "The recipient's side has to act.",
            "should renew the certificate of a.d.test",
        ] {
            assert!(told.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{words}: {told}");
        }
        assert!(!told.contains("Nobody has to act"), "{told}");
        let shown = ok(&relay, &["queue", "show", &id]).await.stdout;
        for words in ["a.d.test [127.0.0.31]: cert-expired", "c.d.test [127.0.0.33]: starttls-not-offered"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
    }

    async fn held_mail_is_not_said_to_be_given_up() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.rule(Rule::always("RCPT", Action::Reply("450 4.2.1 later".into())));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let row = |summary: Value, list: &'static str| summary[list][0].clone();
        let summary = ok(&relay, &["queue", "summary", "--json"]).await.json();
        assert_eq!(row(summary, "rows")["side"], "wait");
        ok(&relay, &["queue", "hold", &id]).await;
        let summary = ok(&relay, &["queue", "summary", "--json"]).await.json();
        for (list, of) in [("rows", "sentence"), ("reasons", "said")] {
            let row = row(summary.clone(), list);
            assert_eq!((&row["side"], &row["held"], &row["reason"]), (&"us".into(), &true.into(), &"remote-4xx".into()), "{row}");
            assert!(row[of].to_string().contains("sealpost queue release"), "{row}");
        }
        let listed = ok(&relay, &["queue", "list", "--side", "us", "--json"]).await.json();
        assert_eq!(listed["side"], "us", "{listed}");
        let told = ok(&relay, &["explain", &id]).await.stdout;
        assert!(!told.contains("Nobody has to act"), "{told}");
        assert!(told.contains("not given up as long as it is held"), "{told}");
        assert!(!told.contains("It is given up"), "{told}");
        let shown = ok(&relay, &["queue", "show", &id]).await.stdout;
        assert!(shown.contains("not while it is held"), "{shown}");
        let domain = ok(&relay, &["explain", "d.test"]).await.stdout;
        assert!(domain.contains("1 message is held"), "{domain}");
        let tried = ok(&relay, &["queue", "retry", &id]).await.stdout;
        assert_eq!(tried, "1 message (1 held: not tried)\n");
    }

    async fn a_refusal_that_is_not_the_last_word_is_not_called_final() {
        let net = Net::start().await;
        let refusing = net.mx("d.test", "127.0.0.25").await;
        refusing.script(|s| s.banner = Banner::Reply("554 5.7.1 listed".into()));
        // Nobody listens there.
        net.zone.mx("d.test", 20, "down.d.test").a("down.d.test", "127.0.0.26");
        let _final = net.mx("e.test", "127.0.0.27").await;
        _final.script(|s| s.banner = Banner::Reply("554 5.7.1 listed".into()));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        let detail = event.text("detail");
        assert!(detail.starts_with("mx.d.test refuses mail from us: 554 5.7.1 listed"), "{event}");
        assert!(detail.contains("another host could not be asked"), "{event}");
        assert!(event.text("advice").starts_with("us: "), "{event}");
        let told = ok(&relay, &["explain", &id]).await.stdout;
        assert!(!told.contains("for good"), "{told}");
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        let event = bounced(&relay, &id).await;
        assert!(event.text("detail").starts_with("mx.e.test refuses mail from us"), "{event}");
    }

    async fn a_certificate_is_told_with_the_remedy_for_what_is_wrong_with_it() {
        let net = Net::start().await;
        for (n, (domain, words, remedy)) in [
            ("early.test", "is not accepted: it is valid only from", "valid now"),
            ("alone.test", "is not accepted: it is self-signed", "anybody can sign for himself"),
            ("gap.test", "is not accepted: the host does not present", "fullchain"),
        ].into_iter().enumerate() {
            let name = format!("mx.{domain}");
            net.enforce(domain);
            let mx = net.mx(domain, &format!("127.0.0.{}", 41 + n)).await;
            let cert = net.ca.cert(&[&name]);
            let cert = match n {
                0 => cert.not_yet_valid(),
                1 => cert.self_signed(),
                _ => cert.missing_intermediate(),
            };
            mx.certificate(&cert.issue());
            let relay = net.relay().await;
            let id = relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await;
            let event = deferred(&relay, &id).await;
            assert_eq!(event.text("reason"), "cert-not-trusted", "{event}");
            assert!(event.text("detail").contains(words), "{event}");
            assert!(event.text("advice").contains(remedy), "{event}");
        }
    }

    async fn what_a_reply_says_tells_whose_move_it_is() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let cases = [
            ("user@", "550 5.1.1 no such user", "us: The sender should check the address"),
            ("full@", "452 4.2.2 mailbox full", "recipient-admin: The recipient has to make room"),
            ("spf@", "550 5.7.23 SPF says no", "us: Compare the host's reply with the records"),
            ("fast@", "450 4.7.0 too many messages from you", "us: See what sends so much"),
            ("grey@", "450 4.7.1 Greylisted, please try again later", "wait: It may be greylisting"),
            ("disk@", "452 4.3.1 disk full", "wait: The host has trouble of its own"),
        ];
        for (to, reply, _) in cases {
            mx.rule(Rule::always("RCPT", Action::Reply(reply.into())).about(to));
        }
        let relay = Relay::start(net.config()).await;
        for (to, reply, advice) in cases {
            let id = relay.send("a@org.test", &[&format!("{to}d.test")], MESSAGE).await;
            let event = match reply.starts_with('5') {
                true => bounced(&relay, &id).await,
                false => deferred(&relay, &id).await,
            };
            assert!(event.text("advice").starts_with(advice), "{event}");
        }
        let broken = net.mx("e.test", "127.0.0.26").await;
        broken.script(|s| s.banner = Banner::Reply("502 5.5.1 not implemented".into()));
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        let event = bounced(&relay, &id).await;
        assert!(event.text("advice").starts_with("recipient-admin: "), "{event}");
        assert!(!event.text("detail").contains("from us"), "{event}");
    }

    async fn a_host_that_speaks_no_smtp_is_told_as_that() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.script(|s| s.banner = Banner::Reply("HTTP/1.1 400 Bad Request".into()));
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "connection-lost", "{event}");
        assert!(event.text("detail").starts_with("mx.d.test does not speak SMTP properly: "), "{event}");
        assert!(event.text("advice").starts_with("recipient-admin: "), "{event}");
        let told = ok(&relay, &["explain", &id]).await.stdout;
        assert!(told.contains("what it says is no SMTP"), "{told}");
        let (before, letter) = told.split_once("| To: postmaster@d.test").unwrap();
        assert!(before.contains("may be stuck for the same reason"), "{told}");
        assert!(!letter.contains("may be stuck") && !letter.contains("Z (UTC)"), "{told}");
    }

    async fn what_dns_says_and_is_not_believed_is_waited_for() {
        let net = Net::start().await;
        net.enforce("d.test");
        net.zone.mx("d.test", 0, ".");
        let relay = net.relay().await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "null-mx", "{event}");
        assert!(event.text("advice").starts_with("wait: If it is true"), "{event}");
        let told = ok(&relay, &["explain", &id]).await.stdout;
        assert!(told.contains("Nobody has to act yet. If it is true"), "{told}");
    }

    async fn a_notice_without_hosts_says_what_the_sender_can_do() {
        let net = Net::start().await;
        let org = net.plain_mx("org.test", "127.0.3.1").await;
        let relay = net.relay().await;
        relay.send("a@org.test", &["b@misspelt.test"], MESSAGE).await;
        let notice = notice(&org).await;
        let words = notice.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("What can be done: You should check the spelling"), "{notice}");
    }
}

/// The text of the notification that the sender gets.
async fn notice(org: &FakeMx) -> String {
    let first = || org.messages().into_iter().next();
    let notice: Option<ReceivedMessage> = eventually(2 * SOON, async || first()).await;
    notice.expect("a notification").text()
}

/// Whose move it is, by all who count it.
#[derive(Debug, Default)]
struct Seen {
    /// Message by message.
    items: Vec<Value>,
    /// `status`, the rows of the summary, and its reasons.
    totals: [BTreeMap<String, u64>; 3],
    reasons: Vec<Value>,
}

impl Seen {
    async fn of(relay: &Relay) -> Self {
        let listed = ok(relay, &["queue", "list", "--json"]).await.stdout;
        let status = ok(relay, &["status", "--json"]).await.json();
        let summary = ok(relay, &["queue", "summary", "--json"]).await.json();
        let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let count = |(side, n): (&Value, &Value)| Some((side.as_str()?.to_owned(), n.as_u64()?));
        let by_side = |rows: &Value| {
            let mut sums = BTreeMap::new();
            let rows = array(rows);
            let counts = rows
                .iter()
                .filter_map(|row| count((&row["side"], &row["messages"])));
            counts.for_each(|(side, n)| *sums.entry(side).or_default() += n);
            sums
        };
        let waiting = array(&status["waiting_for"]);
        Self {
            items: listed
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            totals: [
                waiting
                    .iter()
                    .filter_map(|pair| count((&pair[0], &pair[1])))
                    .collect(),
                by_side(&summary["rows"]),
                by_side(&summary["reasons"]),
            ],
            reasons: array(&summary["reasons"]),
        }
    }

    /// Whether all is settled, and everybody says the same.
    fn agree(&self) -> bool {
        let expected = [("us", 6), ("recipient-admin", 1), ("wait", 1)];
        let expected: BTreeMap<String, u64> = expected.map(|(side, n)| (side.to_owned(), n)).into();
        let mut by_message: BTreeMap<String, u64> = BTreeMap::new();
        let sides = self.items.iter().filter_map(|item| item["side"].as_str());
        sides.for_each(|side| *by_message.entry(side.to_owned()).or_default() += 1);
        let put_off = |tried: bool| {
            self.items.iter().any(|item| {
                item["reason"] == "destination-suspended" && (item["attempts"] != 0) == tried
            })
        };
        let same = self.totals.iter().all(|total| *total == expected);
        same && by_message == expected && put_off(true) && put_off(false)
    }
}
