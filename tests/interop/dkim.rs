//! Signatures that others verify: dkimpy, and opendkim where it knows the algorithm.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mail_types::Timestamp;
use sealpost_tests::{Relay, RelayConfig, cli, program};
use testkit::{FakeMx, TestCa, Zone};
use tls_reports::{Options, Reports};
use tls_rpt::{Finding, Identity, Policy};
use tokio::process::Command;

use crate::site::{IMPLICIT, PASSWORD, SOON, STARTTLS, USER, exchanger, run, swaks, users};

/// Names and records, for dkimpy; the zone has them for opendkim.
type Records = BTreeMap<String, String>;

/// A key made as an operator makes it; its entry in the configuration.
async fn key(
    folder: &Path,
    (zone, records): (&Zone, &mut Records),
    domain: &str,
    selector: &str,
    more: &[&str],
) -> String {
    let file = folder.join(format!("{selector}.pem"));
    let file = file.to_str().unwrap();
    let args = [
        "dkim",
        "keygen",
        "--domain",
        domain,
        "--selector",
        selector,
        "--out",
        file,
        "--json",
    ];
    let made = cli(Path::new("/nowhere"), &[&args[..], more].concat()).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let made = made.json();
    let strings: Vec<&str> = made["strings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s.as_str().unwrap())
        .collect();
    let name = made["name"].as_str().unwrap();
    zone.txt_strings(name, &strings);
    records.insert(name.to_owned(), made["record"].as_str().unwrap().to_owned());
    format!(
        "[[dkim]]\ndomain = \"{domain}\"\nselector = \"{selector}\"\nprivate-key = \"{file}\"\n\
         networks = [\"127.0.0.0/8\"]\n"
    )
}

/// Which of the signatures dkimpy verifies, from the top.
async fn verified_by_dkimpy(records: &Records, message: &[u8]) -> Vec<bool> {
    const SCRIPT: &str = "\
import sys, json, dkim
records = json.loads(sys.argv[1])
message = sys.stdin.buffer.read()
def txt(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    return records.get(name.rstrip('.'), '').encode()
signed = dkim.DKIM(message)
count = len([1 for name, _ in signed.headers if name.lower() == b'dkim-signature'])
def verifies(n):
    try:
        return bool(dkim.DKIM(message).verify(idx=n, dnsfunc=txt))
    except dkim.ValidationError as error:
        print(error, file=sys.stderr)
        return False
print(json.dumps([verifies(n) for n in range(count)]))
";
    let records = serde_json::to_string(records).unwrap();
    assert!(Path::new("/usr/bin/python3").exists());
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", SCRIPT, &records]);
    let output = run(python, message).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "apt-get install python3-dkim python3-nacl: {errors}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// With a resolver of our own: opendkim asks that of /etc/resolv.conf.
async fn accepted_by_opendkim(folder: &Path, message: &[u8]) -> (bool, String) {
    let resolver = folder.join("resolv.conf");
    std::fs::write(&resolver, "nameserver 127.0.0.53\n").unwrap();
    let testmsg = program("opendkim-testmsg", "opendkim-tools");
    let command = format!(
        "mount --bind {} /etc/resolv.conf && exec {}",
        resolver.display(),
        testmsg.display()
    );
    let mut apart = Command::new(program("unshare", "util-linux"));
    apart.args(["--mount", "sh", "-c", &command]);
    let output = run(apart, message).await;
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    // opendkim calls a message without Date a syntax error.
    let head = "From: Joe <joe@org.test>\r\nDate: Sun, 01 Mar 2026 12:00:00 +0000\r\nTo: b@d.test\r\nSubject: dinner\r\n  tonight \r\n";
    let large = [
        head.as_bytes(),
        b"\r\n",
        "a line of text, with  spaces \t here\r\n"
            .repeat(40_000)
            .as_bytes(),
    ]
    .concat();
    vec![
        ("plain", format!("{head}\r\nHi.\r\n").into_bytes()),
        (
            "blank lines and dots",
            format!("{head}\r\n\r\n.\r\n..x \t \r\n\r\n\r\n").into_bytes(),
        ),
        ("no body", format!("{head}\r\n").into_bytes()),
        (
            "eight bits",
            [head.as_bytes(), b"\r\ngr\xc3\xbc\xc3\x9fe \xe4\r\n"].concat(),
        ),
        ("large enough for a file of its own", large),
    ]
}

testkit::net_test! {
    async fn g4_08_g4_09_g4_11_signatures_verify_with_dkimpy_and_opendkim() {
        let (zone, mx) = exchanger().await;
        let folder = tempfile::tempdir().unwrap();
        let mut records = Records::new();
        let rsa = key(folder.path(), (&zone, &mut records), "org.test", "rsa1", &[]).await;
        let ed = ["--type", "ed25519"];
        let other = key(folder.path(), (&zone, &mut records), "org.test", "ed1", &ed).await;
        let relay = Relay::start(RelayConfig::default().append(&rsa).append(&other)).await;
        for (what, content) in messages() {
            let mut client = relay.client().await;
            let id = client.send_with("joe@org.test", " BODY=8BITMIME", &["b@d.test"], "", &content).await;
            relay.wait_for("delivery.sent", &id, SOON).await;
            let got = mx.messages().pop().unwrap();
            assert!(got.data.starts_with(b"DKIM-Signature: v=1; a=rsa-sha256;"), "{what}");
            // Row G4-05: below the signatures and our trace field nothing changed.
            assert!(got.data.ends_with(&content), "{what}");
            let verified = verified_by_dkimpy(&records, &got.data).await;
            assert_eq!(verified, [true, true], "{what}:\n{}", got.text());
            let (accepted, said) = accepted_by_opendkim(folder.path(), &got.data).await;
            assert!(accepted, "{what}: {said}\n{}", got.text());
            let broken = String::from_utf8_lossy(&got.data).replace("Joe", "Eve").into_bytes();
            assert!(verified_by_dkimpy(&records, &broken).await.iter().all(|v| !v), "{what}");
        }
        // Another domain's mail is not signed, and passes as it came.
        let plain = b"From: joe@else.test\r\nBcc: c@d.test\r\n\r\nHi.\r\n";
        let id = relay.send("joe@org.test", &["b@d.test"], plain).await;
        relay.wait_for("delivery.sent", &id, SOON).await;
        assert_eq!(mx.messages().pop().unwrap().without_trace(), plain);
    }

    async fn b4_11_b4_12_a_tls_report_verifies_as_from_whom_it_is() {
        let (zone, mx) = exchanger().await;
        zone.txt("_smtp._tls.d.test", "v=TLSRPTv1; rua=mailto:tls@d.test");
        let folder = tempfile::tempdir().unwrap();
        let mut records = Records::new();
        let rsa = key(folder.path(), (&zone, &mut records), "org.test", "rsa1", &[]).await;
        let config = RelayConfig::default()
            .set("reporting.contact-info", "\"tls@org.test\"")
            .append(&rsa);
        let mut relay = Relay::start(config).await;
        assert!(relay.terminate(SOON).await.success());
        let yesterday = Timestamp::from_system(SystemTime::now()) - Duration::from_hours(24);
        let identity = Identity {
            organization_name: "Org".to_owned(),
            contact_info: "tls@org.test".parse().unwrap(),
            gzip: true,
        };
        let options = Options {
            identity: Some(identity),
            by_mail: true,
            ..Options::default()
        };
        let directory = relay.folder().join("data/reports");
        let (reports, _) = Reports::open(&directory, options, yesterday).unwrap();
        reports.note(&Finding {
            at: yesterday,
            domain: "d.test",
            policy: Policy::NoPolicyFound,
            failure: None,
        });
        reports.turn(yesterday).unwrap();
        relay.restart().await;
        let sent = relay.cli(&["report", "send"]).await;
        assert_eq!(sent.code, Some(0), "{sent:?}");
        let got = mx.wait_for_message(SOON).await;
        let text = got.text();
        assert!(text.starts_with("DKIM-Signature: v=1; a=rsa-sha256;"), "{text}");
        assert!(text.contains("d=org.test;") && !text.contains(" l="), "{text}");
        assert_eq!(verified_by_dkimpy(&records, &got.data).await, [true], "{text}");
        let other = text.replace("TLS-Report-Domain: d.test", "TLS-Report-Domain: e.test");
        assert_eq!(verified_by_dkimpy(&records, other.as_bytes()).await, [false]);
    }

    async fn g4_01_g4_02_g4_06_g4_07_g4_08_g5_03_what_swaks_submits_is_mended_and_then_signed() {
        let (zone, mx) = exchanger().await;
        let (folder, ca) = (tempfile::tempdir().unwrap(), TestCa::new());
        let mut records = Records::new();
        let rsa = key(folder.path(), (&zone, &mut records), "org.test", "rsa1", &[]).await;
        let ed = ["--type", "ed25519"];
        let ed = key(folder.path(), (&zone, &mut records), "org.test", "ed1", &ed).await;
        let users = users().await;
        let config = users
            .listeners(RelayConfig::default(), &ca, STARTTLS, IMPLICIT)
            .append(&rsa)
            .append(&ed);
        let relay = Relay::start(config).await;
        let message = "From: Ann <ann@org.test>\\nTo: b@d.test\\nBcc: secret@d.test\\n\
            Return-Path: <old@org.test>\\nAuthentication-Results: relay.test; spf=pass\\n\
            Subject: dinner\\n\\nHi.\\n";
        let args = ["--port", "587", "--tls", "--auth", "PLAIN", "--auth-user", USER];
        let swaks = swaks(&args)
            .args(["--auth-password", PASSWORD, "--from", USER, "--to", "b@d.test,secret@d.test"])
            .args(["--data", message])
            .output()
            .await
            .unwrap();
        assert!(swaks.status.success(), "{swaks:?}");
        let received = relay.wait_event(|e| e.is("message.received"), SOON).await;
        relay.wait_for("delivery.sent", received.text("queue_id"), SOON).await;
        let got = mx.messages().pop().unwrap();
        let text = got.text();
        let stands = |name: &str| text.lines().filter(|l| l.starts_with(name)).count();
        for (name, times) in [
            ("Date: ", 1),
            ("Message-ID: <", 1),
            ("DKIM-Signature: ", 2),
            ("Bcc:", 0),
            ("Return-Path:", 0),
            ("Authentication-Results:", 0),
        ] {
            assert_eq!(stands(name), times, "{name}\n{text}");
        }
        assert!(!text.contains("secret"), "{text}");
        // What was added is signed too.
        assert!(text.contains("Message-ID") && text.contains("with ESMTPSA id "), "{text}");
        assert_eq!(verified_by_dkimpy(&records, &got.data).await, [true, true], "{text}");
        let (accepted, said) = accepted_by_opendkim(folder.path(), &got.data).await;
        assert!(accepted, "{said}\n{text}");
        for added in ["Date: ", "Message-ID: <"] {
            let forged = text.replacen(added, &format!("{added}1"), 1);
            let verified = verified_by_dkimpy(&records, forged.as_bytes()).await;
            assert_eq!(verified, [false, false], "{added} is not signed:\n{text}");
        }
    }

    async fn g4_09_f4_09_notifications_are_signed_with_a_key_for_their_domain_and_go_without_it_too() {
        let zone = Zone::start().await;
        zone.mail_domain("org.test", "mx.org.test", "127.0.0.25");
        let mx = FakeMx::start("127.0.0.25:25", "mx.org.test", None).await;
        let folder = tempfile::tempdir().unwrap();
        let mut records = Records::new();
        let ours = key(folder.path(), (&zone, &mut records), "relay.test", "s1", &[]).await;
        let mut relay = Relay::start(RelayConfig::default().append(&ours)).await;
        for round in 0..2 {
            let id = relay.send("a@org.test", &["b@nowhere.test"], b"Subject: x\r\n\r\nx\r\n").await;
            relay.wait_for("delivery.bounced", &id, SOON).await;
            let notice = mx.wait_for_message(SOON).await;
            assert_eq!(verified_by_dkimpy(&records, &notice.data).await, [true], "{}", notice.text());
            if round == 0 {
                mx.forget();
                std::fs::remove_file(folder.path().join("s1.pem")).unwrap();
                let refused = relay.cli(&["reload"]).await;
                assert_ne!(refused.code, Some(0), "{refused:?}");
                assert!(refused.stderr.contains("s1.pem"), "{refused:?}");
            }
        }
        // The key for the notifications' domain is gone from the configuration, another is there.
        let others = key(folder.path(), (&zone, &mut records), "org.test", "s2", &[]).await;
        relay.terminate(SOON).await;
        relay.reconfigure(|_| RelayConfig::default().append(&others));
        relay.restart().await;
        for _ in 0..2 {
            mx.forget();
            let id = relay.send("a@org.test", &["b@nowhere.test"], b"Subject: x\r\n\r\nx\r\n").await;
            relay.wait_for("delivery.bounced", &id, SOON).await;
            let notice = mx.wait_for_message(SOON).await;
            assert!(!notice.text().contains("DKIM-Signature"), "{}", notice.text());
        }
        let story = relay.story();
        assert_eq!(story.matches("notifications go without a DKIM signature").count(), 1, "{story}");
    }
}
