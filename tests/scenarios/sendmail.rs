//! `sealpost sendmail`, called as local programs call it.

use std::process::Stdio;

use sealpost_tests::{CliOutput, Relay, sealpost_binary};
use testkit::{Action, Banner, Rule};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::net::{Net, SOON};

/// `sealpost sendmail ARGS` with this on standard input.
async fn sendmail(relay: &Relay, args: &[&str], input: &[u8]) -> CliOutput {
    let mut command = Command::new(sealpost_binary());
    command
        .arg("sendmail")
        .arg("--config")
        .arg(relay.config_path())
        .args(args);
    run(command, input).await
}

async fn run(mut command: Command, input: &[u8]) -> CliOutput {
    sealpost_tests::without_settings(command.as_std_mut());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A usage error ends the program before it reads.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    ended(child).await
}

async fn ended(child: tokio::process::Child) -> CliOutput {
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    CliOutput {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

testkit::net_test! {
    async fn sendmail_hands_over_what_programs_write() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        // As cron does it: flags of old, no line end at the end, 8 bits.
        let cron = "From: \"(Cron Daemon)\" <root>\nTo: b@d.test\nSubject: Cron <root@x> job\n\n\
            one\n..\ngr\u{fc}\u{df}e without a line end";
        let done = sendmail(&relay, &["-FCronDaemon", "-i", "-odi", "-oem", "-v", "b@d.test"], cron.as_bytes()).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stdout.contains("queued as "), "{done:?}");
        let mail = mx.wait_for_message(SOON).await;
        assert!(mail.from.starts_with("root@relay.test"), "{mail:?}");
        assert!(mail.from_params.contains("BODY=8BITMIME"), "{mail:?}");
        let text = mail.text();
        assert!(text.contains("\r\nDate: ") && text.contains("@relay.test>\r\n"), "{text}");
        assert!(text.ends_with("job\r\n\r\none\r\n..\r\ngr\u{fc}\u{df}e without a line end\r\n"), "{text}");
        // -t, Bcc, a lone dot, NUL, a long line; by the name of a symbolic link.
        mx.forget();
        let link = relay.folder().join("sendmail");
        std::os::unix::fs::symlink(sealpost_binary(), &link).unwrap();
        let long = "x".repeat(3000);
        let input = format!("To: b@d.test, C <c@d.test>\nBcc: secret@d.test\n\n{long}\nn\0ul\n.\nnever\n");
        let mut command = Command::new(&link);
        command.arg("--config").arg(relay.config_path()).args(["-t", "-f", "me@org.test", "-N", "never"]);
        let done = run(command, input.as_bytes()).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        let mail = mx.wait_for_message(SOON).await;
        assert_eq!(mail.recipients(), ["b@d.test", "c@d.test", "secret@d.test"]);
        let text = mail.text();
        assert!(!text.to_lowercase().contains("bcc") && !text.contains("never"), "{text}");
        assert!(text.contains("\r\nnul\r\n") && text.lines().all(|l| l.len() <= 998), "{text}");
        assert!(text.contains("From: me@org.test\r\n"), "{text}");
        // -bs: the caller speaks SMTP.
        mx.forget();
        let talk = b"EHLO app.test\r\nMAIL FROM:<a@org.test>\r\nRCPT TO:<b@d.test>\r\nDATA\r\n\
            Subject: bs\r\n\r\nx\r\n.\r\nQUIT\r\n";
        let done = sendmail(&relay, &["-bs"], talk).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stdout.starts_with("220 ") && done.stdout.contains("221 "), "{done:?}");
        assert!(mx.wait_for_message(SOON).await.text().contains("Subject: bs"));
    }

    async fn sendmail_says_with_its_status_what_went_wrong_and_sends_nothing_by_halves() {
        let net = Net::start().await;
        let mx = net.plain_mx("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let mail = b"Subject: x\n\nx\n";
        let refusing = "127.0.0.25:25";
        for (args, rule, want) in [
            (&["-Z", "b@d.test"][..], None, 64),
            (&["-i"], None, 64),
            (&["-t"], None, 64),
            (&["-i", "a..b@d.test"], None, 64),
            // Two words are not one address.
            (&["john doe@d.test"], None, 64),
            (&["a at d.test"], None, 64),
            (&["-f", "a b", "b@d.test"], None, 64),
            (&["--server", "127.0.0.1:9", "b@d.test"], None, 75),
            (&["--server", refusing, "b@d.test"], Some("550 5.7.1 no"), 69),
            (&["--server", refusing, "b@d.test"], Some("550 5.1.2 no such domain"), 68),
            (&["--server", refusing, "b@d.test"], Some("450 4.2.0 later"), 75),
            // Later there will be as many.
            (&["--server", refusing, "b@d.test"], Some("452 4.5.3 too many recipients"), 69),
        ] {
            let rules = rule.map(|reply| Rule::always("RCPT", Action::Reply(reply.to_owned())));
            mx.script(|s| s.rules = rules.into_iter().collect());
            let done = sendmail(&relay, args, mail).await;
            assert_eq!(done.code, Some(want), "{args:?} {rule:?}: {done:?}");
            assert!(done.stderr.starts_with("sealpost: ") && done.stdout.is_empty(), "{done:?}");
        }
        mx.script(|s| s.rules.clear());
        let joined = sendmail(&relay, &["-t"], b"To: jane doe@d.test\n\nx\n").await;
        assert_eq!(joined.code, Some(65), "{joined:?}");
        let latin = sendmail(&relay, &["-t"], b"To: \xfc@d.test\n\nx\n").await;
        assert_eq!(latin.code, Some(65), "{latin:?}");
        // Closed for maintenance: nothing was refused for good.
        mx.script(|s| s.banner = Banner::Reply("554 mx.d.test No service: moving".to_owned()));
        let closed = sendmail(&relay, &["--server", refusing, "b@d.test"], mail).await;
        assert_eq!(closed.code, Some(75), "{closed:?}");
        mx.script(|s| s.banner = Banner::Greeting);
        // No input at all.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$@" <&-"#, "sh"]).arg(sealpost_binary());
        command.arg("sendmail").arg("--config").arg(relay.config_path()).arg("b@d.test");
        let closed = run(command, b"").await;
        assert_eq!(closed.code, Some(74), "{closed:?}");
        // A configuration that is there and cannot be read is not passed over for the defaults.
        let place = relay.folder().join("elsewhere");
        std::fs::create_dir_all(place.join("config")).unwrap();
        std::os::unix::fs::symlink("sealpost.toml", place.join("config/sealpost.toml")).unwrap();
        let mut command = Command::new(sealpost_binary());
        command.args(["sendmail", "b@d.test"]).current_dir(&place);
        let unread = run(command, mail).await;
        assert_eq!(unread.code, Some(78), "{unread:?}");
        assert!(unread.stderr.contains("config/sealpost.toml: cannot be read"), "{unread:?}");
        // Input that cannot be read to its end: a folder.
        let folder = std::fs::File::open(relay.folder()).unwrap();
        let child = Command::new(sealpost_binary())
            .arg("sendmail").arg("--config").arg(relay.config_path()).arg("b@d.test")
            .stdin(Stdio::from(folder))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let done = ended(child).await;
        assert_eq!(done.code, Some(74), "{done:?}");
        assert!(done.stderr.contains("nothing was sent"), "{done:?}");
        assert!(mx.messages().is_empty(), "nothing by halves");
        assert!(!relay.events().iter().any(|e| e.is("message.received")), "{}", relay.story());
    }
}
