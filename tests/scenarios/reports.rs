//! TLS reports (RFC 8460) from counts to those who take them.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mail_types::Timestamp;
use sealpost_tests::{Relay, RelayConfig, eventually};
use testkit::Leaf;
use tls_reports::{Options, Reports};
use tls_rpt::{Failure, Finding, Identity, Policy, ResultType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::net::{MESSAGE, Net, SOON, deferred, ok, sent};

testkit::net_test! {
    async fn b4_04_b4_13_b4_15_b4_17_b4_20_yesterdays_reports_go_out_once_by_mail_and_by_https() {
        let net = Net::start().await;
        let mx = net.mx("d.test", "127.0.0.25").await;
        mx.certificate(&net.expired("mx.d.test"));
        net.enforce("d.test");
        net.zone.txt("_smtp._tls.d.test", "v=TLSRPTv1; rua=mailto:tls@d.test");
        net.zone.txt("_smtp._tls.e.test", "v=TLSRPTv1; rua=https://r.test/in?of=e");
        net.zone.a("r.test", "127.0.0.81");
        let posted = receiver("127.0.0.81:443", &net.ca.leaf(&["r.test"])).await;
        let folder = tempfile::tempdir().unwrap();
        let mut relay = Relay::start(reporting(&net, folder.path()).await).await;
        assert!(relay.terminate(SOON).await.success());
        count_yesterday(relay.folder(), &["d.test", "e.test", "silent.test"]);
        relay.restart().await;

        ok(&relay, &["report", "send"]).await;
        for domain in ["d.test", "e.test"] {
            let sent = relay.wait_event(|e| e.is("rpt.sent") && e.text("domain") == domain, SOON).await;
            assert_eq!((sent.text("successes"), sent.text("failures")), ("1", "2"), "{sent}");
        }
        // The domain's policy would keep any other mail back.
        let got = mx.wait_for_message(SOON).await;
        let taken = relay.wait_event(|e| e.is("delivery.sent"), SOON).await;
        assert_eq!(taken.text("weakened_by"), "report", "{taken}");
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let text = got.text().replace("\r\n\t", " ").replace("\r\n ", " ");
        let signature = text.lines().find(|line| line.starts_with("DKIM-Signature:")).unwrap();
        let signed = signature.to_ascii_lowercase();
        for part in ["d=report.test;", "s=s1;", "tls-report-domain", "tls-report-submitter"] {
            assert!(signed.contains(part), "{part}: {signature}");
        }
        assert!(!signed.contains(" l="), "b4_12: {signature}");
        for line in ["TLS-Report-Domain: d.test", "TLS-Report-Submitter: report.test", "TLS-Required: No"] {
            assert_eq!(text.lines().filter(|l| *l == line).count(), 1, "{line}: {text}");
        }
        assert_eq!(got.recipients(), ["tls@d.test"]);

        let request = posted.lock().unwrap().clone();
        assert_eq!(request.len(), 1);
        let head = String::from_utf8_lossy(&request[0]).to_ascii_lowercase();
        assert!(head.starts_with("post /in?of=e http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-type: application/tlsrpt+gzip\r\n"), "{head}");
        assert!(request[0].windows(6).any(|w| w == b"\r\n\r\n\x1f\x8b"), "{head}");

        // One session of today failed: that with the report is not among what the next one tells.
        let today = ok(&relay, &["report", "show", "d.test"]).await.stdout;
        assert!(today.contains("\"total-failure-session-count\": 1"), "{today}");
        assert!(today.contains("\"total-successful-session-count\": 0"), "{today}");

        let before = eventually(SOON, async || {
            let rows = listed(&relay).await;
            (!rows.iter().any(|(_, state, _)| state == "pending")).then_some(rows)
        });
        let before = before.await.expect("all are done");
        let states: Vec<_> = before.iter().map(|(domain, state, _)| (&**domain, &**state)).collect();
        assert_eq!(states, [("d.test", "sent"), ("e.test", "sent"), ("silent.test", "dropped")]);
        let ids = before.iter().map(|(_, _, id)| id);
        assert!(ids.clone().all(|id| id.ends_with("@report.test")), "{before:?}");

        // A restart has nothing more to send, whoever asks.
        relay.restart().await;
        ok(&relay, &["report", "send"]).await;
        assert_eq!(listed(&relay).await, before);
        assert_eq!(relay.events().iter().filter(|e| e.is("rpt.sent")).count(), 2);
        assert_eq!(posted.lock().unwrap().len(), 1);
    }

    async fn b2_01_b2_12_b2_18_sessions_and_failed_fetches_are_counted_and_kept() {
        let net = Net::start().await;
        let good = net.mx("good.test", "127.0.0.25").await;
        net.testing("good.test");
        net.zone.mta_sts("lost.test", "1", crate::net::POLICY_HOST);
        let _lost = net.mx("lost.test", "127.0.0.26").await;
        let folder = tempfile::tempdir().unwrap();
        let mut relay = Relay::start(reporting(&net, folder.path()).await).await;
        for domain in ["good.test", "lost.test", "lost.test"] {
            let to = format!("b@{domain}");
            let id = relay.send("a@org.test", &[&to], MESSAGE).await;
            sent(&relay, &id).await;
        }
        let shown = ok(&relay, &["report", "show", "good.test"]).await.stdout;
        assert!(shown.contains("\"policy-type\": \"sts\""), "{shown}");
        assert!(shown.contains("\"total-successful-session-count\": 1"), "{shown}");
        let shown = ok(&relay, &["report", "show", "lost.test"]).await.stdout;
        let fetches = shown.matches("sts-policy-fetch-error").count();
        assert_eq!(fetches, 1, "one kind: {shown}");
        assert!(shown.contains("\"failed-session-count\": 1"), "one fetch for two messages: {shown}");
        assert!(shown.contains("\"no-policy-found\""), "{shown}");
        good.forget();

        // What was counted is there after a stop.
        assert!(relay.terminate(SOON).await.success());
        relay.restart().await;
        let again = ok(&relay, &["report", "show", "lost.test"]).await.stdout;
        assert_eq!(again, shown);

        // Off and on with a reload.
        relay.reconfigure(|c: RelayConfig| c.set("reporting.enabled", "false"));
        ok(&relay, &["reload"]).await;
        let off = relay.cli(&["report", "list"]).await;
        assert_ne!(off.code, Some(0), "{off:?}");
        let id = relay.send("a@org.test", &["b@good.test"], MESSAGE).await;
        sent(&relay, &id).await;
        relay.reconfigure(|c: RelayConfig| c.set("reporting.enabled", "true"));
        ok(&relay, &["reload"]).await;
        let shown = ok(&relay, &["report", "show", "good.test"]).await.stdout;
        assert!(shown.contains("\"total-successful-session-count\": 1"), "{shown}");
    }
}

/// A relay that reports as `report.test`, with a key for that.
async fn reporting(net: &Net, folder: &Path) -> RelayConfig {
    let file = folder.join("report.pem");
    let file = file.to_str().unwrap();
    let keygen = ["dkim", "keygen", "--domain", "report.test"];
    let more = ["--selector", "s1", "--type", "ed25519", "--out", file];
    let config = folder.join("nothing");
    let made = sealpost_tests::cli(&config, &[&keygen[..], &more].concat()).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    net.config()
        .set("reporting.contact-info", "\"tls@report.test\"")
        .set("reporting.dkim-selector", "\"s1\"")
        .set("reporting.dkim-private-key", &format!("\"{file}\""))
        .set("reporting.allow-special-use", r#"["127.0.0.0/8"]"#)
}

/// Lays counts of yesterday into the data directory: a good session and two bad ones with each.
fn count_yesterday(folder: &Path, domains: &[&str]) {
    let now = Timestamp::from_system(SystemTime::now());
    let at = now - Duration::from_hours(24);
    let identity = Identity {
        organization_name: "Report".to_owned(),
        contact_info: "tls@report.test".parse().unwrap(),
        gzip: true,
    };
    let options = Options {
        identity: Some(identity),
        by_mail: true,
        ..Options::default()
    };
    let (reports, troubles) =
        Reports::open(&folder.join("data/reports"), options, at).expect("its own folder");
    assert!(troubles.is_empty(), "{troubles:?}");
    for domain in domains {
        let mut finding = Finding {
            at,
            domain,
            policy: Policy::NoPolicyFound,
            failure: None,
        };
        reports.note(&finding);
        finding.failure = Some(Failure {
            result: ResultType::StarttlsNotSupported,
            sending_ip: None,
            mx: Some("mx.test"),
            helo: None,
            receiving_ip: None,
            reason: None,
        });
        reports.note(&finding);
        reports.note(&finding);
    }
    reports.turn(at).unwrap();
}

/// Takes every report that is posted there.
async fn receiver(address: &str, leaf: &Leaf) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let listener = TcpListener::bind(address).await.expect("the namespace's");
    let acceptor = TlsAcceptor::from(leaf.server_config());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(tcp).await else {
                continue;
            };
            let mut request = Vec::new();
            while !is_whole(&request) {
                let mut part = [0; 4096];
                match tls.read(&mut part).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&part[..read]),
                }
            }
            seen.lock().unwrap().push(request);
            let taken = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
            let _ = tls.write_all(taken).await;
            let _ = tls.shutdown().await;
        }
    });
    requests
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: "));
    length.is_some_and(|n| n.parse() == Ok(request.len() - end - 4))
}

/// Domain, state and id of yesterday's reports, by domain.
async fn listed(relay: &Relay) -> Vec<(String, String, String)> {
    let list = ok(relay, &["report", "list", "--json"]).await.stdout;
    let mut rows = Vec::new();
    for line in list.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON on each line");
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        if text("state") != "collecting" {
            rows.push((text("domain"), text("state"), text("report_id")));
        }
    }
    rows.sort();
    rows
}
