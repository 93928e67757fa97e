//! The listener as a counter in an office: closed for maintenance, without some services, and what
//! it notes down of clients that do wrong.

use std::time::Duration;

use sealpost_tests::{Event, Relay, RelayConfig, SmtpClient, Users};
use tokio::io::AsyncWriteExt;

use crate::listener::{connect, hello, reply, told};
use crate::net::{MESSAGE, Net, SOON, ok, sent};

const RELAY: &str = "127.0.0.1:2525";
const SECOND: &str = "127.0.0.1:2626";
const STARTTLS: &str = "127.0.0.1:2587";
const IMPLICIT: &str = "127.0.0.1:2465";
const PASSWORD: &str = "correct horse battery";

fn second(config: RelayConfig, lines: &str) -> RelayConfig {
    config.append(&format!(
        "[[listener]]\nname = \"second\"\naddress = [\"{SECOND}\"]\ntls = \"off\"\n{lines}\n"
    ))
}

/// The counter of one incident.
async fn counted(relay: &Relay, incident: &str) -> u64 {
    let (_, metrics) = relay.http_get("/metrics").await;
    let series = format!("sealpost_client_incidents_total{{incident=\"{incident}\"}} ");
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(&series));
    value
        .unwrap_or_else(|| panic!("{series} in {metrics}"))
        .parse()
        .unwrap()
}

