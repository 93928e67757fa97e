//! Everything by keys alone.

use crate::driver::{Browser, ENTER, ESCAPE, LEFT, SPACE, TAB};
use crate::net::{ADMIN, Net, PAGE, waiting};

/// Presses Tab until something is focused; the focus is always to be seen.
async fn tab_to(browser: &Browser, css: &str) {
    for _ in 0..80 {
        browser.press(TAB).await;
        let seen = browser
            .script("const e = document.activeElement; return e === document.body || getComputedStyle(e).outlineStyle !== 'none' || e.matches('main')")
            .await;
        assert_eq!(seen, true, "the focus cannot be seen");
        let there = format!(
            "return document.activeElement.matches({})",
            serde_json::json!(css)
        );
        if browser.script(&there).await == true {
            return;
        }
    }
    panic!(
        "Tab does not lead to {css}\n{}",
        browser.text_of_page().await
    );
}

testkit::net_test! {
    async fn the_page_is_used_without_a_mouse() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay().await;
        let id = waiting(&relay, "b@d.test").await;
        let browser = Browser::start().await;
        browser.go(PAGE).await;
        browser.until("the field", "document.activeElement.id === 'token'").await;
        browser.press(ADMIN).await;
        browser.press(ENTER).await;
        browser.until_says("Accepts and delivers mail").await;

        tab_to(&browser, ".plot").await;
        let told = "/^Queue: a chart of messages by state, from \\d\\d:\\d\\d to \\d\\d:\\d\\d UTC\\. .*\\. The arrow keys/";
        browser.until("sentences", &format!("{told}.test(document.activeElement.getAttribute('aria-label'))")).await;
        browser.press(LEFT).await;
        browser.until("a reading with its values", "/UTC: \\d+ deferred, /.test(document.querySelector('.readout').textContent)").await;
        tab_to(&browser, "#nav a[href='#/queue']").await;
        browser.press(ENTER).await;
        browser.until_says(&id).await;
        tab_to(&browser, "th button").await;
        browser.press(SPACE).await;
        browser.until("the focus", "document.activeElement.textContent.startsWith('Id')").await;
        browser.until("the order", "document.querySelector('th[aria-sort=ascending]').textContent.startsWith('Id')").await;
        tab_to(&browser, &format!("a[href='#/queue/{id}']")).await;
        browser.press(ENTER).await;
        browser.until_says("It is given up").await;
        tab_to(&browser, "[data-action=hold]").await;
        browser.press(ENTER).await;
        browser.until_says("Hold 1 message?").await;
        browser.press(ESCAPE).await;
        browser.until("no dialog", "!document.getElementById('dialog').open").await;
        tab_to(&browser, "[data-action=hold]").await;
        browser.press(ENTER).await;
        browser.until("the reason", "document.activeElement.id === 'act-reason'").await;
        browser.press("why").await;
        browser.press(ENTER).await;
        browser.until_says("Hold: 1 message.").await;
        browser.until("the focus", "document.activeElement.matches('[data-action=hold]')").await;
        let held = relay.cli(&["queue", "show", &id, "--json"]).await.json();
        assert_eq!(held["state"], "held", "{held}");
    }
}
