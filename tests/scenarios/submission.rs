//! Submission listeners and logins.

use std::path::Path;

use data_encoding::BASE64;
use sealpost_tests::{Relay, RelayConfig, SmtpClient, Users};
use testkit::{FakeMx, Login};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::net::{MESSAGE, Net, SOON, deferred, ok, sent};

const STARTTLS: &str = "127.0.0.1:587";
const IMPLICIT: &str = "127.0.0.1:465";
const PASSWORD: &str = "correct horse battery";

async fn users() -> Users {
    Users::new(&[
        ("ann@org.test", PASSWORD),
        ("bob@org.test", "bob's own password"),
    ])
    .await
}

fn with_users(net: &Net, users: &Users) -> RelayConfig {
    users.listeners(net.config(), &net.ca, STARTTLS, IMPLICIT)
}

/// Inside TLS, after EHLO.
async fn client(net: &Net) -> SmtpClient {
    let mut client = SmtpClient::connect(STARTTLS.parse().unwrap()).await;
    client.ehlo("app.org.test").await;
    client.starttls(&net.ca, "relay.test").await;
    client.ehlo("app.org.test").await;
    client
}

async fn ann(net: &Net) -> SmtpClient {
    let mut client = client(net).await;
    client
        .auth_plain("ann@org.test", PASSWORD)
        .await
        .demand(235);
    client
}

/// Every file below, as text.
fn everything_below(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &everything_below(&path);
        } else if let Ok(octets) = std::fs::read(&path) {
            all += &String::from_utf8_lossy(&octets);
        }
    }
    all
}

