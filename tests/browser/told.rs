//! What an operator is told at once: certificates of ours, each host that was tried, what was wrong.

use std::os::unix::fs::PermissionsExt;

use testkit::{FakeMx, PolicyFault};

use crate::net::{ADMIN, MESSAGE, Net, PAGE, logged_in, waiting};

testkit::net_test! {
    async fn a_certificate_of_ours_that_has_ended_comes_first() {
        let net = Net::start().await;
        let (ended, ending) = (net.ca.cert(&["relay.test"]).expired().issue(), net.ca.cert(&["relay.test"]).days(3).issue());
        for leaf in [&ended, &ending] {
            std::fs::set_permissions(&leaf.key_path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let listener = |name: &str, port: u16, leaf: &testkit::Leaf| format!(
            "[[listener]]\nname = \"{name}\"\naddress = [\"127.0.0.1:{port}\"]\ntls = \"optional\"\ncertificate = \"{}\"\nprivate-key = \"{}\"",
            leaf.cert_path.display(), leaf.key_path.display()
        );
        let (first, second) = (listener("old", 4650, &ended), listener("soon", 4651, &ending));
        let _relay = net.relay_with(|config| config.append(&first).append(&second)).await;
        let browser = logged_in(ADMIN).await;
        browser.until("the warning", "document.querySelector('.endings')?.nextElementSibling?.matches('.ready')").await;
        let text = browser.text_of_page().await;
        for part in ["The certificate of listener old ended", "The certificate of listener soon ends"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        browser.shoot("endings").await;
    }

    async fn h9_07_a_log_that_loses_events_is_told_while_it_does() {
        let net = Net::start().await;
        let relay = net.relay().await;
        let config = std::fs::read_to_string(relay.config_path()).unwrap();
        let file = config.lines().find(|line| line.starts_with("file = ")).unwrap();
        let browser = logged_in(ADMIN).await;
        browser.until("the first view", "document.querySelector('.ready')").await;
        // From now on each write fails: there is no space.
        std::fs::write(relay.config_path(), config.replace(file, "file = \"/dev/full\"")).unwrap();
        relay.cli(&["reload"]).await;
        relay.send("a@org.test", &["b@d.test"], MESSAGE).await;
        browser.until_says("The event log has lost ").await;
        let told = browser.script("return document.querySelector('.trouble.log').innerText").await;
        let told = told.as_str().unwrap();
        assert!(told.contains("and has not gone on: No space left on device"), "{told}");
        browser.shoot("log-lost").await;
        std::fs::write(relay.config_path(), &config).unwrap();
        relay.cli(&["reload"]).await;
        let resumed = relay.wait_event(|e| e.is("log.resumed"), crate::net::SOON).await;
        assert!(resumed.text("cause").starts_with("No space left"), "{resumed}");
        browser.until("it is over", "!document.querySelector('.trouble.log')").await;
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn each_host_that_was_tried_is_shown() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        net.zone.mx("d.test", 20, "mx2.d.test").a("mx2.d.test", "127.0.0.26");
        net.host.enforce("d.test", &["mx.d.test", "mx2.d.test"]);
        let _second = FakeMx::start("127.0.0.26:25", "mx2.d.test", None).await;
        let relay = net.relay().await;
        let id = waiting(&relay, "b@d.test").await;
        let browser = logged_in(ADMIN).await;
        browser.go(&format!("{PAGE}#/queue/{id}")).await;
        browser.until("both hosts", "document.querySelectorAll('.tried li').length === 2").await;
        let tried = browser.script("return document.querySelector('.tried').innerText").await;
        for host in ["mx.d.test [127.0.0.25]: starttls-not-offered", "mx2.d.test [127.0.0.26]: starttls-not-offered"] {
            assert!(tried.as_str().unwrap().contains(host), "{tried}");
        }
    }

    async fn a_filter_that_is_none_can_be_put_right() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let id = waiting(&relay, "b@d.test").await;
        let browser = logged_in(ADMIN).await;
        browser.go(&format!("{PAGE}#/queue")).await;
        browser.type_into("#f-domain", "d..test").await;
        browser.click("form.filters button[type=submit]").await;
        browser.until("what is wrong", "document.querySelector('main [role=alert]')").await;
        browser.until("what was asked", "document.querySelector('#f-domain').value === 'd..test'").await;
        // Hours, as with the command.
        browser.go(&format!("{PAGE}#/queue")).await;
        browser.until_says(&id).await;
        browser.type_into("#f-older", "2h").await;
        browser.click("form.filters button[type=submit]").await;
        browser.until("seconds", "location.hash === '#/queue?older=7200'").await;
        browser.until("hours", "document.querySelector('#f-older').value === '2h'").await;
        browser.until_says("Nothing in the queue matches").await;
        browser.go(&format!("{PAGE}#/nowhere")).await;
        browser.until("its own title", "document.title.startsWith('There is no such view')").await;
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn a_failed_fetch_is_shown_at_once_and_an_exemption_ends() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        waiting(&relay, "b@d.test").await;
        let browser = logged_in(ADMIN).await;
        browser.go(&format!("{PAGE}#/policies/d.test")).await;
        browser.until_says("policy.fetched").await;
        net.host.fault("d.test", PolicyFault::Status(500));
        browser.click("[data-action='Refetch now']").await;
        browser.until_says("policy.refresh-failed").await;
        browser.until_says("Last refresh").await;
        browser.click("[data-action='Exempt…']").await;
        browser.type_into("#x-because", "their host is being repaired").await;
        browser.click("#dialog-yes").await;
        browser.click("[data-action='End the exemption']").await;
        browser.type_into("#x-because", "it is repaired").await;
        browser.click("#dialog-yes").await;
        browser.until_says("The exemption has ended.").await;
        assert!(!browser.text_of_page().await.contains("Exempt. The log has it."));
    }

    async fn a_check_says_what_the_relay_knows_beside_it() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        relay.cli(&["queue", "pause", "d.test", "--because", "they move"]).await;
        let browser = logged_in(ADMIN).await;
        browser.go(&format!("{PAGE}#/check")).await;
        browser.type_into("#c-domain", "d.test").await;
        browser.click("form.filters button[type=submit]").await;
        browser.until_says("is not in that verdict").await;
        browser.until_says("Delivery to d.test is paused since").await;
        browser.shoot("check-known").await;
    }
}
