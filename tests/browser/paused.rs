//! Paused destinations: seen wherever their mail is, and let go on.

use crate::driver::ESCAPE;
use crate::net::{ADMIN, MESSAGE, Net, PAGE, READER, logged_in, waiting};

testkit::net_test! {
    async fn a_paused_destination_is_seen_and_let_go_on() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let _other = net.stubborn("e.test", "127.0.0.26").await;
        let relay = net.relay().await;
        let tried = waiting(&relay, "b@d.test").await;
        waiting(&relay, "b@e.test").await;
        let paused = relay.cli(&["queue", "pause", "d.test", "--because", "they move"]).await;
        assert!(paused.stdout.contains("d.test"), "{paused:?}");
        let untried = relay.send("a@org.test", &["c@d.test"], MESSAGE).await;

        let browser = logged_in(ADMIN).await;
        browser.until_says("d.test is paused since").await;
        assert!(browser.text_of_page().await.contains("they move"));
        browser.go(&format!("{PAGE}#/queue")).await;
        for id in [&tried, &untried] {
            let row = format!("document.querySelector(\"a[href='#/queue/{id}']\").closest('tr').innerText");
            browser.until("paused", &format!("{row}.includes('paused') && {row}.includes('Delivery to d.test is paused by')")).await;
        }
        browser.shoot("paused-queue").await;

        // Nobody is told that it is tried.
        browser.click("[data-action=retry]").await;
        browser.until_says("2 of them have a paused destination, which is not tried.").await;
        browser.press(ESCAPE).await;
        browser.until("no dialog", "!document.getElementById('dialog').open").await;
        browser.go(&format!("{PAGE}#/queue/{untried}")).await;
        browser.until_says("not while its destination is paused").await;
        assert!(!browser.text_of_page().await.contains("not while it is held"));
        browser.click("[data-action=retry]").await;
        browser.until_says("1 of them has a paused destination, which is not tried.").await;
        browser.click("#dialog-yes").await;
        browser.until("the notice", "document.getElementById('notice').innerText.includes('1 of them has a paused destination')").await;
        // Only when the view has been drawn again.
        browser.until("the focus", "document.activeElement.matches('[data-action=retry]')").await;
        browser.shoot("paused-message").await;

        browser.go(&format!("{PAGE}#/deferrals")).await;
        browser.until_says("d.test is paused since").await;
        browser.until_says("An operator keeps it back").await;
        assert!(!browser.text_of_page().await.contains("Not tried yet\nnot tried yet"));
        browser.shoot("paused-deferrals").await;
        browser.go(PAGE).await;
        browser.until_says("Overview").await;
        browser.until_says("d.test is paused since").await;
        browser.shoot("paused-overview").await;
        browser.click("[data-action=resume]").await;
        browser.until_says("Resume delivery to d.test?").await;
        browser.type_into("#act-reason", "they have moved").await;
        browser.click("#dialog-yes").await;
        browser.until_says("Resumed: d.test.").await;
        browser.until("it goes on", "!document.body.innerText.includes('is paused since')").await;
        let resumed = relay.wait_event(|e| e.text("action") == "queue resume", crate::net::SOON).await;
        assert_eq!((resumed.text("by"), resumed.text("reason")), ("token olga", "they have moved"), "{resumed}");

        browser.go(&format!("{PAGE}#/queue?domain=d.test")).await;
        browser.click("[data-action=pause]").await;
        browser.until_says("Pause delivery to d.test?").await;
        browser.click("#dialog-yes").await;
        browser.until_says("Paused: d.test.").await;
        browser.until("it can go on", "document.querySelector('[data-action=resume][data-of=\"d.test\"]')").await;
        let summary = relay.cli(&["queue", "summary", "--json"]).await.json();
        assert_eq!(summary["paused"][0]["domain"], "d.test", "{summary}");
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn the_button_goes_by_what_is_paused_and_not_by_the_mail_that_is_shown() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        waiting(&relay, "b@d.test").await;
        let browser = logged_in(ADMIN).await;
        // Without mail, and written as nobody else writes it.
        relay.cli(&["queue", "pause", "xn--bcher-kva.test", "--because", "they move"]).await;
        for domain in ["xn--bcher-kva.test", "B%C3%BCcher.test"] {
            browser.go("about:blank").await;
            browser.go(&format!("{PAGE}#/queue?domain={domain}")).await;
            browser.until_says("Nothing in the queue matches.").await;
            browser.until("it can go on", "document.querySelector('[data-action=resume]')").await;
        }
        browser.click("[data-action=resume]").await;
        browser.click("#dialog-yes").await;
        browser.until_says("Resumed: Bücher.test.").await;
        browser.until("it can be paused", "document.querySelector('[data-action=pause]')").await;
        // Of two domains the one that is paused goes on, and the other can be paused.
        relay.cli(&["queue", "pause", "e.test"]).await;
        let both = relay.send("a@org.test", &["c@d.test", "c@e.test"], MESSAGE).await;
        browser.go(&format!("{PAGE}#/queue/{both}")).await;
        browser.until("of each", "document.querySelector('[data-action=resume][data-of=\"e.test\"]') && document.querySelector('[data-action=pause][data-of=\"d.test\"]')").await;
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn who_may_only_look_sees_a_pause_and_no_button() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let id = waiting(&relay, "b@d.test").await;
        relay.cli(&["queue", "pause", "d.test", "--because", "they move"]).await;
        let browser = logged_in(READER).await;
        for view in [String::new(), "queue?domain=d.test".to_owned(), format!("queue/{id}")] {
            browser.go("about:blank").await;
            browser.go(&format!("{PAGE}#/{view}")).await;
            browser.until_says("paused").await;
            let buttons = browser.script("return document.querySelectorAll('[data-action=resume], [data-action=pause]').length").await;
            assert_eq!(buttons, 0, "{view}");
        }
    }
}
