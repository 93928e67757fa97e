//! Light and dark, wide and narrow.

use crate::net::{ADMIN, Net, logged_in, waiting};

testkit::net_test! {
    async fn every_view_fits_a_phone_in_light_and_dark() {
        let net = Net::start().await;
        let _mx = net.stubborn("d.test", "127.0.0.25").await;
        let relay = net.relay_with(|config| config.set("reporting.contact-info", "\"tls@org.test\"")).await;
        let id = waiting(&relay, "somebody.with.a.rather.long.name@d.test").await;
        // The whole width of a table.
        waiting(&relay, &format!("{}@d.test", "x".repeat(64))).await;
        waiting(&relay, "b@d.test").await;
        let browser = logged_in(ADMIN).await;
        let message = format!("queue/{id}");
        let views = [
            ("overview", ""), ("queue", "queue"), ("message", message.as_str()), ("deferrals", "deferrals"),
            ("policies", "policies"), ("policy", "policies/d.test"), ("reports", "reports"), ("report", "reports/d.test"), ("check", "check?domain=d.test"), ("events", "events"),
        ];
        for (scheme, dark) in [("light", false), ("dark", true)] {
            browser.prefer(scheme).await;
            for (width, height) in [(1280, 900), (1100, 800), (1000, 800), (760, 800), (360, 740)] {
                browser.resize(width, height).await;
                for (name, view) in views {
                    browser.go("about:blank").await;
                    browser.go(&format!("http://127.0.0.1:8025/#/{view}")).await;
                    browser.until("the view", "document.querySelector('main h1')").await;
                    if name == "check" {
                        browser.click("form.filters button[type=submit]").await;
                        browser.until_says("Mail would be").await;
                    }
                    let wide = browser.script("return document.documentElement.scrollWidth").await;
                    assert!(wide.as_u64().unwrap() <= u64::from(width), "{name} at {width}: {wide}");
                    browser.shoot(&format!("{name}-{width}-{scheme}")).await;
                }
            }
            let lightness = browser.script(
                "return getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0)",
            ).await;
            assert_eq!(lightness.as_u64().unwrap() < 200, dark, "{scheme}: {lightness}");
        }
        browser.click("#logout").await;
        browser.until_says("Token").await;
        browser.shoot("login-360-dark").await;
        assert_eq!(browser.complaints().await, [""; 0]);
    }
}
