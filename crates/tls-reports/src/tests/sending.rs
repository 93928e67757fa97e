//! When reports are sent, to whom, and what comes of it.

use std::time::Duration;

use super::world::{World, day, options};
use crate::hosts::PER_DAY;
use crate::{ListFilter, Options, State};

const A_DAY: Duration = Duration::from_hours(24);
const HTTPS: &str = "v=TLSRPTv1; rua=https://r.test/x";
const MAILTO: &str = "v=TLSRPTv1; rua=mailto:tls@d.test";

#[tokio::test]
async fn b1_01_b1_12_b4_02_the_record_is_looked_up_once_when_the_day_is_over() {
    let world = World::new();
    world.publish("d.test", HTTPS);
    world.success("d.test");
    world.failure("d.test");
    world.live(Duration::from_hours(12)).await;
    assert_eq!(world.list()[0].state, State::Collecting);
    assert!(world.outside.asked.lock().is_empty(), "not before midnight");
    world.live(Duration::from_hours(5)).await;
    assert_eq!(*world.outside.asked.lock(), ["_smtp._tls.d.test"]);
    let list = world.list();
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].successes, list[0].failures), (1, 1));
    assert_eq!(list[0].state, State::Sent);
    assert_eq!(list[0].to.as_deref(), Some("https://r.test/x"));
    assert_eq!(world.told(), ["sent"]);
    world.live(A_DAY).await;
    assert_eq!(world.outside.posted.lock().len(), 1, "one for the day");
}

#[tokio::test]
async fn b1_04_b1_12_without_exactly_one_record_nothing_is_sent_and_nothing_told() {
    let world = World::new();
    world.publish("two.test", HTTPS);
    let name = "_smtp._tls.two.test".to_owned();
    let two = vec![HTTPS.to_owned(), MAILTO.to_owned()];
    world.outside.txt.lock().insert(name, two);
    world.publish("gone.test", HTTPS);
    for domain in ["two.test", "none.test", "gone.test"] {
        world.success(domain);
    }
    world.live(Duration::from_hours(11)).await;
    world.outside.txt.lock().remove("_smtp._tls.gone.test");
    world.live(A_DAY).await;
    assert!(world.outside.posted.lock().is_empty());
    assert!(world.outside.mailed.lock().is_empty());
    assert!(world.told().is_empty(), "most domains have no record");
    let list = world.list();
    assert_eq!(list.len(), 3);
    assert!(list.iter().all(|view| view.state == State::Dropped));
    assert_eq!(world.outside.asked.lock().len(), 3, "once each");
}

#[tokio::test]
async fn b1_07_b4_26_what_cannot_be_used_is_told_and_the_rest_is_used() {
    let world = World::new();
    let record = "v=TLSRPTv1; rua=http://r.test/x , https://r.test:8443/ , mailto:tls@d.test";
    world.publish("d.test", record);
    world.publish("e.test", "v=TLSRPTv1; rua=ftp://e.test/");
    world.success("d.test");
    world.success("e.test");
    world.live(A_DAY).await;
    let mut told = world.told();
    told.sort_unstable();
    assert_eq!(told, ["dropped", "sent", "skipped", "skipped", "skipped"]);
    assert_eq!(world.outside.mailed.lock().len(), 1);
}

#[tokio::test]
async fn b1_09_one_acceptance_is_enough() {
    let world = World::new();
    world.publish(
        "d.test",
        "v=TLSRPTv1; rua=https://a.test/,https://b.test/,https://c.test/",
    );
    world.success("d.test");
    world.outside.posts_fail.lock().push_back("HTTP status 500");
    world.live(Duration::from_hours(48)).await;
    let urls: Vec<String> = {
        let posted = world.outside.posted.lock();
        posted.iter().map(|(url, _, _)| url.clone()).collect()
    };
    assert_eq!(urls, ["https://a.test/", "https://b.test/"]);
    assert_eq!(world.told(), ["sent"]);
}

