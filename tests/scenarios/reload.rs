//! What a reload changes of the listeners: connections that come afterwards find the new rules,
//! those that are there keep what they began with.

use sealpost_tests::{Event, Relay, RelayConfig, SmtpClient, Users};
use testkit::Leaf;

use crate::listener::{connect, hello, reply, told};
use crate::net::{MESSAGE, Net, SOON, ok};

const RELAY: &str = "127.0.0.1:2525";
const SECOND: &str = "127.0.0.1:2626";
const PASSWORD: &str = "correct horse battery";

/// A second listener with these lines.
fn second(config: RelayConfig, lines: &str) -> RelayConfig {
    config.append(&format!(
        "[[listener]]\nname = \"second\"\ntls = \"off\"\n{lines}\n"
    ))
}

async fn rcpt(client: &mut tokio::net::TcpStream) -> String {
    let mail = told(client, "MAIL FROM:<a@org.test>\r\n").await;
    assert!(mail.starts_with("250 "), "{mail}");
    told(client, "RCPT TO:<b@d.test>\r\n").await
}

/// `sealpost status` as soon as it says this.
async fn told_by(relay: &Relay, words: &str) -> String {
    let said = async {
        loop {
            let status = ok(relay, &["status"]).await.stdout;
            if status.contains(words) {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let said = tokio::time::timeout(SOON, said).await;
    said.unwrap_or_else(|_| panic!("{words}: {}", relay.story()))
}

testkit::net_test! {
    async fn h7_11_g3_01_g5_07_access_and_limits_change_for_those_who_come_then() {
        let net = Net::start().await;
        let base = net.config();
        let at = format!("address = [\"{SECOND}\"]\n");
        let config = second(
            base.clone().set("access.relay-networks", r#"["127.0.0.1/32"]"#),
            &format!("{at}max-message-size = \"1MiB\""),
        );
        let mut relay = Relay::start(config).await;
        let mut before = hello("127.0.0.1", RELAY).await;
        let mut stranger = hello("127.0.0.9", RELAY).await;
        assert!(rcpt(&mut stranger).await.starts_with("550 5.7.1 "));
        let mut sized = SmtpClient::connect(SECOND.parse().unwrap()).await;
        assert!(sized.ehlo("c.test").await.contains(&"SIZE 1048576".to_owned()));

        let changed = base.clone()
            .set("access.relay-networks", r#"["127.0.0.9/32"]"#)
            .set("access.xforward-hosts", r#"["127.0.0.9/32"]"#)
            .set("access.connections-per-client", "2")
            .set("access.errors-per-connection", "3");
        relay.reconfigure(|_| second(changed.clone(), &format!("{at}max-message-size = \"2MiB\"")));
        let result = ok(&relay, &["reload"]).await.stdout;
        for key in [
            "access.relay-networks: ",
            "access.xforward-hosts: ",
            "access.connections-per-client: ",
            "access.errors-per-connection: ",
            "listener[1].max-message-size: ",
        ] {
            let line = result.lines().find(|l| l.starts_with(key));
            assert!(line.is_some_and(|l| l.ends_with("in effect")), "{key}: {result}");
        }
        // Who was there goes on as before, also when it was refused.
        assert!(rcpt(&mut before).await.starts_with("250 "));
        told(&mut stranger, "RSET\r\n").await;
        assert!(rcpt(&mut stranger).await.starts_with("550 5.7.1 "));
        // Who comes finds the new rules.
        let mut now_allowed = hello("127.0.0.9", RELAY).await;
        assert!(rcpt(&mut now_allowed).await.starts_with("250 "));
        let extensions = told(&mut now_allowed, "EHLO c.test\r\n").await;
        assert!(extensions.contains("XFORWARD"), "{extensions}");
        // Two of that address are there now: the one from before counts too.
        let mut third = connect("127.0.0.9", RELAY).await;
        assert!(reply(&mut third).await.starts_with("421 4.7.0 "));
        let mut other = hello("127.0.0.8", SECOND).await;
        let extensions = told(&mut other, "EHLO c.test\r\n").await;
        assert!(extensions.contains("SIZE 2097152"), "{extensions}");
        for _ in 0..2 {
            assert!(told(&mut other, "NONSENSE\r\n").await.starts_with("500 "));
        }
        assert!(told(&mut other, "NONSENSE\r\n").await.starts_with("421 4.7.0 "));
        let (_, metrics) = relay.http_get("/metrics").await;
        assert!(metrics.contains("sealpost_limit{"), "{metrics}");
    }

    async fn h7_11_other_ports_need_a_restart_and_a_mistake_changes_nothing() {
        let net = Net::start().await;
        let base = net.config();
        let at = format!("address = [\"{SECOND}\"]\n");
        let mut relay = Relay::start(second(base.clone(), &at)).await;
        // One key of another port among them: all of the listeners' keys wait for the restart.
        relay.reconfigure(|_| {
            second(base.clone(), "address = [\"127.0.0.1:2727\"]\nmax-recipients = 200")
        });
        let result = ok(&relay, &["reload"]).await.stdout;
        for key in ["listener[1].address: ", "listener[1].max-recipients: "] {
            let line = result.lines().find(|l| l.starts_with(key));
            assert!(line.is_some_and(|l| l.ends_with("needs a restart")), "{key}: {result}");
        }
        hello("127.0.0.1", SECOND).await;
        // All or nothing: the good key beside the bad one is not taken either.
        relay.reconfigure(|_| {
            second(base.clone().set("access.relay-networks", r#"["127.0.0.9/32"]"#), &at)
                .append("closed = \"soon back\"")
                .append("[[identity]]\nname = \"x\"\nsenders = [\"not an address\"]")
        });
        let seen = relay.events().len();
        let refused = relay.cli(&["reload"]).await;
        assert_eq!(refused.code, Some(78), "as check-config: {refused:?}");
        assert!(refused.stderr.contains("identity"), "{refused:?}");
        let told = |text: &str| {
            let error = text.find("identity[0]").unwrap_or_else(|| panic!("{text}"));
            let warning = text.find("warning: ").unwrap_or_else(|| panic!("{text}"));
            assert!(error < warning, "first why it was refused: {text}");
        };
        told(&refused.stderr);
        let failed = |e: &Event| e.is("config.reload-failed");
        // Whoever asked for it, the log has why.
        let by_command = relay.wait_event_after(seen, failed, SOON).await;
        let only_errors = |failed: &Event| {
            let detail = failed.text("detail");
            assert!(detail.starts_with("what was in force stays in force"), "{detail}");
            assert!(detail.contains("identity[0]") && !detail.contains("warning: "), "{detail}");
            detail.to_owned()
        };
        only_errors(&by_command);
        let seen = relay.events().len();
        let mut client = hello("127.0.0.1", RELAY).await;
        assert!(rcpt(&mut client).await.starts_with("250 "));
        relay.hang_up();
        let failed = relay.wait_event_after(seen, failed, SOON).await;
        let words = only_errors(&failed);
        // It stands where people look until it is mended, beside what waits for a restart.
        let status = ok(&relay, &["status"]).await.stdout;
        assert!(status.contains("failed at ") && status.contains("identity[0]"), "{status}");
        assert!(status.contains("needed for ") && status.contains("listener[1].address"), "{status}");
        let metrics = relay.http_get("/metrics").await.1;
        assert!(metrics.contains("sealpost_config_last_reload_successful 0\n"), "{metrics}");
        assert!(!metrics.contains("sealpost_config_keys_need_restart 0\n"), "{metrics}");
        assert!(words.contains("; ") && !words.contains('\n'), "{words}");
        relay.reconfigure(|_| second(base.clone(), &at));
        ok(&relay, &["reload"]).await;
        let status = ok(&relay, &["status"]).await.stdout;
        assert!(!status.contains("failed at ") && !status.contains("needed for "), "{status}");
        let metrics = relay.http_get("/metrics").await.1;
        assert!(metrics.contains("sealpost_config_last_reload_successful 1\n"), "{metrics}");
        assert!(metrics.contains("sealpost_config_keys_need_restart 0\n"), "{metrics}");
        let mut client = hello("127.0.0.1", RELAY).await;
        assert!(rcpt(&mut client).await.starts_with("250 "));
    }

    async fn what_is_asked_does_not_wait_for_a_reload_that_hangs_on_a_disk() {
        let net = Net::start().await;
        let relay = Relay::start(net.config()).await;
        // A pipe that nobody reads is a disk that does not answer.
        let pipe = relay.folder().join("pipe");
        let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status();
        assert!(made.unwrap().success());
        let good = std::fs::read_to_string(relay.config_path()).unwrap();
        assert!(good.contains("events.log"), "{good}");
        std::fs::write(relay.config_path(), good.replace("events.log", "pipe")).unwrap();
        relay.hang_up();
        let status = told_by(&relay, "under way since ").await;
        assert!(!status.contains("failed at ") && !status.contains("waiting"), "{status}");
        let never = relay.cli(&["explain", "00000000000z"]).await;
        assert!(never.stderr.contains("grep 0000000000z /"), "{never:?}");
        // Nobody waits for it who does not have to; another reload does.
        std::fs::write(relay.config_path(), good).unwrap();
        let seen = relay.events().len();
        let (asked, ()) = tokio::join!(relay.cli(&["reload"]), async {
            told_by(&relay, ", 1 more waiting").await;
            relay.wait_event_after(seen, |e| e.is("config.reload-slow"), SOON).await;
            assert!(!relay.events()[seen..].iter().any(|e| e.is("config.reloaded")));
            let reader = tokio::task::spawn_blocking(move || std::fs::read(pipe));
            // The first has taken the pipe for its log, and the second the file again.
            let first = String::from_utf8(reader.await.unwrap().unwrap()).unwrap();
            assert!(first.contains("config.reloaded"), "{first}");
        });
        assert_eq!(asked.code, Some(0), "{asked:?}");
        relay.wait_event_after(seen, |e| e.is("config.reloaded"), SOON).await;
        let status = ok(&relay, &["status"]).await.stdout;
        assert!(!status.contains("under way since "), "{status}");
    }

    async fn h7_07_a_reload_that_hangs_on_a_disk_does_not_keep_the_process() {
        let net = Net::start().await;
        let mut relay = Relay::start(net.config().set("server.drain-timeout", "\"1s\"")).await;
        let pipe = relay.folder().join("pipe");
        let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status();
        assert!(made.unwrap().success());
        let good = std::fs::read_to_string(relay.config_path()).unwrap();
        std::fs::write(relay.config_path(), good.replace("events.log", "pipe")).unwrap();
        let config = relay.config_path();
        let asked = tokio::spawn(async move { sealpost_tests::cli(&config, &["reload"]).await });
        told_by(&relay, "under way since ").await;
        relay.terminate(SOON).await;
        assert_ne!(asked.await.unwrap().code, Some(0));
    }

    async fn a_relay_whose_listeners_are_all_closed_is_not_ready() {
        let net = Net::start().await;
        let at = format!("address = [\"{SECOND}\"]\n");
        let base = net.config();
        let mut relay = Relay::start(second(base.clone(), &at)).await;
        relay.reconfigure(|_| second(base.clone(), &format!("{at}closed = \"moving\"")));
        ok(&relay, &["reload"]).await;
        let (code, ready) = relay.http_get("/readyz").await;
        assert!(code == 200 && ready.contains("note: listener second is closed: moving"), "{ready}");
        assert!(ready.contains("accepts mail: yes"), "{ready}");
        let closed = base.clone().append("closed = \"moving\"");
        relay.reconfigure(|_| second(closed, &format!("{at}closed = \"moving\"")));
        ok(&relay, &["reload"]).await;
        let (code, ready) = relay.http_get("/readyz").await;
        assert_eq!(code, 503, "{ready}");
        assert!(ready.contains("accepts mail: no: every listener is closed: moving\n"), "{ready}");
        let status = ok(&relay, &["status"]).await.stdout;
        assert!(status.contains("(not ready)"), "{status}");
        relay.reconfigure(|_| second(base.clone(), &at));
        ok(&relay, &["reload"]).await;
        assert_eq!(relay.http_get("/readyz").await.0, 200);
    }

    async fn h7_11_g1_06_certificates_come_with_their_new_paths_and_the_old_files_may_go() {
        let net = Net::start().await;
        let base = net.config();
        let with = |leaf: &Leaf, address: &str, more: &str| {
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&leaf.key_path, private).unwrap();
            base.clone().append(&format!(
                "[[listener]]\nname = \"second\"\naddress = [\"{address}\"]\n\
                 tls = \"implicit\"\ncertificate = \"{}\"\nprivate-key = \"{}\"\n{more}\n",
                leaf.cert_path.display(),
                leaf.key_path.display()
            ))
        };
        let gone = |leaf: &Leaf| {
            std::fs::remove_file(&leaf.cert_path).unwrap();
            std::fs::remove_file(&leaf.key_path).unwrap();
        };
        let at = SECOND.parse().unwrap();
        let (first, next) = (net.ca.leaf(&["one.test"]), net.ca.leaf(&["two.test"]));
        let mut relay = Relay::start(with(&first, SECOND, "")).await;
        SmtpClient::connect_tls(at, &net.ca, "one.test").await;
        gone(&first);
        relay.reconfigure(|_| with(&next, SECOND, "max-recipients = 200"));
        let said = ok(&relay, &["reload"]).await.stdout;
        for key in ["certificate", "private-key", "max-recipients"] {
            let key = format!("listener[1].{key}: ");
            let line = said.lines().find(|l| l.starts_with(&key));
            assert!(line.is_some_and(|l| l.ends_with("in effect")), "{key}: {said}");
        }
        SmtpClient::connect_tls(at, &net.ca, "two.test").await;
        // Beside what needs a restart: the files of before are gone all the same.
        let (before, next) = (next, net.ca.leaf(&["three.test"]));
        gone(&before);
        relay.reconfigure(|_| with(&next, "127.0.0.1:2727", "max-recipients = 300"));
        let said = ok(&relay, &["reload"]).await.stdout;
        for (key, effect) in [
            ("certificate", "in effect"),
            ("private-key", "in effect"),
            ("max-recipients", "needs a restart"),
            ("address", "needs a restart"),
        ] {
            let key = format!("listener[1].{key}: ");
            let line = said.lines().find(|l| l.starts_with(&key));
            assert!(line.is_some_and(|l| l.ends_with(effect)), "{key}: {said}");
        }
        SmtpClient::connect_tls(at, &net.ca, "three.test").await;
    }

    async fn h7_11_g3_07_identities_change_by_a_hangup() {
        let net = Net::start().await;
        let _mx = net.mx("d.test", "127.0.0.25").await;
        let users = Users::new(&[("ann@org.test", PASSWORD)]).await;
        let base = users.listeners(net.config(), &net.ca, "127.0.0.1:587", "127.0.0.1:465");
        let mut relay = Relay::start(base.clone()).await;
        let address = "127.0.0.1:465".parse().unwrap();
        let mut before = SmtpClient::connect_tls(address, &net.ca, "relay.test").await;
        before.ehlo("c.test").await;
        before.auth_plain("ann@org.test", PASSWORD).await.demand(235);
        let rules = "[[identity]]\nname = \"ann@org.test\"\nsenders = [\"ann@org.test\"]\n\
                     messages = \"2/1h\"";
        relay.reconfigure(|_| base.clone().append(rules));
        relay.hang_up();
        let changed = |e: &Event| {
            e.is("config.changed") && e.text("key") == "identity[0].senders" && e.text("effect") == "now"
        };
        relay.wait_event(changed, SOON).await;
        relay.wait_event(|e| e.is("config.reloaded"), SOON).await;
        before.send("boss@org.test", &["b@d.test"], MESSAGE).await;
        let mut after = SmtpClient::connect_tls(address, &net.ca, "relay.test").await;
        after.ehlo("c.test").await;
        after.auth_plain("ann@org.test", PASSWORD).await.demand(235);
        let refused = after.command("MAIL FROM:<boss@org.test>").await.demand(550);
        assert!(refused.text().starts_with("5.7.1 "), "{refused:?}");
        // Her other session has had one of two: an identity's rate is for all that she does.
        after.command("MAIL FROM:<ann@org.test>").await.demand(250);
        after.command("RSET").await.demand(250);
        let refused = after.command("MAIL FROM:<ann@org.test>").await.demand(450);
        assert!(refused.text().starts_with("4.7.1 "), "{refused:?}");
    }
}

testkit::net_test! {
    async fn a_signal_while_the_relay_starts_is_heeded_once_it_stands() {
        let net = Net::start().await;
        let mut relay = Relay::start(net.config()).await;
        for _ in 0..3 {
            assert!(relay.terminate(SOON).await.success());
            // Returns when the ports are bound, which is before the stores are opened.
            relay.restart_with(&[]).await;
            relay.hang_up();
            let end = relay.terminate(SOON).await;
            assert_eq!(end.code(), Some(0), "{}", relay.story());
            relay.restart().await;
        }
    }
}
