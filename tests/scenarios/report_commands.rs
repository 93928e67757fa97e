//! `sealpost report`, its routes, and its line in `sealpost status`.

use crate::api::{ADMIN, READER, relay};
use crate::net::{Net, ok};

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