#[tokio::test]
async fn b1_11_a_look_up_that_fails_is_tried_again() {
    let world = World::new();
    world.publish("d.test", HTTPS);
    world.success("d.test");
    let servfail = &world.outside.servfail;
    servfail.store(3, std::sync::atomic::Ordering::Relaxed);
    world.live(Duration::from_hours(30)).await;
    assert_eq!(world.told(), ["deferred", "deferred", "deferred", "sent"]);
    assert_eq!(world.outside.asked.lock().len(), 4);
}

#[tokio::test]
async fn b4_01_b4_03_a_session_counts_once_in_the_day_in_which_it_began() {
    let world = World::new();
    let midnight = day().end();
    world.go_to(midnight - Duration::from_millis(100));
    world.success("d.test");
    world.go_to(midnight + Duration::from_millis(100));
    world.success("d.test");
    // Of one that lasts some minutes the end comes after midnight.
    let views = world.list();
    let counts: Vec<_> = views.iter().map(|v| (v.day, v.successes)).collect();
    assert_eq!(counts, [(day(), 1), (day().next(), 1)]);
    world.live(A_DAY * 3).await;
    let total: u64 = world.list().iter().map(|view| view.successes).sum();
    assert_eq!(total, 2);
}

#[tokio::test]
async fn b4_03_what_comes_after_the_close_is_counted_with_the_next_day() {
    let world = World::new();
    world.success("d.test");
    world.live(Duration::from_hours(13)).await;
    let late = tls_rpt::Finding {
        at: day().end() - Duration::from_secs(1),
        domain: "d.test",
        policy: tls_rpt::Policy::NoPolicyFound,
        failure: None,
    };
    world.reports.note(&late);
    let views = world.list();
    let counts: Vec<_> = views.iter().map(|v| (v.day, v.successes)).collect();
    assert_eq!(counts, [(day(), 1), (day().next(), 1)]);
}

#[tokio::test]
async fn b4_02_reports_are_spread_over_four_hours() {
    let world = World::new();
    for n in 0..200 {
        world.success(&format!("d{n}.test"));
    }
    world.go_to(day().end() + Duration::from_mins(11));
    world.pass().await;
    let mut next: Vec<_> = world.list().iter().filter_map(|v| v.next_attempt).collect();
    next.sort_unstable();
    let (first, last) = (next[0], next[next.len() - 1]);
    assert!(last <= day().end() + Duration::from_hours(4));
    assert!(
        last.since(first) > Duration::from_hours(3),
        "{first} {last}"
    );
}

#[tokio::test]
async fn b4_14_without_a_key_mail_is_not_used_and_https_is() {
    let world = World::new();
    let options = Options {
        by_mail: false,
        ..options()
    };
    world.reports.reconfigure(options);
    world.publish("d.test", "v=TLSRPTv1; rua=mailto:a@d.test,https://r.test/");
    world.publish("e.test", MAILTO);
    world.success("d.test");
    world.success("e.test");
    world.live(A_DAY).await;
    assert!(world.outside.mailed.lock().is_empty());
    assert_eq!(world.outside.posted.lock().len(), 1);
    let list = world.list();
    let dropped = list.iter().find(|v| v.domain == "e.test").unwrap();
    assert_eq!(dropped.state, State::Dropped);
    assert!(dropped.detail.as_deref().unwrap().contains("DKIM key"));
}

#[tokio::test]
async fn b4_18_b4_19_mail_goes_from_the_contact_to_the_address_once() {
    let world = World::new();
    world.publish("d.test", MAILTO);
    world.success("d.test");
    world.live(A_DAY).await;
    let mailed = world.outside.mailed.lock().clone();
    assert_eq!(mailed.len(), 1);
    let (from, to, text) = &mailed[0];
    assert_eq!((&**from, &**to), ("tls@example.test", "tls@d.test"));
    let id = world.list()[0].report_id.clone().unwrap();
    assert!(text.contains("TLS-Report-Domain: d.test\r\n"), "{text}");
    let unfolded = text.replace("\r\n ", "").replace("\r\n\t", "");
    assert!(unfolded.replace(' ', "").contains(&id), "{text}");
}

