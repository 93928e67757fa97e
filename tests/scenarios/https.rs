//! `admin.http` over TLS: page, login, API, and what is refused in plain text.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use sealpost_tests::{HttpAnswer, Relay, program};
use testkit::TestCa;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::api::{ADMIN, relay_with};
use crate::net::{MESSAGE, Net, deferred};

/// A request inside TLS, with the certificate verified for this name.
async fn ask(ca: &TestCa, name: &'static str, request: &str, body: &str) -> HttpAnswer {
    let tcp = TcpStream::connect("192.0.2.9:8443").await.unwrap();
    let server = rustls_pki_types::ServerName::try_from(name).unwrap();
    let connector = TlsConnector::from(ca.client_config());
    let mut tls = connector
        .connect(server, tcp)
        .await
        .expect("a session for that name");
    let length = body.len();
    let head = format!("{request}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    tls.write_all(head.as_bytes()).await.unwrap();
    let mut octets = Vec::new();
    // A close without close_notify is an end like any other here.
    let _ = tls.read_to_end(&mut octets).await;
    HttpAnswer::parse(&String::from_utf8_lossy(&octets)).expect("an answer")
}

testkit::net_test! {
    async fn h10_05_page_login_and_api_over_https() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.1.1").await;
        net.enforce("d.test");
        let leaf = net.ca.leaf(&["relay.test"]);
        std::fs::set_permissions(&leaf.key_path, PermissionsExt::from_mode(0o600)).unwrap();
        // An address that is not loopback, as that of any machine is; the namespace ends at it.
        let added = Command::new(program("ip", "iproute2"))
            .args(["address", "add", "192.0.2.9/32", "dev", "lo"])
            .status();
        assert!(added.unwrap().success(), "an address for the namespace");
        let config = net.config()
            .http("192.0.2.9:8443".parse().unwrap())
            .set("admin.names", r#"["relay.test"]"#)
            .set("admin.certificate", &format!("\"{}\"", leaf.cert_path.display()))
            .set("admin.private-key", &format!("\"{}\"", leaf.key_path.display()));
        let (relay, _folder) = relay_with(config).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: relay.test:8443\r\n{more}");

        let page = ask(&net.ca, "relay.test", &get("/", ""), "").await;
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.header("content-security-policy").contains("default-src 'none'"), "{page:?}");
        let healthy = ask(&net.ca, "relay.test", &get("/healthz", ""), "").await;
        assert_eq!((healthy.status, healthy.body.as_str()), (200, "alive\n"));

        let login = "POST /v1/session HTTP/1.1\r\nHost: relay.test:8443\r\nOrigin: https://relay.test:8443\r\n";
        let refused = ask(&net.ca, "relay.test", login, r#"{"token":"wrong"}"#).await;
        assert_eq!((refused.status, refused.problem().as_str()), (401, "unauthorized"), "{refused:?}");
        let answer = ask(&net.ca, "relay.test", login, r#"{"token":"admins"}"#).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.header("set-cookie").to_owned();
        for flag in ["__Host-sealpost=", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
            assert!(cookie.contains(flag), "{flag} is not in {cookie}");
        }
        assert!(!cookie.contains("Domain="), "{cookie}");
        let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
        let csrf = answer.json()["csrf"].as_str().unwrap().to_owned();
        let listed = ask(&net.ca, "relay.test", &get("/v1/queue", &cookie), "").await;
        assert_eq!(listed.json()["items"][0]["id"], id.as_str(), "{listed:?}");
        let act = |more: &str| {
            format!("POST /v1/queue/actions HTTP/1.1\r\nHost: relay.test:8443\r\n\
                Origin: https://relay.test:8443\r\n{cookie}{more}")
        };
        let hold = format!(r#"{{"action":"hold","ids":["{id}"]}}"#);
        let forged = ask(&net.ca, "relay.test", &act(""), &hold).await;
        assert_eq!((forged.status, forged.problem().as_str()), (403, "wrong-origin"), "{forged:?}");
        let held = ask(&net.ca, "relay.test", &act(&format!("X-Sealpost-CSRF: {csrf}\r\n")), &hold).await;
        assert_eq!((held.status, &held.json()["matched"]), (200, &1.into()), "{held:?}");
        let bearer = format!("{}: {}\r\n", ADMIN.0, ADMIN.1);
        let status = ask(&net.ca, "relay.test", &get("/v1/status", &bearer), "").await;
        assert_eq!(status.status, 200, "{status:?}");

        // In plain text there is nothing to be had at that port, and no redirect that leaks a token.
        let mut plain = TcpStream::connect("192.0.2.9:8443").await.unwrap();
        plain.write_all(get("/v1/status", &bearer).as_bytes()).await.unwrap();
        plain.write_all(b"\r\n").await.unwrap();
        let mut said = Vec::new();
        let _ = plain.read_to_end(&mut said).await;
        assert!(!String::from_utf8_lossy(&said).contains("HTTP/1"), "{said:?}");

        // A new certificate is taken by a reload.
        let fresh = net.ca.leaf(&["relay.test", "also.test"]);
        std::fs::copy(&fresh.cert_path, &leaf.cert_path).unwrap();
        std::fs::copy(&fresh.key_path, &leaf.key_path).unwrap();
        std::fs::set_permissions(&leaf.key_path, PermissionsExt::from_mode(0o600)).unwrap();
        crate::net::ok(&relay, &["reload"]).await;
        let renewed = ask(&net.ca, "also.test", &get("/healthz", ""), "").await;
        assert_eq!(renewed.status, 200);
    }

    async fn h10_05_plain_http_beyond_loopback_is_refused_or_called_dangerous() {
        let net = Net::start().await;
        let mut relay: Relay = net.relay().await;
        // What runs goes on as it is: only the file is looked at.
        let check = async |relay: &mut Relay, dangerous: bool| {
            relay.reconfigure(|c| {
                let c = c.http("192.0.2.7:8025".parse().unwrap());
                if dangerous { c.set("admin.dangerous-plain-http", "true") } else { c }
            });
            relay.cli(&["check-config"]).await
        };
        let refused = check(&mut relay, false).await;
        assert_eq!(refused.code, Some(78), "{refused:?}");
        let said = format!("{}{}", refused.stdout, refused.stderr);
        for words in ["192.0.2.7:8025 is not loopback", "admin.certificate", "admin.dangerous-plain-http"] {
            assert!(said.contains(words), "{words} is not in {said}");
        }
        let serve = relay.cli(&["serve"]).await;
        assert_eq!(serve.code, Some(78), "{serve:?}");
        let allowed = check(&mut relay, true).await;
        assert_eq!(allowed.code, Some(0), "{allowed:?}");
        // It cannot start beside the other one, but it says first what is dangerous.
        let serve = relay.cli(&["serve"]).await;
        assert_eq!(serve.code, Some(73), "{serve:?}");
        assert!(serve.stderr.contains("admin.dangerous-plain-http"), "{serve:?}");
    }
}
