//! The API over HTTP: who is let in, and every way of being refused.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sealpost_tests::{Http, HttpAnswer, Relay, RelayConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::net::{MESSAGE, Net, SOON, deferred};

/// Tokens `admins` (role admin) and `readers` (role read), in a file of this relay's own.
pub(crate) async fn relay(net: &Net) -> (Relay, TempDir) {
    relay_with(net.config()).await
}

/// The same with more settings.
pub(crate) async fn relay_with(config: RelayConfig) -> (Relay, TempDir) {
    let folder = TempDir::with_prefix("tokens-").unwrap();
    let file = folder.path().join("tokens");
    write_tokens(&file, &[ALICE, BOB]);
    let config = with_tokens(config, &file);
    (Relay::start(config).await, folder)
}

fn with_tokens(config: RelayConfig, file: &std::path::Path) -> RelayConfig {
    config.set(
        "admin.token-file",
        &format!("{:?}", file.display().to_string()),
    )
}

fn write_tokens(file: &std::path::Path, lines: &[&str]) {
    std::fs::write(file, lines.join("\n")).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) const ADMIN: (&str, &str) = ("Authorization", "Bearer admins");
pub(crate) const READER: (&str, &str) = ("Authorization", "Bearer readers");
const OWN: (&str, &str) = ("Origin", "http://127.0.0.1:8025");
const ALL: &str = r#"{"action":"retry","all":true}"#;
// printf %s admins | sha256sum
const ALICE: &str = "alice:admin:fa956b808c8f8e3b59be14d7d584761e041a8359d58ba7e1829f12605d76203a";
const BOB: &str = "bob:read:e2257349c139799fafab4f3e96e068da96773117c4f108f122343ddb19a249ed";

async fn ask(
    http: Http,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> HttpAnswer {
    http.send(method, path, headers, body).await.unwrap()
}

#[track_caller]
fn refused(answer: &HttpAnswer, status: u16, problem: &str) {
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (status, problem),
        "{answer:?}"
    );
    assert!(
        !answer.json()["detail"].as_str().unwrap().is_empty(),
        "{answer:?}"
    );
}