#[tokio::test]
async fn b1_11_name_servers_that_are_not_believed_cost_no_report() {
    use std::sync::atomic::Ordering::Relaxed;
    let world = World::new();
    world.success("d.test");
    world.success("none.test");
    world.outside.doubted.store(true, Relaxed);
    world.live(Duration::from_hours(17)).await;
    assert!(world.list().iter().all(|view| view.state == State::Pending));
    world.outside.doubted.store(false, Relaxed);
    world.publish("d.test", HTTPS);
    world.live(A_DAY).await;
    let list = world.list();
    let states: Vec<_> = list.iter().map(|v| (&*v.domain, v.state)).collect();
    let expected = [("d.test", State::Sent), ("none.test", State::Dropped)];
    assert_eq!(states, expected);
}

#[tokio::test]
async fn b4_17_a_report_is_no_reason_for_another_one() {
    let world = World::new();
    world.publish("d.test", MAILTO);
    world.success("d.test");
    let mut mails = 0;
    // The policy is fetched for each report by mail, and refreshed now and then; both fail.
    for _ in 0..5 {
        world.fetch_failed("d.test");
        world.live(A_DAY).await;
        mails = world.outside.mailed.lock().len();
    }
    assert_eq!(mails, 1, "of the day with a session");
    assert_eq!(world.outside.asked.lock().len(), 1);
    assert_eq!(world.told(), ["sent"]);
    let list = world.list();
    let dropped = list.iter().find(|v| v.state == State::Dropped).unwrap();
    assert_eq!((dropped.successes, dropped.failures), (0, 1));
    assert!(dropped.detail.as_deref().unwrap().contains("no session"));
    // With a session the fetches of the day are told as well.
    world.fetch_failed("d.test");
    world.failure("d.test");
    world.live(A_DAY * 2).await;
    let text = world.outside.mailed.lock()[1].2.clone();
    assert!(text.contains("TLS-Report-Domain: d.test"));
    let last = world.list().pop().unwrap();
    assert_eq!((last.state, last.failures), (State::Sent, 2));
}

#[tokio::test]
async fn b4_07_b4_20_the_media_type_says_what_is_sent() {
    let world = World::new();
    world.publish("d.test", HTTPS);
    world.success("d.test");
    world.live(A_DAY).await;
    let mut plain = options();
    if let Some(identity) = &mut plain.identity {
        identity.gzip = false;
    }
    world.reports.reconfigure(plain);
    world.success("d.test");
    world.live(A_DAY * 2).await;
    let posted = world.outside.posted.lock().clone();
    assert_eq!(posted.len(), 2);
    assert_eq!(posted[0].1, "application/tlsrpt+gzip");
    assert_eq!(posted[0].2[..2], [0x1f, 0x8b]);
    assert_eq!(posted[1].1, "application/tlsrpt+json");
    let json: serde_json::Value = serde_json::from_slice(&posted[1].2).unwrap();
    assert_eq!(json["policies"][0]["policy"]["policy-domain"], "d.test");
    let shown = world.reports.show(day().next(), "D.test");
    assert_eq!(shown, Some(json), "as it was sent");
}

#[tokio::test]
async fn b4_21_b4_23_it_is_tried_for_a_day_and_dropped_once() {
    let world = World::new();
    world.publish("d.test", HTTPS);
    world.success("d.test");
    *world.outside.always_fails.lock() = Some("HTTP status 503");
    world.live(Duration::from_hours(72)).await;
    let told = world.told();
    assert_eq!(told.iter().filter(|name| **name == "dropped").count(), 1);
    assert_eq!(told.last(), Some(&"dropped"));
    let attempts = world.outside.posted.lock().len();
    assert!((6..20).contains(&attempts), "{attempts}");
    let view = world.list().remove(0);
    assert_eq!(view.state, State::Dropped);
    assert!(view.detail.unwrap().contains("503"));
    let last = view.at.unwrap();
    assert!(last > day().end() + Duration::from_hours(18), "{last}");
    assert!(last < day().end() + Duration::from_hours(29), "{last}");
}

