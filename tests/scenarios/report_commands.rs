//! `sealpost report`, its routes, and its line in `sealpost status`.

use sealpost_tests::{Relay, eventually};
use serde_json::Value;

use crate::api::{ADMIN, READER, relay, relay_with};
use crate::net::{MESSAGE, Net, SOON, deferred, ok, sent};

testkit::net_test! {
    async fn without_contact_info_the_commands_say_what_switches_reports_on() {
        let net = Net::start().await;
        let (relay, _folder) = relay(&net).await;
        for args in [&["report", "list"][..], &["report", "show", "d.test"], &["report", "send"]] {
            let refused = relay.cli(args).await;
            assert_eq!(refused.code, Some(65), "{args:?}: {refused:?}");
            assert!(refused.stderr.contains("reporting.contact-info"), "{args:?}: {refused:?}");
        }
        for args in [&["report"][..], &["report", "list", "--day", "today"], &["report", "show", "a..b"],
            &["report", "list", "--state", "lost"]] {
            let refused = relay.cli(args).await;
            assert_eq!(refused.code, Some(64), "{args:?}: {refused:?}");
        }
        let status = ok(&relay, &["status"]).await.stdout;
        let line = status.lines().find(|line| line.starts_with("TLS reports"));
        assert!(line.is_some_and(|line| line.contains("off (reporting.contact-info)")), "{status}");
        let http = relay.http();
        for (method, path, token, body, want) in [
            ("GET", "/v1/reports", READER, "", 409),
            ("GET", "/v1/reports?day=2026-02-30", READER, "", 400),
            ("GET", "/v1/reports?domains=d.test", READER, "", 400),
            ("GET", "/v1/reports/d.test", READER, "", 409),
            ("POST", "/v1/reports/send", READER, "{}", 403),
            ("POST", "/v1/reports/send", ADMIN, "{}", 409),
            ("POST", "/v1/reports/send", ADMIN, r#"{"domains":["d.test"]}"#, 400),
        ] {
            let answer = http.send(method, path, &[token], body).await.unwrap();
            assert_eq!(answer.status, want, "{method} {path}: {answer:?}");
        }
    }
}

testkit::net_test! {
    async fn b2_01_b2_03_what_sessions_met_today_is_listed_and_shown() {
        let net = Net::start().await;
        let _good = net.mx("d.test", "127.0.0.25").await;
        let _plain = net.plain_mx("e.test", "127.0.0.26").await;
        net.enforce("d.test");
        net.enforce("e.test");
        let (relay, _folder) = relay_with(net.config().set("reporting.contact-info", "\"tls@org.test\"")).await;
        let id = relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        sent(&relay, &id).await;
        let id = relay.send("a@org.test", &["b@e.test"], MESSAGE).await;
        deferred(&relay, &id).await;
        let counted = eventually(SOON, async || {
            let rows = listed(&relay, &[]).await;
            let of = |domain: &str, count: &str| rows.iter().any(|row| row["domain"] == domain && row[count] == 1);
            (of("d.test", "successes") && of("e.test", "failures")).then_some(())
        });
        assert!(counted.await.is_some(), "{:?}", listed(&relay, &[]).await);
        let rows = listed(&relay, &["--domain", "E.test"]).await;
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((&row["state"], &row["successes"]), (&"collecting".into(), &0.into()), "{row}");
        let day = row["day"].as_str().unwrap();
        assert_eq!(listed(&relay, &["--domain", "e.test", "--day", day, "--state", "collecting"]).await, rows);
        assert_eq!(listed(&relay, &["--state", "sent"]).await, [Value::Null; 0]);
        assert_eq!(ok(&relay, &["report", "list", "--state", "sent"]).await.stdout, "no reports\n");
        let table = ok(&relay, &["report", "list"]).await.stdout;
        assert!(table.starts_with("DAY") && table.contains("e.test") && table.contains("collecting"), "{table}");

        let shown = ok(&relay, &["report", "show", "e.test", "--json"]).await.json();
        let policy = &shown["report"]["policies"][0];
        assert_eq!(shown["report"]["contact-info"], "tls@org.test", "{shown}");
        assert_eq!(policy["policy"]["policy-type"], "sts", "{shown}");
        assert_eq!(policy["summary"]["total-failure-session-count"], 1, "{shown}");
        let failure = &policy["failure-details"][0];
        assert_eq!(failure["result-type"], "starttls-not-supported", "{shown}");
        assert_eq!(failure["receiving-mx-hostname"], "mx.e.test", "{shown}");
        let text = ok(&relay, &["report", "show", "e.test", "--day", day]).await.stdout;
        assert!(text.contains("collecting: the day (UTC) is not over") && text.contains("\"starttls-not-supported\""), "{text}");
        let unknown = relay.cli(&["report", "show", "f.test"]).await;
        assert!(unknown.code == Some(65) && unknown.stderr.contains("nothing is known of TLS to f.test"), "{unknown:?}");
        let status = ok(&relay, &["status"]).await.stdout;
        assert!(status.contains("2 domains counted today, 0 to be sent"), "{status}");

        assert_eq!(ok(&relay, &["report", "send", "e.test", "--reason", "a look"]).await.stdout, "no report is pending\n");
        let audited = relay.wait_event(|e| e.is("admin.action") && e.text("action") == "report send", SOON).await;
        assert_eq!((audited.text("target"), audited.text("matched"), audited.text("reason")), ("e.test", "0", "a look"), "{audited}");
        let answer = relay.http().send("GET", "/v1/reports?limit=1", &[READER], "").await.unwrap();
        assert_eq!(answer.json()["items"].as_array().unwrap().len(), 1, "{answer:?}");
        let next = answer.json()["next"].as_str().unwrap().replace(' ', "%20");
        let answer = relay.http().send("GET", &format!("/v1/reports?cursor={next}"), &[READER], "").await.unwrap();
        assert_eq!(answer.json()["items"].as_array().unwrap().len(), 1, "{answer:?}");
    }
}

async fn listed(relay: &Relay, filter: &[&str]) -> Vec<Value> {
    let args = [&["report", "list", "--json"], filter].concat();
    let printed = ok(relay, &args).await.stdout;
    let rows = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    rows.collect()
}
