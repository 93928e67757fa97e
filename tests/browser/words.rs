//! What strangers write is shown as words, whatever it is.

use testkit::{Action, FakeMx, Rule};

use crate::net::{ADMIN, Net, logged_in, waiting};

testkit::net_test! {
    async fn hostile_replies_are_shown_and_nothing_else_happens() {
        let net = Net::start().await;
        net.zone.mail_domain("d.test", "mx.d.test", "127.0.0.25");
        let mx = FakeMx::start("127.0.0.25:25", "mx.d.test", Some(&net.ca.leaf(&["mx.d.test"]))).await;
        let markup = "<script>hacked=1</script><img src=x onerror=hacked=1><h1>big</h1></pre></main>";
        let escapes = "\u{1b}[2J\u{1b}]0;title\u{7} \u{202e}drawkcab\u{200b}";
        mx.rule(Rule::always("RCPT", Action::Reply(format!("450 4.2.1 {markup} {escapes}"))).about("html@"));
        let long = vec![format!("450-4.2.1 {}", "x<b>".repeat(240)); 100].join("\r\n");
        mx.rule(Rule::always("RCPT", Action::Reply(format!("{long}\r\n450 4.2.1 end"))).about("long@"));
        let relay = net.relay().await;
        let html = waiting(&relay, "html@d.test").await;
        let long = waiting(&relay, "long@d.test").await;
        let browser = logged_in(ADMIN).await;
        for id in [&html, &long] {
            browser.go(&format!("http://127.0.0.1:8025/#/queue/{id}")).await;
            // Not the one before.
            browser.until("the message", &format!("document.querySelector('main h1').textContent.includes('{id}')")).await;
            browser.until_says("It is given up").await;
            browser.click(".attempts details summary").await;
            let text = browser.text_of_page().await;
            let wanted = if *id == html { markup } else { "x<b>x<b>" };
            assert!(text.contains(wanted), "{text}");
            let harmful = |c: &char| (c.is_control() && !"\n\t".contains(*c)) || "\u{202e}\u{200b}".contains(*c);
            assert_eq!(text.chars().find(harmful), None, "{text:?}");
            let wide = browser.script("return document.documentElement.scrollWidth - innerWidth").await;
            assert!(wide.as_i64().unwrap() <= 0, "{wide} too wide");
        }
        for (view, title) in [("queue", "Queue"), ("deferrals", "Deferrals"), ("events", "Events")] {
            browser.go(&format!("http://127.0.0.1:8025/#/{view}")).await;
            browser.until("the view", &format!("document.querySelector('main h1').textContent === '{title}'")).await;
        }
        assert_eq!(browser.script("return typeof hacked").await, "undefined");
        let made = browser.script("return document.querySelectorAll('main script, main img, main b > b').length").await;
        assert_eq!(made, 0);
        assert_eq!(browser.complaints().await, [""; 0]);
    }
}