#[tokio::test]
async fn b4_25_a_host_that_thousands_name_gets_no_more_than_so_many_in_a_day() {
    let world = World::new();
    for n in 0..PER_DAY + 50 {
        let domain = format!("d{n}.test");
        world.publish(&domain, "v=TLSRPTv1; rua=mailto:victim@v.test");
        world.success(&domain);
    }
    world.live(Duration::from_hours(20)).await;
    let sent = world.outside.mailed.lock().len();
    assert_eq!(sent, usize::try_from(PER_DAY).unwrap());
    let filter = ListFilter {
        state: Some(State::Dropped),
        ..ListFilter::default()
    };
    assert_eq!(world.reports.list(&filter).len(), 50);
}

#[tokio::test]
async fn b4_25_a_host_that_fails_is_left_alone_for_a_while() {
    let world = World::new();
    for n in 0..100 {
        let domain = format!("d{n}.test");
        world.publish(&domain, HTTPS);
        world.success(&domain);
    }
    *world.outside.always_fails.lock() = Some("HTTP status 503");
    world.go_to(day().end() + Duration::from_mins(11));
    let _ = world.reports.turn(day().end() + Duration::from_mins(11));
    world.go_to(day().end() + Duration::from_hours(5));
    world.pass().await;
    world.pass().await;
    assert_eq!(
        world.outside.posted.lock().len(),
        1,
        "not one after the other"
    );
    *world.outside.always_fails.lock() = None;
    world.live(Duration::from_hours(10)).await;
    assert!(world.list().iter().all(|view| view.state == State::Sent));
}

#[tokio::test]
async fn what_is_skipped_is_told_once_however_long_the_rest_waits() {
    let world = World::new();
    for n in 0..20 {
        let domain = format!("d{n}.test");
        world.publish(&domain, "v=TLSRPTv1; rua=http://r.test/,https://r.test/");
        world.success(&domain);
    }
    *world.outside.always_fails.lock() = Some("HTTP status 503");
    world.live(Duration::from_hours(30)).await;
    let told = world.told();
    assert!(told.iter().filter(|name| **name == "skipped").count() <= 20);
    assert!(told.contains(&"skipped"));
}

#[tokio::test]
async fn what_is_asked_for_is_sent_at_once() {
    let world = World::new();
    world.publish("d.test", HTTPS);
    world.success("d.test");
    world.go_to(day().end() + Duration::from_secs(1));
    world.success("d.test");
    let only = |domain| ListFilter {
        domain: Some(domain),
        ..ListFilter::default()
    };
    assert_eq!(world.reports.send_now(&only("other.test")).unwrap(), 0);
    assert_eq!(
        world.reports.send_now(&only("d.test")).unwrap(),
        1,
        "not today's"
    );
    world.pass().await;
    assert_eq!(world.outside.posted.lock().len(), 1);
    assert_eq!(
        world.reports.send_now(&only("d.test")).unwrap(),
        0,
        "it is sent"
    );
}

#[tokio::test]
async fn what_is_switched_off_counts_and_sends_nothing() {
    let world = World::new();
    world.publish("d.test", HTTPS);
    world.success("d.test");
    world.reports.reconfigure(Options::default());
    world.success("e.test");
    world.live(A_DAY).await;
    assert!(world.outside.asked.lock().is_empty());
    let domains: Vec<_> = world.list().into_iter().map(|v| v.domain).collect();
    assert_eq!(domains, ["d.test"]);
    world.reports.reconfigure(options());
    world.pass().await;
    assert_eq!(world.told(), ["sent"]);
}