/// Logs in as the page does: the cookie and the secret that has to be repeated.
async fn log_in(http: Http, token: &str) -> (String, String) {
    let body = json!({ "token": token }).to_string();
    let answer = ask(http, "POST", "/v1/session", &[OWN], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    (cookie, answer.json()["csrf"].as_str().unwrap().to_owned())
}

testkit::net_test! {
    async fn h10_05_without_a_token_file_there_is_no_api_over_http() {
        let net = Net::start().await;
        let relay = Relay::start(net.config()).await;
        let http = relay.http();
        for path in ["/", "/v1/status", "/v1/queue", "/v1/session", "/assets/x/app.js"] {
            let answer = ask(http, "GET", path, &[ADMIN], "").await;
            refused(&answer, 404, "not-found");
        }
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(ask(http, "GET", path, &[], "").await.status, 200, "{path}");
        }
    }

    async fn h10_05_nobody_is_let_in_without_a_token() {
        let net = Net::start().await;
        let (relay, _folder) = relay(&net).await;
        let http = relay.http();
        for path in ["/v1/status", "/v1/queue", "/v1/openapi.json", "/v1/events", "/v1/nonsense", "/v1/session"] {
            for headers in [vec![], vec![("Authorization", "Bearer wrong")], vec![("Authorization", "Basic YTpi")],
                vec![("Cookie", "sealpost=0123")]] {
                // Each from an address of its own would be needed to fail as often as this.
                let answer = ask(http, "GET", path, &headers, "").await;
                if answer.status != 429 {
                    refused(&answer, 401, "unauthorized");
                    assert_eq!(answer.header("www-authenticate"), "Bearer");
                }
            }
        }
        let page = ask(http, "GET", "/", &[], "").await;
        assert_eq!(page.status, 200);
        assert!(page.header("content-security-policy").contains("default-src 'none'"), "{page:?}");
        let script = page.body.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
        let asset = ask(http, "GET", script, &[], "").await;
        assert_eq!(asset.status, 200);
        assert!(asset.header("cache-control").contains("immutable"), "{:?}", asset.headers);
        let tag = page.header("etag").to_owned();
        assert_eq!(ask(http, "GET", "/", &[("If-None-Match", &tag)], "").await.status, 304);
    }

    async fn only_our_own_names_and_pages_are_answered() {
        let net = Net::start().await;
        let folder = TempDir::with_prefix("tokens-").unwrap();
        let file = folder.path().join("tokens");
        write_tokens(&file, &[ALICE]);
        let relay = Relay::start(with_tokens(net.config(), &file).set("admin.names", r#"["relay.test"]"#)).await;
        let http = relay.http();
        for host in ["evil.test", "evil.test:8025", "127.0.0.2:8025", "relay.test.evil.test", ""] {
            for path in ["/", "/v1/status", "/metrics"] {
                let answer = ask(http, "GET", path, &[ADMIN, ("Host", host)], "").await;
                assert!(answer.status == 421 || answer.status == 400, "{host} {path}: {answer:?}");
                if answer.status == 421 {
                    assert!(answer.json()["detail"].as_str().unwrap().contains("admin.names"), "{answer:?}");
                }
            }
        }
        for host in ["relay.test", "RELAY.test:8025", "127.0.0.1:8025", "localhost:8025"] {
            assert_eq!(ask(http, "GET", "/v1/status", &[ADMIN, ("Host", host)], "").await.status, 200, "{host}");
        }
        let act = "/v1/queue/actions";
        for origin in ["http://evil.test", "http://evil.test:8025", "null", "http://127.0.0.1:80", "http://127.0.0.1"] {
            let answer = ask(http, "POST", act, &[ADMIN, ("Origin", origin)], ALL).await;
            refused(&answer, 403, "wrong-origin");
        }
        let answer = ask(http, "POST", act, &[ADMIN, ("Sec-Fetch-Site", "cross-site")], ALL).await;
        refused(&answer, 403, "wrong-origin");
        assert_eq!(ask(http, "POST", act, &[ADMIN, OWN], ALL).await.status, 200);
        assert_eq!(ask(http, "POST", act, &[ADMIN], ALL).await.status, 200, "programs send no Origin");
    }

    async fn a_session_acts_only_with_its_secret_and_ends_on_logout() {
        let net = Net::start().await;
        let (relay, _folder) = relay(&net).await;
        let http = relay.http();
        let elsewhere = ask(http, "POST", "/v1/session", &[("Origin", "http://evil.test")], r#"{"token":"admins"}"#).await;
        refused(&elsewhere, 403, "wrong-origin");
        let answer = ask(http, "POST", "/v1/session", &[OWN], r#"{"token":"admins"}"#).await;
        let set = answer.header("set-cookie").to_owned();
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Path=/"), "{set}");
        let (cookie, csrf) = log_in(http, "admins").await;
        let (cookie, secret) = (("Cookie", cookie.as_str()), ("X-Sealpost-CSRF", csrf.as_str()));
        assert_eq!(ask(http, "GET", "/v1/session", &[cookie], "").await.json()["name"], "alice");
        let act = "/v1/queue/actions";
        refused(&ask(http, "POST", act, &[cookie, OWN], ALL).await, 403, "wrong-origin");
        refused(&ask(http, "POST", act, &[cookie, OWN, ("X-Sealpost-CSRF", "guess")], ALL).await, 403, "wrong-origin");
        refused(&ask(http, "POST", act, &[cookie, secret], ALL).await, 403, "wrong-origin");
        assert_eq!(ask(http, "POST", act, &[cookie, secret, OWN], ALL).await.status, 200);
        let out = ask(http, "DELETE", "/v1/session", &[cookie, secret, OWN], "").await;
        assert_eq!(out.status, 204, "{out:?}");
        assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
        refused(&ask(http, "GET", "/v1/session", &[cookie], "").await, 401, "unauthorized");
    }

    async fn the_role_read_looks_and_changes_nothing() {
        let net = Net::start().await;
        let (relay, _folder) = relay(&net).await;
        let http = relay.http();
        for path in ["/v1/status", "/v1/queue", "/v1/queue/summary", "/v1/policies", "/v1/history", "/v1/reasons"] {
            assert_eq!(ask(http, "GET", path, &[READER], "").await.status, 200, "{path}");
        }
        for path in [
            "/v1/queue/actions", "/v1/policies/d.test/refresh", "/v1/policies/d.test/forget",
            "/v1/policies/d.test/pin", "/v1/policies/d.test/exempt", "/v1/check/d.test", "/v1/reload", "/v1/nonsense",
        ] {
            refused(&ask(http, "POST", path, &[READER], ALL).await, 403, "forbidden");
        }
        let (cookie, csrf) = log_in(http, "readers").await;
        let headers = [("Cookie", cookie.as_str()), ("X-Sealpost-CSRF", csrf.as_str()), OWN];
        refused(&ask(http, "POST", "/v1/reload", &headers, "").await, 403, "forbidden");
        assert_eq!(ask(http, "DELETE", "/v1/session", &headers, "").await.status, 204);
    }

    async fn failed_logins_are_throttled_and_told() {
        let net = Net::start().await;
        let (relay, _folder) = relay(&net).await;
        let http = relay.http();
        let (cookie, _) = log_in(http, "readers").await;
        let mut throttled = None;
        for n in 0..20 {
            let body = json!({ "token": format!("guess {n}") }).to_string();
            let answer = ask(http, "POST", "/v1/session", &[OWN], &body).await;
            if answer.status == 429 {
                throttled = Some((n, answer));
                break;
            }
            refused(&answer, 401, "unauthorized");
        }
        let (n, answer) = throttled.expect("guessing is stopped");
        assert!((5..=6).contains(&n), "{n}");
        refused(&answer, 429, "throttled");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1, "{answer:?}");
        // The right one too, else guessing would go on; but who is in stays in.
        refused(&ask(http, "GET", "/v1/status", &[ADMIN], "").await, 429, "throttled");
        assert_eq!(ask(http, "GET", "/v1/status", &[("Cookie", &cookie)], "").await.status, 200);
        let told = relay.wait_event(|e| e.is("admin.login-failed") && e.text("failures") == "5", SOON).await;
        assert_eq!(told.text("from"), "127.0.0.1", "{told}");
        assert!(!told.to_string().contains("guess"), "{told}");
    }

    async fn h10_05_strangers_who_log_in_slowly_keep_nobody_out() {
        let net = Net::start().await;
        let (relay, _folder) = relay(&net).await;
        let http = relay.http();
        let slow = "POST /v1/session HTTP/1.1\r\nHost: 127.0.0.1:8025\r\nContent-Length: 60\r\n\r\n{";
        let stranger = async || {
            let mut stream = TcpStream::connect(http.0).await.unwrap();
            stream.write_all(slow.as_bytes()).await.unwrap();
            stream
        };
        let mut strangers = Vec::new();
        for _ in 0..300 {
            strangers.push(stranger().await);
        }
        let began = Instant::now();
        for path in ["/healthz", "/readyz"] {
            assert_eq!(ask(http, "GET", path, &[], "").await.status, 200, "{path}");
        }
        assert_eq!(ask(http, "GET", "/v1/status", &[ADMIN], "").await.status, 200);
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        // One whom nobody drives out has a place, but not for long.
        let mut last = stranger().await;
        let mut answer = String::new();
        let _ = last.read_to_string(&mut answer).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("time-limit"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        let large = json!({ "token": "x".repeat(5000) }).to_string();
        refused(&ask(http, "POST", "/v1/session", &[OWN], &large).await, 413, "too-large");
        // Whoever has to wait is told so before the body is looked at.
        for n in 0..6 {
            let body = json!({ "token": format!("guess {n}") }).to_string();
            ask(http, "POST", "/v1/session", &[OWN], &body).await;
        }
        let head = [OWN, ("Content-Length", "60")];
        refused(&ask(http, "POST", "/v1/session", &head, "{").await, 429, "throttled");
    }

    async fn requests_are_small_and_parameters_are_known() {
        let net = Net::start().await;
        let (relay, _folder) = relay(&net).await;
        let http = relay.http();
        // More than sockets hold: the answer must not be lost because nobody reads the rest.
        let large = format!(r#"{{"action":"retry","ids":["{}"]}}"#, "x".repeat(16 << 20));
        refused(&ask(http, "POST", "/v1/queue/actions", &[ADMIN], &large).await, 413, "too-large");
        let many = "x".repeat(100_000);
        let answer = http.send("GET", "/v1/status", &[ADMIN, ("X-Long", &many)], "").await;
        assert!(answer.is_err_and(|_| true) || ask(http, "GET", "/healthz", &[], "").await.status == 200);
        for (path, name) in [
            ("/v1/queue?domian=d.test", "domian"), ("/v1/queue?limit=5&x=1", "x"), ("/v1/status?a=b", "a"),
            ("/v1/policies?mod=enforce", "mod"), ("/v1/history?hours=1", "hours"), ("/v1/queue/summary?q", "q"),
        ] {
            let answer = ask(http, "GET", path, &[ADMIN], "").await;
            refused(&answer, 400, "unknown-parameter");
            assert_eq!(answer.json()["parameter"], name, "{answer:?}");
        }
        for (path, name) in [
            ("/v1/queue?limit=many", "limit"), ("/v1/queue?older=soon", "older"), ("/v1/queue?cursor=x", "cursor"),
            ("/v1/queue?state=x", "state"), ("/v1/queue?reason=%ff", "reason"), ("/v1/queue?domain=", "domain"),
            ("/v1/policies?mode=strict", "mode"), ("/v1/history?minutes=-1", "minutes"), ("/v1/queue/summary?limit=", "limit"),
            ("/v1/queue?limit=0", "limit"), ("/v1/queue/summary?limit=0", "limit"), ("/v1/policies?limit=0", "limit"),
            ("/v1/queue?domain=a.test&domain=b.test", "domain"), ("/v1/events?event=%ff", "event"),
        ] {
            let answer = ask(http, "GET", path, &[ADMIN], "").await;
            refused(&answer, 400, "invalid-request");
            assert_eq!(answer.json()["parameter"], name, "{answer:?}");
        }
        for (method, path, body, status, problem) in [
            ("GET", "/v1/nonsense", "", 404, "not-found"),
            ("GET", "/v1/queue/0", "", 400, "invalid-request"),
            ("GET", "/v1/policies/never.test", "", 404, "not-found"),
            ("GET", "/v1/policies/%ff", "", 400, "invalid-request"),
            ("POST", "/v1/status", "", 405, "method-not-allowed"),
            ("DELETE", "/v1/queue", "", 405, "method-not-allowed"),
            ("POST", "/v1/queue/actions", "{", 400, "invalid-request"),
            ("POST", "/v1/queue/actions", r#"{"action":"explode","all":true}"#, 400, "invalid-request"),
            ("POST", "/v1/queue/actions", r#"{"action":"cancel"}"#, 400, "invalid-request"),
            ("POST", "/v1/queue/actions", r#"{"action":"cancel","ids":["00000000001"],"filter":{"domain":"d.test"}}"#, 400, "invalid-request"),
            ("POST", "/v1/queue/actions", r#"{"action":"cancel","ids":["00000000001"],"all":true}"#, 400, "invalid-request"),
            ("POST", "/v1/check/localhost", "", 400, "invalid-request"),
        ] {
            refused(&ask(http, method, path, &[ADMIN], body).await, status, problem);
        }
        let answer = ask(http, "GET", "/v1/nonsense", &[ADMIN], "").await;
        assert!(answer.json()["detail"].as_str().unwrap().contains("openapi.json"), "{answer:?}");
    }

    async fn h10_04_what_is_done_over_http_is_audited_and_paged() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let (relay, _folder) = relay(&net).await;
        let http = relay.http();
        let mut ids = Vec::new();
        for n in 0..5 {
            let id = relay.send("a@org.test", &[&format!("u{n}@d.test")], MESSAGE).await;
            deferred(&relay, &id).await;
            ids.push(id);
        }
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = ask(http, "GET", &format!("/v1/queue?limit=2{cursor}"), &[READER], "").await.json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2, "{page}");
            seen.extend(items.iter().map(|i| i["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        seen.sort();
        ids.sort();
        assert_eq!(seen, ids);
        let body = json!({ "action": "cancel", "ids": [ids[0], ids[1]], "reason": "ticket 9" }).to_string();
        let done = ask(http, "POST", "/v1/queue/actions", &[ADMIN], &body).await;
        assert_eq!(done.json()["matched"], 2, "{done:?}");
        let audited = relay.wait_event(|e| e.is("admin.action"), SOON).await;
        for (field, want) in [
            ("action", "queue cancel"), ("by", "token alice"), ("from", "127.0.0.1"), ("matched", "2"), ("reason", "ticket 9"),
        ] {
            assert_eq!(audited.text(field), want, "{audited}");
        }
        assert_eq!(ask(http, "POST", "/v1/reload", &[ADMIN], "").await.status, 200);
        relay.wait_event(|e| e.is("admin.action") && e.text("action") == "reload", SOON).await;
    }

    async fn h7_11_a_check_and_the_metrics_go_by_what_a_reload_has_changed() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.0.25").await;
        let (mut relay, _folder) = relay(&net).await;
        let http = relay.http();
        let verdict = async || {
            let said = ask(http, "POST", "/v1/check/d.test", &[ADMIN], "").await.body;
            let report = said.split("event: report\ndata: ").nth(1).unwrap_or_else(|| panic!("{said}"));
            let report: Value = serde_json::from_str(report.lines().next().unwrap()).unwrap();
            report["verdict"]["result"].as_str().unwrap().to_owned()
        };
        assert_eq!(verdict().await, "delivered");
        relay.reconfigure(|c| {
            c.set("delivery.connections", "17").append("[[domain]]\nname = \"d.test\"\ntls = \"verified\"\n")
        });
        assert_eq!(ask(http, "POST", "/v1/reload", &[ADMIN], "").await.status, 200);
        assert_eq!(verdict().await, "deferred");
        let metrics = ask(http, "GET", "/metrics", &[], "").await.body;
        for resource in ["outbound-connections", "attempts"] {
            let line = format!("sealpost_limit{{resource=\"{resource}\"}} 17\n");
            assert!(metrics.contains(&line), "{line} is not in {metrics}");
        }
    }

    async fn a_token_that_is_taken_away_ends_its_sessions_on_reload() {
        let net = Net::start().await;
        let (relay, folder) = relay(&net).await;
        let file = folder.path().join("tokens");
        let http = relay.http();
        let (cookie, _) = log_in(http, "readers").await;
        let cookie = [("Cookie", cookie.as_str())];
        write_tokens(&file, &[ALICE, "not a token"]);
        let kept = ask(http, "POST", "/v1/reload", &[ADMIN], "").await;
        refused(&kept, 409, "refused");
        assert!(kept.body.contains("line 2"), "{kept:?}");
        assert_eq!(ask(http, "GET", "/v1/session", &cookie, "").await.status, 200, "nothing of it counts");
        write_tokens(&file, &[ALICE]);
        assert_eq!(ask(http, "POST", "/v1/reload", &[ADMIN], "").await.status, 200);
        refused(&ask(http, "GET", "/v1/session", &cookie, "").await, 401, "unauthorized");
        refused(&ask(http, "GET", "/v1/status", &[READER], "").await, 401, "unauthorized");
        assert_eq!(ask(http, "GET", "/v1/status", &[ADMIN], "").await.status, 200);
    }

    async fn events_are_told_as_they_happen() {
        let net = Net::start().await;
        let _mx = net.plain_mx("d.test", "127.0.0.25").await;
        net.enforce("d.test");
        let (relay, _folder) = relay(&net).await;
        let mut stream = relay.http().open("/v1/events?event=delivery.", &[READER]).await.unwrap();
        let mut said = String::new();
        let mut buffer = [0; 4096];
        while !said.contains(": live") {
            let n = stream.read(&mut buffer).await.unwrap();
            said += &String::from_utf8_lossy(&buffer[..n]);
        }
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        while !said.contains("delivery.deferred") {
            let n = stream.read(&mut buffer).await.unwrap();
            assert!(n > 0, "{said}");
            said += &String::from_utf8_lossy(&buffer[..n]);
        }
        let line = said.lines().find_map(|l| l.strip_prefix("data: ")).unwrap();
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["queue_id"], id.as_str(), "{event}");
        assert!(!said.contains("message.received"), "{said}");
    }
}
