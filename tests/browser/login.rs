//! Getting in, by link and by token; not getting in; getting out.

use crate::driver::Browser;
use crate::net::{ADMIN, Net, PAGE, READER, SOON, link, logged_in, waiting};

testkit::net_test! {
    async fn the_link_that_is_printed_logs_in_once() {
        let net = Net::start().await;
        let mut relay = net.relay().await;
        let link = link(&mut relay).await;
        let browser = Browser::start().await;
        browser.go(&link).await;
        browser.until_says("Accepts and delivers mail").await;
        let href = browser.script("return location.href").await;
        assert_eq!(href, "http://127.0.0.1:8025/#/", "the secret is no longer in the address");
        assert!(browser.text_of_page().await.contains("login-link · administrator"));
        let cookie = browser.script("return document.cookie").await;
        assert_eq!(cookie, "", "scripts do not see the session");
        let told = relay.wait_event(|e| e.is("admin.login"), SOON).await;
        assert_eq!(told.text("by"), "login-link");

        browser.click("#logout").await;
        browser.until_says("You have logged out").await;
        relay.wait_event(|e| e.is("admin.logout"), SOON).await;
        // Another view, as by the way back: there is somebody to ask for, not an empty page. An address that
        // is no good encoding is a view like others.
        browser.script("location.hash = '#/queue/%E0%A4%A'").await;
        let asked = "performance.getEntriesByType('resource').some(e => e.name.includes('/v1/queue/')) && document.querySelector('#token') !== null";
        browser.until("a form again", asked).await;
        browser.go("about:blank").await;
        browser.go(&link).await;
        browser.until_says("was used already").await;
        assert_eq!(browser.complaints().await, [""; 0]);
    }

    async fn a_wrong_token_is_refused_and_a_right_one_is_not() {
        let net = Net::start().await;
        let relay = net.relay().await;
        let browser = Browser::start().await;
        browser.go(PAGE).await;
        browser.type_into("#token", "wrong").await;
        browser.click("form button[type=submit]").await;
        browser.until_says("not in the token file").await;
        let told = relay.wait_event(|e| e.is("admin.login-failed"), SOON).await;
        assert_eq!(told.text("from"), "127.0.0.1");
        assert!(!told.to_string().contains("wrong\""), "no tokens in the log: {told}");
        // The field's content is selected: typing replaces it.
        browser.type_into("#token", "\u{e009}a\u{e000}").await;
        browser.type_into("#token", ADMIN).await;
        browser.click("form button[type=submit]").await;
        browser.until_says("olga · administrator").await;
        // Views that were not shown yet are read all the same, before the server can become a later version.
        let read = "performance.getEntriesByType('resource').some(e => e.name.endsWith('/events.js'))";
        browser.until("the other views", read).await;
    }

    async fn a_login_link_that_was_damaged_is_no_link() {
        let net = Net::start().await;
        let _relay = net.relay().await;
        let browser = Browser::start().await;
        for damaged in ["#login=", "#login=abc123."] {
            browser.go("about:blank").await;
            browser.go(&format!("{PAGE}{damaged}")).await;
            browser.until_says("Log in").await;
            let asked = browser.script("return performance.getEntriesByType('resource').filter(e => e.name.includes('/v1/')).length").await;
            assert!(asked.as_u64().unwrap() < 10, "{damaged}: {asked}");
        }
    }

    async fn who_may_only_read_is_offered_nothing_else() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let id = waiting(&relay, "b@d.test").await;
        let browser = logged_in(READER).await;
        browser.until_says("rita · read only").await;
        browser.click("#nav a[href='#/queue']").await;
        browser.until_says(&id).await;
        browser.until_says("this session may look, and change nothing").await;
        browser.click(&format!("a[href='#/queue/{id}']")).await;
        browser.until("the message", &format!("document.querySelector('main h1').textContent.includes('{id}')")).await;
        browser.until_says("starttls-not-offered").await;
        let offered = browser.script("return document.querySelectorAll('[data-action], input[type=checkbox]').length").await;
        assert_eq!(offered, 0);
        // Even if the page offered it: the server says no.
        let status = browser.script(
            "return (async () => {
                const { csrf } = await (await fetch('/v1/session')).json();
                const body = JSON.stringify({ action: 'cancel', all: true });
                const answer = await fetch('/v1/queue/actions', { method: 'POST', body, headers: { 'X-Sealpost-CSRF': csrf } });
                return answer.status;
            })()",
        ).await;
        assert_eq!(status, 403);
    }
}