testkit::net_test! {
    async fn g1_01_g1_02_g1_04_g5_01_submission_is_for_those_who_log_in() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let users = users().await;
        let relay = Relay::start(with_users(&net, &users)).await;
        // In clear there is nothing but STARTTLS.
        let mut clear = SmtpClient::connect(STARTTLS.parse().unwrap()).await;
        let offered = clear.ehlo("app.org.test").await;
        assert!(offered.iter().any(|e| e == "STARTTLS"), "{offered:?}");
        assert!(!offered.iter().any(|e| e.starts_with("AUTH")), "{offered:?}");
        let refused = clear.command("MAIL FROM:<ann@org.test>").await.demand(530);
        assert!(refused.text().starts_with("5.7.0 "), "{refused:?}");
        let refused = clear.auth_plain("ann@org.test", PASSWORD).await.demand(538);
        assert!(refused.text().starts_with("5.7.11 "), "{refused:?}");
        // Inside TLS a login comes first, though the client's network may relay.
        for implicit in [false, true] {
            let mut client = if implicit {
                let mut client =
                    SmtpClient::connect_tls(IMPLICIT.parse().unwrap(), &net.ca, "relay.test").await;
                assert_eq!(client.greeting().code, 220);
                client.ehlo("app.org.test").await;
                client
            } else {
                client(&net).await
            };
            let offered = client.ehlo("app.org.test").await;
            let auth = "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN";
            assert!(offered.iter().any(|e| e == auth), "{offered:?}");
            assert!(!offered.iter().any(|e| e == "STARTTLS"), "{offered:?}");
            let refused = client.command("MAIL FROM:<ann@org.test>").await.demand(530);
            assert!(refused.text().starts_with("5.7.0 Authentication required"), "{refused:?}");
            let refused = client.auth_plain("ann@org.test", "wrong password").await.demand(535);
            assert!(refused.text().starts_with("5.7.8 "), "{refused:?}");
            client.auth_plain("ann@org.test", PASSWORD).await.demand(235);
            let id = client.send("ann@org.test", &["b@d.test"], MESSAGE).await;
            sent(&relay, &id).await;
            let received = relay.wait_for("message.received", &id, SOON).await;
            assert_eq!(received.text("identity"), "ann@org.test", "{received}");
            let name = if implicit { "submissions" } else { "submission" };
            assert_eq!(received.text("listener"), name, "{received}");
            let got = mx.messages().pop().unwrap();
            assert!(got.text().contains("with ESMTPSA id"), "{}", got.text());
            assert!(!got.text().contains("Authenticated sender"), "{}", got.text());
        }
        // Row G1-02: SMTP in clear where TLS is spoken from the first octet.
        let mut tcp = TcpStream::connect(IMPLICIT).await.unwrap();
        tcp.write_all(b"EHLO c.test\r\n").await.unwrap();
        let mut heard = Vec::new();
        let _ = tcp.read_to_end(&mut heard).await;
        assert!(!heard.starts_with(b"220") && !heard.starts_with(b"250"), "{heard:?}");
        // The relay listener beside them still takes mail of its networks without a login.
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
    }

    async fn g5_01_g5_02_the_client_can_be_hidden_and_the_user_shown() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let users = users().await;
        for (hide, show) in [(false, false), (true, false), (false, true), (true, true)] {
            let lines = format!("hide-client = {hide}\nshow-user = {show}\n");
            let config = users.listeners_with(net.config(), &net.ca, STARTTLS, IMPLICIT, &lines);
            let relay = Relay::start(config).await;
            let id = ann(&net).await.send("ann@org.test", &["b@d.test"], MESSAGE).await;
            sent(&relay, &id).await;
            let got = mx.messages().pop().unwrap();
            let from = if hide { "unknown" } else { "app.org.test ([127.0.0.1])" };
            let user = if show { "(Authenticated sender: ann@org.test)\r\n\t" } else { "" };
            let field = format!("Received: from {from}\r\n\t{user}by relay.test with ESMTPSA id {id}\r\n");
            assert!(got.text().starts_with(&field), "{field}{}", got.text());
        }
    }

    async fn g1_10_refusals_of_submissions_are_final_and_explained() {
        let net = Net::start().await;
        let users = users().await;
        let config = with_users(&net, &users)
            .append("[[identity]]\nname = \"ann@org.test\"\nsenders = [\"ann@org.test\"]");
        let relay = Relay::start(config).await;
        let mut stranger = client(&net).await;
        let mut ann = ann(&net).await;
        for (logged_in, line) in [
            (false, "MAIL FROM:<ann@org.test>"),
            (true, "MAIL FROM:<bob@org.test>"),
            (true, "MAIL FROM:<ann@localhost>"),
            (true, "MAIL FROM:<ann@org.test> SIZE=999999999"),
            (true, "MAIL FROM:<ann@org.test> X=1"),
            (true, "MAIL FROM:ann"),
        ] {
            let who = if logged_in { &mut ann } else { &mut stranger };
            let reply = who.command(line).await;
            assert!((500..600).contains(&reply.code), "{line}: {reply:?}");
            let text = reply.text();
            assert!(text.starts_with("5.") && text.len() > 20, "{line}: {reply:?}");
        }
        let denied = relay.wait_event(|e| e.text("cause") == "sender-denied", SOON).await;
        assert_eq!(denied.text("from"), "bob@org.test", "{denied}");
        relay.wait_event(|e| e.text("cause") == "auth-required", SOON).await;
        ann.command("MAIL FROM:<ann@org.test>").await.demand(250);
        let reply = ann.command("RCPT TO:<b@host>").await.demand(550); // row G3-08
        assert!(reply.text().starts_with("5.1.2 "), "{reply:?}");
        ann.command("RCPT TO:<b@d.test>").await.demand(250);
    }

    async fn g4_04_g5_07_a_header_under_way_takes_memory_and_is_refused_as_content() {
        let net = Net::start().await;
        let users = users().await;
        let lines = "require-from = true\n";
        let config = users.listeners_with(net.config(), &net.ca, STARTTLS, IMPLICIT, lines);
        let relay = Relay::start(config).await;
        let mut ann = ann(&net).await;
        ann.command("MAIL FROM:<ann@org.test>").await.demand(250);
        ann.command("RCPT TO:<b@d.test>").await.demand(250);
        ann.command("DATA").await.demand(354);
        let header = format!("X-Long: {}\r\n", "x".repeat(900)).repeat(200);
        ann.write(header.as_bytes()).await;
        let used = async || {
            let (_, metrics) = relay.http_get("/metrics").await;
            let name = "sealpost_in_use{resource=\"inbound-content\"} ";
            let used = metrics.lines().find_map(|l| l.strip_prefix(name));
            used.unwrap().parse::<usize>().unwrap()
        };
        let counted = async || (used().await >= header.len() + (64 << 10)).then_some(());
        let counted = sealpost_tests::eventually(SOON, counted).await;
        assert_eq!(counted, Some(()), "{}", used().await);
        ann.write(b"\r\nbody\r\n.\r\n").await;
        let reply = ann.reply().await.demand(550);
        assert!(reply.text().starts_with("5.6.0 "), "{reply:?}");
        let refused = relay.wait_event(|e| e.is("message.refused"), SOON).await;
        assert_eq!(refused.text("cause"), "content", "{refused}");
        assert_eq!(used().await, 0);
        // What is all header is judged at its end; the client stays, and what it took does not.
        ann.command("MAIL FROM:<ann@org.test>").await.demand(250);
        ann.command("RCPT TO:<b@d.test>").await.demand(250);
        ann.command("DATA").await.demand(354);
        ann.write(b"Subject: x\r\n.\r\n").await;
        ann.reply().await.demand(550);
        assert_eq!(used().await, 0);
        ann.command("NOOP").await.demand(250);
    }

    async fn h5_05_e4_12_each_listener_has_an_idle_time_of_its_own() {
        let net = Net::start().await;
        let users = users().await;
        let lines = "idle-timeout = \"3s\"\n";
        let config = users.listeners_with(net.config(), &net.ca, STARTTLS, IMPLICIT, lines);
        let relay = Relay::start(config).await;
        // The relay listener has its five minutes.
        let mut patient = relay.client().await;
        let mut silent = SmtpClient::connect(STARTTLS.parse().unwrap()).await;
        let mut slow = ann(&net).await;
        slow.command("MAIL FROM:<ann@org.test>").await.demand(250);
        slow.command("RCPT TO:<b@d.test>").await.demand(250);
        slow.command("DATA").await.demand(354);
        for client in [&mut silent, &mut slow] {
            let reply = tokio::time::timeout(SOON, client.reply()).await.unwrap().demand(421);
            assert!(reply.text().starts_with("4.4.2 "), "{reply:?}");
        }
        patient.command("NOOP").await.demand(250);
    }

    async fn g3_07_g3_09_senders_and_rates_belong_to_an_identity() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        let users = users().await;
        let config = with_users(&net, &users)
            .set("access.sender-addresses", "\"own\"")
            .set("access.messages-per-identity", "\"3/1h\"")
            .append(
                "[[identity]]\nname = \"bob@org.test\"\nsenders = [\"*.org.test\", \"org.test\"]\n\
                 messages = \"unlimited\"\nrecipients = \"4/1h\"",
            );
        let relay = Relay::start(config).await;
        let mut ann = ann(&net).await;
        let reply = ann.command("MAIL FROM:<bob@org.test>").await.demand(550);
        assert!(reply.text().starts_with("5.7.1 ann@org.test may not"), "{reply:?}");
        for _ in 0..3 {
            ann.send("ann@org.test", &["b@d.test"], MESSAGE).await;
        }
        let reply = ann.command("MAIL FROM:<ann@org.test>").await.demand(450);
        assert!(reply.text().starts_with("4.7.1 ann@org.test has sent 3 messages"), "{reply:?}");
        // Not in another session either; another identity is not affected.
        let mut again = client(&net).await;
        again.auth_plain("ann@org.test", PASSWORD).await.demand(235);
        again.command("MAIL FROM:<ann@org.test>").await.demand(450);
        let mut bob = client(&net).await;
        bob.auth_plain("bob@org.test", "bob's own password").await.demand(235);
        for sender in ["bob@org.test", "x@org.test", "x@sub.org.test"] {
            bob.send(sender, &["b@d.test"], MESSAGE).await;
        }
        bob.command("MAIL FROM:<x@org2.test>").await.demand(550);
        bob.command("MAIL FROM:<bob@org.test>").await.demand(250);
        bob.command("RCPT TO:<b@d.test>").await.demand(250);
        let reply = bob.command("RCPT TO:<c@d.test>").await.demand(450);
        assert!(reply.text().starts_with("4.7.1 bob@org.test has sent 4 recipients"), "{reply:?}");
        let id = relay.send("a@elsewhere.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
    }

    async fn g3_07_g4_09_nobody_is_signed_for_as_whom_an_identity_may_not_send() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        let users = users().await;
        let mut config = with_users(&net, &users)
            .append("[[identity]]\nname = \"ann@org.test\"\nsenders = [\"org.test\"]");
        let folder = tempfile::tempdir().unwrap();
        for domain in ["org.test", "b.test"] {
            let file = folder.path().join(domain);
            let file = file.to_str().unwrap();
            let args = ["--domain", domain, "--selector", "s1", "--type", "ed25519", "--out", file];
            let made = users.command(&[&["dkim", "keygen"], &args[..]].concat()).await;
            assert_eq!(made.code, Some(0), "{made:?}");
            config = config.append(&format!(
                "[[dkim]]\ndomain = \"{domain}\"\nselector = \"s1\"\nprivate-key = \"{file}\""
            ));
        }
        let relay = Relay::start(config).await;
        let mut ann = ann(&net).await;
        for sender in ["ann@org.test", ""] {
            ann.command(&format!("MAIL FROM:<{sender}>")).await.demand(250);
            ann.command("RCPT TO:<b@d.test>").await.demand(250);
            ann.command("DATA").await.demand(354);
            ann.write(b"From: The Boss <boss@b.test>\r\n\r\nPay this.\r\n.\r\n").await;
            let reply = ann.reply().await.demand(550);
            assert!(reply.text().starts_with("5.7.1 From names"), "{reply:?}");
        }
        let refused = relay.wait_event(|e| e.is("message.refused"), SOON).await;
        assert_eq!(refused.text("cause"), "content", "{refused}");
        let mut bob = client(&net).await;
        bob.auth_plain("bob@org.test", "bob's own password").await.demand(235);
        for (client, from, signer) in [
            (&mut ann, "x@org.test", "d=org.test;"),
            // Who has no limits has none here.
            (&mut bob, "boss@b.test", "d=b.test;"),
        ] {
            let message = format!("From: {from}\r\n\r\nx\r\n");
            let id = client.send("x@org.test", &["b@d.test"], message.as_bytes()).await;
            sent(&relay, &id).await;
            let got = mx.messages().pop().unwrap();
            assert!(got.text().contains(signer), "{}", got.text());
        }
    }

    async fn g2_11_who_was_let_in_before_a_restart_is_no_stranger_after_it() {
        let net = Net::start().await;
        let users = users().await;
        let mut relay = Relay::start(with_users(&net, &users)).await;
        drop(ann(&net).await);
        relay.daemon().signal(rustix::process::Signal::TERM);
        assert!(relay.daemon().wait(SOON).await.success());
        let known = std::fs::read_to_string(relay.folder().join("data/known-logins")).unwrap();
        assert!(known.lines().count() == 1 && !known.contains("ann"), "{known}");
        relay.restart().await;
        for round in 0..2 {
            let mut client = client(&net).await;
            for n in 0..3 {
                let _ = client.auth_plain("ann@org.test", &format!("guess{round}{n}")).await;
            }
        }
        drop(ann(&net).await);
    }

    async fn g2_11_g2_12_who_guesses_is_held_off_and_nobody_else() {
        let net = Net::start().await;
        let users = users().await;
        let relay = Relay::start(with_users(&net, &users)).await;
        let guess = |n: u32| format!("guess-number-{n}");
        let mut codes = Vec::new();
        for round in 0..3 {
            let mut client = client(&net).await;
            for n in 0..3 {
                let reply = client.auth_plain("ann@org.test", &guess(round * 3 + n)).await;
                codes.push(reply.code);
            }
            // A fourth in one session is not listened to.
            let reply = client.auth_plain("ann@org.test", PASSWORD).await.demand(421);
            assert!(reply.text().starts_with("4.7.0 "), "{reply:?}");
        }
        assert_eq!(codes[..5], [535; 5]);
        assert!(codes[5..].contains(&454), "{codes:?}");
        let failed = |result: &'static str| {
            move |e: &sealpost_tests::Event| {
                e.is("smtp.in.login-failed") && e.text("result") == result
            }
        };
        let event = relay.wait_event(failed("rejected"), SOON).await;
        assert_eq!(event.text("user"), "ann@org.test", "{event}");
        assert_eq!(event.text("client"), "127.0.0.1", "{event}");
        assert_eq!(event.text("mechanism"), "PLAIN", "{event}");
        relay.wait_event(failed("not-now"), SOON).await;
        // Another user at the same address gets in at once; an unknown one is told the same as ann.
        let mut bob = client(&net).await;
        bob.auth_plain("bob@org.test", "bob's own password").await.demand(235);
        let mut nobody = client(&net).await;
        let reply = nobody.auth_plain("nobody@org.test", "guess").await.demand(535);
        assert_eq!(reply.text(), "5.7.8 Authentication credentials invalid");
        let (_, metrics) = relay.http_get("/metrics").await;
        assert!(metrics.contains("sealpost_logins_total{result=\"accepted\"} 1"), "{metrics}");
        // Row G2-12: what was said shows nowhere.
        let written = everything_below(relay.folder()) + &relay.story() + &metrics;
        let mut secrets = vec![PASSWORD.to_owned(), "bob's own password".to_owned()];
        secrets.extend((0..9).map(guess));
        for secret in secrets {
            assert!(!written.contains(&secret), "{secret}");
            for user in ["ann@org.test", "bob@org.test"] {
                let said = BASE64.encode(format!("\0{user}\0{secret}").as_bytes());
                assert!(!written.contains(&said), "{said}");
            }
        }
        assert!(!std::fs::read_to_string(users.path()).unwrap().contains(PASSWORD));
    }

    async fn g2_12_no_core_dump_is_written() {
        let net = Net::start().await;
        let relay = Relay::start(net.config()).await;
        let limits = std::fs::read_to_string(crate::load::process(&relay).join("limits")).unwrap();
        let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let unit = std::fs::read_to_string(top.join("deploy/systemd/sealpost.service")).unwrap();
        assert!(unit.lines().any(|l| l == "LimitCORE=0"), "{unit}");
    }

    async fn g2_03_g2_04_g2_09_the_dialogue() {
        let net = Net::start().await;
        let users = users().await;
        let config = with_users(&net, &users).set("access.auth-login", "true");
        let _relay = Relay::start(config).await;
        let mut c = client(&net).await;
        let offered = c.ehlo("c.test").await;
        let auth = "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN";
        assert!(offered.iter().any(|e| e == auth), "{offered:?}");
        for (line, code, status) in [
            ("AUTH CRAM-MD5", 504, "5.5.4 "),
            ("AUTH PLAIN !!!", 501, "5.5.2 "),
            ("AUTH PLAIN", 334, ""),
            ("*", 501, "5.7.0 "),
        ] {
            let reply = c.command(line).await.demand(code);
            assert!(reply.text().starts_with(status), "{line}: {reply:?}");
        }
        c.command("AUTH PLAIN").await.demand(334);
        let reply = c.command(&"A".repeat(12_289)).await.demand(500);
        assert!(reply.text().starts_with("5.5.6 "), "{reply:?}");
        c.command("AUTH PLAIN").await.demand(334);
        let longest = c.command(&"A".repeat(12_288)).await;
        assert_ne!(longest.code, 500, "{longest:?}");
        assert_eq!(c.command("AUTH LOGIN").await.demand(334).text(), "VXNlcm5hbWU6");
        c.command(&BASE64.encode(b"ann@org.test")).await.demand(334);
        c.command(&BASE64.encode(PASSWORD.as_bytes())).await.demand(235);
        c.auth_plain("ann@org.test", PASSWORD).await.demand(503);
    }

    async fn users_come_and_go_while_it_runs() {
        let net = Net::start().await;
        let users = users().await;
        let relay = Relay::start(with_users(&net, &users)).await;
        let mut session = ann(&net).await;
        let listed = users.command(&["user", "list"]).await;
        assert_eq!(listed.stdout, "ann@org.test\nbob@org.test\n");
        let added = users.add("carol", "short").await;
        assert_eq!(added.code, Some(65), "{added:?}");
        assert!(added.stderr.contains("shorter than 8 characters"), "{added:?}");
        let added = users.add("carol", "carol-carol").await;
        assert!(added.stderr.contains("the password is weak"), "{added:?}");
        let removed = users.command(&["user", "remove", "ann@org.test"]).await;
        assert_eq!(removed.code, Some(0), "{removed:?}");
        ok(&relay, &["reload"]).await;
        client(&net).await.auth_plain("ann@org.test", PASSWORD).await.demand(535);
        client(&net).await.auth_plain("carol", "carol-carol").await.demand(235);
        // Who is in stays in.
        session.command("MAIL FROM:<ann@org.test>").await.demand(250);
        // A file that cannot be used changes nothing, and both commands say so.
        std::fs::write(users.path(), "carol\n").unwrap();
        let reloaded = relay.cli(&["reload"]).await;
        assert_ne!(reloaded.code, Some(0), "{reloaded:?}");
        client(&net).await.auth_plain("carol", "carol-carol").await.demand(235);
        let checked = relay.cli(&["check-config"]).await;
        assert_eq!(checked.code, Some(78), "{checked:?}");
        assert!(checked.stdout.contains("line 1: a user has three fields"), "{checked:?}");
    }

    async fn g3_07_an_identity_is_its_user_however_it_is_written() {
        let net = Net::start().await;
        let users = users().await;
        // FULLWIDTH LATIN SMALL LETTER A, which SASLprep (RFC 4013) makes an "a".
        let config = with_users(&net, &users).append(
            "[[identity]]\nname = \"\u{ff41}nn@org.test\"\nsenders = [\"ann@org.test\"]\n\
             [[identity]]\nname = \"carol\"\nsenders = [\"carol@org.test\"]",
        );
        let mut relay = Relay::start(config).await;
        let mut session = ann(&net).await;
        let refused = session.command("MAIL FROM:<bob@org.test>").await.demand(550);
        assert!(refused.text().starts_with("5.7.1 ann@org.test may not"), "{refused:?}");
        session.command("MAIL FROM:<ann@org.test>").await.demand(250);
        let checked = relay.cli(&["check-config"]).await;
        let nobody = "nobody can be \"carol\": it has no certificates, and";
        assert!(checked.stdout.contains(nobody), "{checked:?}");
        assert!(checked.stdout.contains("`sealpost user add`"), "{checked:?}");
        assert!(!checked.stdout.contains("nn@org.test\": it"), "{checked:?}");
        relay.reconfigure(|config| config.append("[[identity]]\nname = \"ann@org.test\""));
        for command in ["check-config", "reload"] {
            let failed = relay.cli(&[command]).await;
            assert_ne!(failed.code, Some(0), "{failed:?}");
            let said = failed.stdout + &failed.stderr;
            assert!(said.contains("are one user: names count after SASLprep"), "{said}");
        }
    }

    async fn d2_01_amb_32_tls_required_no_of_those_who_log_in_counts() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.certificate(&net.expired("mx.d.test"));
        net.enforce("d.test");
        let users = users().await;
        let mut relay = Relay::start(with_users(&net, &users)).await;
        let mut message = b"TLS-Required: No\r\n".to_vec();
        message.extend_from_slice(MESSAGE);
        let id = relay.send("a@org.test", &["b@d.test"], &message).await;
        let event = deferred(&relay, &id).await;
        assert_eq!(event.text("reason"), "cert-expired", "{event}");
        // Kept through the queue: the first attempt is made after a restart.
        mx.rule(testkit::Rule::always("MAIL", testkit::Action::Stall));
        let id = ann(&net).await.send("ann@org.test", &["b@d.test"], &message).await;
        mx.wait_for_command("MAIL", SOON).await;
        relay.kill();
        mx.behave();
        relay.restart().await;
        let event = relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(event.text("weakened_by"), "tls-required-no", "{event}");
    }

    async fn g2_13_the_submitter_is_passed_on_as_far_as_it_is_believed() {
        let net = Net::start().await;
        let users = users().await;
        let leaf = net.ca.leaf(&["hop.test"]);
        let hop = FakeMx::start("127.0.2.1:587", "hop.test", Some(&leaf)).await;
        hop.script(|s| s.login = Some(Login::new("relay", "the hop's password")));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "the hop's password\n").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, private).unwrap();
        let config = with_users(&net, &users).append(&format!(
            "[[identity]]\nname = \"bob@org.test\"\nnames-submitters = true\n\
             [[route]]\nrecipient-domain = \"hop.test\"\nrelay = \"[127.0.2.1]:587\"\n\
             tls-name = \"hop.test\"\nusername = \"relay\"\npassword-file = \"{}\"",
            file.display()
        ));
        let mx = net.mx("d.test", "127.0.0.25").await;
        let relay = Relay::start(config).await;
        for (user, password, said, want) in [
            ("ann@org.test", PASSWORD, " AUTH=x@y.test", "AUTH=<>"),
            ("bob@org.test", "bob's own password", " AUTH=x@y.test", "AUTH=x@y.test"),
            ("ann@org.test", PASSWORD, "", ""),
        ] {
            let mut client = client(&net).await;
            client.auth_plain(user, password).await.demand(235);
            let id = client
                .send_with("ann@org.test", said, &["b@hop.test"], "", MESSAGE)
                .await;
            sent(&relay, &id).await;
            let got = hop.messages().pop().unwrap();
            let auth = got.from_params.split(' ').find(|p| p.starts_with("AUTH"));
            assert_eq!(auth.unwrap_or_default(), want, "{got:?}");
            // To a host without AUTH nothing is said.
            let id = client
                .send_with("ann@org.test", said, &["b@d.test"], "", MESSAGE)
                .await;
            sent(&relay, &id).await;
            let got = mx.messages().pop().unwrap();
            assert!(!got.from_params.contains("AUTH"), "{got:?}");
        }
    }
}