testkit::net_test! {
    async fn e4_01_a_listener_is_closed_and_opened_by_a_reload() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.0.25").await;
        let base = net.config();
        let mut relay = Relay::start(second(base.clone(), "")).await;
        let mut before = hello("127.0.0.1", SECOND).await;
        let change = base.clone();
        relay.reconfigure(|_| second(change, "closed = \"moving until noon\""));
        let told_of = ok(&relay, &["reload"]).await.stdout;
        assert!(told_of.contains("listener[1].closed: "), "{told_of}");
        let mut client = connect("127.0.0.1", SECOND).await;
        let greeting = reply(&mut client).await;
        assert!(greeting.starts_with("554 ") && greeting.contains("moving until noon"), "{greeting}");
        for command in ["EHLO c.test", "HELO c.test", "MAIL FROM:<a@org.test>", "NOOP"] {
            let answer = told(&mut client, &format!("{command}\r\n")).await;
            assert!(answer.starts_with("503 5.5.1 "), "{command}: {answer}");
        }
        assert!(told(&mut client, "QUIT\r\n").await.starts_with("221 "));
        let status = ok(&relay, &["status"]).await.stdout;
        let states: Vec<_> = status.lines().filter(|l| l.contains("127.0.0.1:")).collect();
        assert_eq!(states.len(), 2, "{status}");
        assert!(states[0].ends_with(" open"), "{status}");
        assert!(states[1].ends_with(" closed: moving until noon"), "{status}");
        // Who was there goes on, and so do the other listener and deliveries.
        assert!(told(&mut before, "NOOP\r\n").await.starts_with("250 "));
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        relay.reconfigure(|_| second(base, ""));
        ok(&relay, &["reload"]).await;
        hello("127.0.0.1", SECOND).await;
        let status = ok(&relay, &["status"]).await.stdout;
        assert!(!status.contains("closed"), "{status}");
    }

    async fn e4_23_strangers_wait_for_the_greeting_and_early_talkers_are_refused() {
        let net = Net::start().await;
        // So long a delay that a test which waits for it fails by its own limit.
        let config = net.config()
            .set("access.relay-networks", r#"["127.0.0.1/32"]"#)
            .set("access.greeting-delay", "\"10s\"")
            .set("access.refuse-early-talkers", "true");
        let relay = Relay::start(config).await;
        let mut early = connect("127.0.0.9", RELAY).await;
        early.write_all(b"EHLO c.test\r\n").await.unwrap();
        let greeting = reply(&mut early).await;
        assert!(greeting.starts_with("554 "), "{greeting}");
        let noticed = |e: &Event| e.is("smtp.in.incident") && e.text("incident") == "early_talker";
        let event = relay.wait_event(noticed, SOON).await;
        assert_eq!(event.text("client"), "127.0.0.9");
        assert_eq!(counted(&relay, "early_talker").await, 1);
        // Our own network is greeted at once.
        let greeted = tokio::time::timeout(Duration::from_secs(5), hello("127.0.0.1", RELAY));
        greeted.await.expect("no delay");
    }

    async fn f1_01_a_listener_without_dsn_neither_offers_nor_takes_it() {
        let net = Net::start().await;
        let _relay = Relay::start(second(net.config(), "dsn = false")).await;
        for (listener, offered, code) in [(RELAY, true, "250 "), (SECOND, false, "555 5.5.4 ")] {
            let mut client = hello("127.0.0.1", listener).await;
            let extensions = told(&mut client, "EHLO c.test\r\n").await;
            assert_eq!(extensions.contains("DSN"), offered, "{extensions}");
            let answer = told(&mut client, "MAIL FROM:<a@org.test> RET=HDRS\r\n").await;
            assert!(answer.starts_with(code), "{answer}");
            told(&mut client, "RSET\r\n").await;
            assert!(told(&mut client, "MAIL FROM:<a@org.test>\r\n").await.starts_with("250 "));
            let answer = told(&mut client, "RCPT TO:<b@d.test> NOTIFY=NEVER\r\n").await;
            assert!(answer.starts_with(code), "{answer}");
        }
    }

    async fn h5_01_h5_03_h5_05_h5_09_what_clients_do_wrong_is_counted() {
        let net = Net::start().await;
        let config = net.config().set("access.data-grace", "\"1s\"");
        let relay = Relay::start(net.tls_listener(config)).await;
        for (to, text, incident) in [
            (RELAY, "GET / HTTP/1.1\r\n", "cross_protocol"),
            (STARTTLS, "STARTTLS\r\nNOOP\r\n", "starttls_injection"),
            (
                RELAY,
                "MAIL FROM:<a@org.test>\r\nRCPT TO:<b@d.test>\r\nDATA\r\none\n.\n",
                "bare_newline",
            ),
            (
                RELAY,
                "MAIL FROM:<a@org.test>\r\nRCPT TO:<b@d.test>\r\nDATA\r\nslow",
                "timeout_data",
            ),
        ] {
            assert_eq!(counted(&relay, incident).await, 0, "{incident}");
            let mut client = hello("127.0.0.1", to).await;
            client.write_all(text.as_bytes()).await.unwrap();
            let (event, field, word) = match incident.strip_prefix("timeout_") {
                Some(stage) => ("smtp.in.timeout", "stage", stage),
                None => ("smtp.in.incident", "incident", incident),
            };
            relay.wait_event(|e| e.is(event) && e.text(field) == word, SOON).await;
            assert_eq!(counted(&relay, incident).await, 1, "{incident}");
        }
    }

    async fn g3_09_g4_04_refusals_are_told_by_their_cause() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        let users = Users::new(&[("ann@org.test", PASSWORD)]).await;
        let config = users
            .listeners(net.config(), &net.ca, STARTTLS, IMPLICIT)
            .append("require-from = true")
            .set("access.messages-per-identity", "\"2/1h\"");
        let relay = Relay::start(config).await;
        let mut client =
            SmtpClient::connect_tls(IMPLICIT.parse().unwrap(), &net.ca, "relay.test").await;
        client.ehlo("c.test").await;
        client.auth_plain("ann@org.test", PASSWORD).await.demand(235);
        client.command("MAIL FROM:<ann@org.test>").await.demand(250);
        client.command("RCPT TO:<b@d.test>").await.demand(250);
        client.command("DATA").await.demand(354);
        client.write(b"From: ann\r\nSubject: no address\r\n\r\n.\r\n").await;
        client.reply().await.demand(550);
        client.send("ann@org.test", &["b@d.test"], MESSAGE).await;
        client.command("MAIL FROM:<ann@org.test>").await.demand(450);
        let (_, metrics) = relay.http_get("/metrics").await;
        for cause in ["content", "limit"] {
            let refused = |e: &Event| e.is("message.refused") && e.text("cause") == cause;
            relay.wait_event(refused, SOON).await;
            let series = format!("sealpost_messages_refused_total{{cause=\"{cause}\"}} 1");
            assert!(metrics.contains(&series), "{series}");
        }
    }
}
