//! nginx serves policies, and fails as it is told.

use std::time::Duration;

use rustls_pki_types::ServerName;
use sealpost_tests::{Event, Nginx, NginxSite, Relay, RelayConfig};
use testkit::{FakeMx, TestCa, Zone, policy_text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

async fn get(ca: &TestCa, domain: &str) -> std::io::Result<String> {
    let tcp = TcpStream::connect("127.0.0.80:443").await?;
    let host = format!("mta-sts.{domain}");
    let name = ServerName::try_from(host.clone()).unwrap();
    let connector = TlsConnector::from(ca.client_config());
    let mut tls = connector.connect(name, tcp).await?;
    let request = format!(
        "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    tls.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    tls.read_to_string(&mut response).await?;
    Ok(response)
}

testkit::net_test! {
    async fn nginx_serves_policies_by_name() {
        let ca = TestCa::new();
        let text = policy_text("enforce", &["mx.good.test"], 86400);
        let site = |domain: &str| {
            let leaf = ca.leaf(&[&format!("mta-sts.{domain}")]);
            NginxSite::new(domain, &text, &leaf)
        };
        let wrong = NginxSite::new("wrong.test", &text, &ca.leaf(&["www.wrong.test"]));
        let mut nginx = Nginx::start(
            "127.0.0.80:443".parse().unwrap(),
            &[
                site("good.test"),
                wrong,
                site("html.test").content_type("text/html"),
                site("moved.test").redirect("https://elsewhere.test/x"),
            ],
        )
        .await;

        let good = get(&ca, "good.test").await.unwrap();
        assert!(good.starts_with("HTTP/1.1 200"), "{good}");
        assert!(good.contains("Content-Type: text/plain\r\n"), "{good}");
        assert!(good.ends_with(&text), "{good}");
        let error = get(&ca, "wrong.test").await.unwrap_err().to_string();
        assert!(error.contains("not valid for name"), "{error}");
        let html = get(&ca, "html.test").await.unwrap();
        assert!(html.contains("Content-Type: text/html\r\n"), "{html}");
        let moved = get(&ca, "moved.test").await.unwrap();
        assert!(moved.contains("Location: https://elsewhere.test/x"), "{moved}");
        assert_eq!(
            nginx.requests()[0],
            "mta-sts.good.test \"GET /.well-known/mta-sts.txt HTTP/1.1\" 200"
        );

        nginx.replace(site("wrong.test")).await;
        assert!(get(&ca, "wrong.test").await.unwrap().ends_with(&text));
    }

    async fn the_relay_takes_policies_from_nginx_and_tells_what_is_wrong_with_it() {
        let (ca, zone) = (TestCa::new(), Zone::start().await);
        let host = |domain: &str| ca.leaf(&[&format!("mta-sts.{domain}")]);
        let text = |domain: &str| {
            let note = format!("note: {}\n", "x".repeat(200));
            policy_text("enforce", &[&format!("mx.{domain}")], 86400) + &note
        };
        let site = |domain: &str| NginxSite::new(domain, &text(domain), &host(domain));
        let stale = ca.cert(&["mta-sts.expired.test"]).expired().issue();
        let sites = [
            site("good.test"),
            NginxSite::new("wrong.test", &text("wrong.test"), &ca.leaf(&["www.wrong.test"])),
            NginxSite::new("expired.test", &text("expired.test"), &stale),
            site("moved.test").redirect("https://mta-sts.good.test/.well-known/mta-sts.txt"),
            site("html.test").content_type("text/html"),
            site("slow.test").slow(2),
        ];
        let nginx = Nginx::start("127.0.0.80:443".parse().unwrap(), &sites).await;
        let cases = [
            ("good.test", ""),
            ("wrong.test", "webpki:name"),
            ("expired.test", "webpki:expired"),
            ("moved.test", "http_status"),
            ("html.test", "media_type"),
            ("slow.test", "timeout"),
        ];
        let mut peers = Vec::new();
        for (n, (domain, _)) in cases.iter().enumerate() {
            let (name, ip) = (format!("mx.{domain}"), format!("127.0.1.{}", n + 1));
            zone.mail_domain(domain, &name, &ip);
            zone.mta_sts(domain, "1", "127.0.0.80");
            let leaf = ca.leaf(&[&name]);
            peers.push(FakeMx::start(&format!("{ip}:25"), &name, Some(&leaf)).await);
        }
        let relay = Relay::start(RelayConfig::default().trust(&ca)).await;
        let mut ids = Vec::new();
        for (domain, _) in &cases {
            ids.push(relay.send("a@org.test", &[&format!("b@{domain}")], MESSAGE).await);
        }
        // A slow body has a minute and no more; what cannot be had does not hold the mail up for good.
        for ((domain, key), id) in cases.iter().zip(&ids) {
            let event = relay.wait_for("delivery.sent", id, Duration::from_secs(100)).await;
            if key.is_empty() {
                assert_eq!(event.at("/policies/0/mode"), "enforce", "{event}");
                assert_eq!(event.at("/tls/authenticated"), "pkix", "{event}");
                continue;
            }
            assert_eq!(event.at("/policies"), &serde_json::json!([]), "{event}");
            let failed = |e: &Event| e.is("policy.fetch-failed") && e.text("domain") == *domain;
            let event = relay.wait_event(failed, Duration::from_secs(10)).await;
            assert_eq!(event.text("key"), *key, "{event}");
        }
        let good = |r: &&String| r.starts_with("mta-sts.good.test");
        assert_eq!(nginx.requests().iter().filter(good).count(), 1, "no redirect was followed");
        let slow = relay.wait_for("delivery.sent", &ids[5], Duration::from_secs(1)).await;
        let delay = slow.at("/delay").as_f64().unwrap();
        assert!((55.0..75.0).contains(&delay), "{slow}");
    }
}

const MESSAGE: &[u8] = b"From: a@org.test\r\nTo: b@d.test\r\nSubject: hello\r\n\
    Message-ID: <1@org.test>\r\nDate: Sun, 1 Mar 2026 00:00:00 +0000\r\n\r\nHello.\r\n";
