//! What operators do on the page: find mail, read why it waits, act on it; policies, checks, events.

use crate::net::{ADMIN, Net, PAGE, SOON, deferred, logged_in, waiting};

testkit::net_test! {
    async fn mail_is_found_explained_and_cancelled() {
        let net = Net::start().await;
        let _d = net.stubborn("d.test", "127.0.0.25").await;
        let _e = net.stubborn("e.test", "127.0.0.26").await;
        let relay = net.relay().await;
        let ours = waiting(&relay, "b@d.test").await;
        let second = waiting(&relay, "c@d.test").await;
        let other = waiting(&relay, "b@e.test").await;
        let browser = logged_in(ADMIN).await;

        browser.click("#nav a[href='#/queue']").await;
        browser.until_says(&other).await;
        browser.type_into("#f-domain", "d.test").await;
        browser.click("form.filters button[type=submit]").await;
        // Between two views there is a moment without any rows.
        browser.until("the filter", &format!("document.body.innerText.includes('{ours}') && !document.body.innerText.includes('{other}')")).await;

        browser.click(&format!("a[href='#/queue/{ours}']")).await;
        browser.until_says("It is given up").await;
        let text = browser.text_of_page().await;
        for part in ["starttls-not-offered", "mx.d.test", "127.0.0.25", "RFC 8461", "b@d.test", "<1@org.test>"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        browser.click(".attempts details summary").await;
        browser.until_says("EHLO").await;

        // No is no.
        browser.click("[data-action=cancel]").await;
        browser.until_says("Cancel 1 message?").await;
        browser.click("#dialog-no").await;
        assert_eq!(relay.cli(&["queue", "list", "--json"]).await.stdout.lines().count(), 3);
        browser.click("[data-action=cancel]").await;
        browser.type_into("#act-reason", "ticket 7").await;
        browser.click("#dialog-yes").await;
        browser.until_says("Cancel: 1 message.").await;
        let audited = relay.wait_event(|e| e.is("admin.action"), SOON).await;
        for (field, want) in [
            ("action", "queue cancel"), ("target", ours.as_str()), ("by", "token olga"),
            ("from", "127.0.0.1"), ("reason", "ticket 7"),
        ] {
            assert_eq!(audited.text(field), want, "{audited}");
        }

        // By filter, with the count.
        browser.go("http://127.0.0.1:8025/#/queue?domain=d.test").await;
        browser.until("the filter", &format!("document.body.innerText.includes('{second}') && !document.body.innerText.includes('{other}')")).await;
        browser.click("[data-action=hold]").await;
        browser.until_says("Hold 1 message?").await;
        browser.click("#dialog-yes").await;
        browser.until_says("Hold: 1 message.").await;
        let held = relay.cli(&["queue", "show", &second, "--json"]).await.json();
        assert_eq!(held["state"], "held", "{held}");
        let spared = relay.cli(&["queue", "show", &other, "--json"]).await.json();
        assert_eq!(spared["state"], "deferred", "{spared}");
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn deferrals_and_policies_are_shown_and_a_domain_is_exempted() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        waiting(&relay, "b@d.test").await;
        let browser = logged_in(ADMIN).await;
        browser.click("#nav a[href='#/deferrals']").await;
        browser.until_says("1 message for 1 domain").await;
        // Few reasons are open from the start.
        browser.until_says("To do:").await;
        assert!(browser.text_of_page().await.contains("The recipient's side has to act"));
        browser.click(".reason summary").await;
        browser.until("it is closed", "!document.querySelector('.reason').open").await;

        browser.click("#nav a[href='#/policies']").await;
        browser.click("a[href='#/policies/d.test']").await;
        browser.until_says("version: STSv1").await;
        browser.until_says("policy.fetched").await;
        browser.click(".actions .danger").await;
        browser.until_says("Exempt d.test from its policy?").await;
        // Without a reason the browser does not send it.
        browser.click("#dialog-yes").await;
        browser.type_into("#x-because", "their host is being repaired").await;
        browser.click("#dialog-yes").await;
        browser.until_says("Exempt: mail to this domain is not protected").await;
        let audited = relay.wait_event(|e| e.text("action") == "policy exempt", SOON).await;
        assert_eq!(audited.text("reason"), "their host is being repaired", "{audited}");
        let shown = relay.cli(&["policy", "show", "d.test", "--json"]).await.json();
        assert_eq!(shown["exemption"]["active"], true, "{shown}");
        assert_eq!(shown["exemption"]["by"], "token olga", "{shown}");
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn tls_reports_are_listed_and_shown_or_said_to_be_off() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let mut relay = net.relay_with(|config| config.set("reporting.contact-info", "\"tls@org.test\"")).await;
        waiting(&relay, "b@d.test").await;
        let browser = logged_in(ADMIN).await;
        browser.until_says("Counted today").await;
        browser.click("#nav a[href='#/policies']").await;
        browser.click("main a[href='#/reports']").await;
        browser.until_says("1 domain counted today, 0 reports to be sent").await;
        browser.shoot("reports").await;
        browser.click("a[href^='#/reports/d.test/']").await;
        browser.until_says("\"starttls-not-supported\"").await;
        browser.until_says("collecting: the day is not over").await;
        browser.shoot("report").await;
        browser.go(&format!("{PAGE}#/reports?state=sent")).await;
        browser.until_says("No report matches.").await;

        relay.reconfigure(|config| config.set("reporting.enabled", "false"));
        assert!(relay.cli(&["reload"]).await.code == Some(0), "{}", relay.story());
        browser.go(&format!("{PAGE}#/reports")).await;
        browser.until_says("Off: nothing is counted").await;
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn mail_of_one_reason_and_several_causes_has_a_remedy_for_each() {
        let net = Net::start().await;
        let relay = net.relay().await;
        let mut peers = Vec::new();
        let certificates = [
            ("self.test", net.ca.cert(&["mx.self.test"]).self_signed().issue()),
            ("chain.test", net.ca.cert(&["mx.chain.test"]).missing_intermediate().issue()),
        ];
        for (n, (domain, leaf)) in certificates.iter().enumerate() {
            let mx = net.stubborn(domain, &format!("127.0.1.{}", n + 1)).await;
            mx.certificate(leaf);
            waiting(&relay, &format!("b@{domain}")).await;
            peers.push(mx);
        }
        let summary = relay.cli(&["queue", "summary", "--json"]).await.json();
        let cases = summary["reasons"][0]["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 2, "{summary}");
        assert!(cases.iter().all(|case| case["messages"] == 1), "{summary}");
        assert!(summary["reasons"][0].get("said").is_none(), "neither speaks for both: {summary}");
        let browser = logged_in(ADMIN).await;
        browser.go(&format!("{PAGE}#/deferrals")).await;
        browser.until_says("2 causes, most of them:").await;
        let shown = browser.text_of_page().await;
        for case in cases {
            for part in ["sentence", "advice"] {
                let text = case[part].as_str().unwrap();
                assert!(shown.contains(text), "{text}: {shown}");
            }
        }
        browser.shoot("several-causes").await;
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn a_policy_that_has_run_out_is_not_called_ok() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let _other = net.stubborn("e.test", "127.0.0.26").await;
        net.host.policy("d.test", &testkit::policy_text("enforce", &["mx.d.test"], 0));
        let relay = net.relay().await;
        waiting(&relay, "b@d.test").await;
        waiting(&relay, "b@e.test").await;
        let browser = logged_in(ADMIN).await;
        browser.click("#nav a[href='#/policies']").await;
        browser.until_says("e.test").await;
        for (domain, word) in [("d.test", "expired"), ("e.test", "ok")] {
            let row = format!("document.querySelector(\"a[href='#/policies/{domain}']\").closest('tr')");
            browser.until(word, &format!("{row}.lastElementChild.innerText.endsWith('{word}')")).await;
        }
        browser.click("a[href='#/policies/d.test']").await;
        browser.until_says("expired").await;
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn a_check_and_the_events_are_live() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let browser = logged_in(ADMIN).await;
        browser.click("#nav a[href='#/check']").await;
        browser.type_into("#c-domain", "d.test").await;
        browser.click("form.filters button[type=submit]").await;
        browser.until_says("Mail would be deferred").await;
        let text = browser.text_of_page().await;
        assert!(text.contains("STARTTLS") && text.contains("mx.d.test"), "{text}");

        browser.click("#nav a[href='#/events']").await;
        browser.until_says("● live").await;
        let id = waiting(&relay, "b@d.test").await;
        browser.until("the event", &format!("[...document.querySelectorAll('.events tbody tr')].some(r => r.innerText.includes('delivery.deferred') && r.innerText.includes('{id}'))")).await;
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    /// Any site may send the operator's browser to an address of the page.
    async fn an_address_of_the_page_begins_no_check_by_itself() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        waiting(&relay, "b@d.test").await;
        let browser = logged_in(ADMIN).await;
        browser.until_says("Accepts and delivers mail").await;
        browser.go("about:blank").await;
        browser.go(&format!("{}#/check?domain=d.test", PAGE)).await;
        browser.until("the domain", "document.querySelector('#c-domain')?.value === 'd.test'").await;
        let begun = browser.script("return document.querySelector('.steps') !== null").await;
        assert_eq!(begun, false);
        // The page's own button does.
        browser.go(&format!("{}#/policies/d.test", PAGE)).await;
        browser.click("main a[href^='#/check']").await;
        browser.until_says("Mail would be deferred").await;
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn only_one_page_of_rows_is_read() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let mut client = relay.client().await;
        for n in 0..120 {
            client.send("a@org.test", &[&format!("u{n}@d.test")], crate::net::MESSAGE).await;
        }
        // Each has its place in the list then.
        assert!(deferred(&relay, 120, SOON).await, "{}", relay.story());
        let browser = logged_in(ADMIN).await;
        browser.click("#nav a[href='#/queue']").await;
        browser.until("a page", "document.querySelectorAll('main tbody tr').length === 50").await;
        let first = browser.script("return document.querySelector('main td.id').innerText").await;
        browser.click("#next-page").await;
        browser.until("the next page", &format!("document.querySelector('main td.id').innerText !== {first}")).await;
        browser.until("the focus", "document.activeElement.id === 'next-page'").await;
        browser.click("#next-page").await;
        // Of a page the first twenty rows are drawn first; after the last there is none.
        browser.until("the last page", "document.querySelector('#next-page').disabled && document.querySelectorAll('main tbody tr').length === 20").await;
        // There is no next one now.
        browser.until("the focus", "document.activeElement.id === 'previous-page'").await;
        let asked = browser.script(
            "return performance.getEntriesByType('resource').map(e => e.name).filter(n => n.includes('/v1/queue?')).every(n => n.includes('limit=50'))",
        ).await;
        assert_eq!(asked, true);
    }
}
