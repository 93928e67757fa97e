//! Power cuts at each step, and files that are damaged (row B4-04).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use journal::SimulatedDisk;

use super::world::{DIR, World, day};
use crate::run::AT_ONCE;
use crate::{ListFilter, NotNow, State};

const RECORD: &str = "v=TLSRPTv1; rua=https://r.test/x";

fn file(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// One day of a relay, from its counts to the report; each file operation is one in which the power may go.
async fn a_day(world: &World) {
    world.publish("d.test", RECORD);
    world.pass().await;
    world.success("d.test");
    world.pass().await;
    world.success("d.test");
    world.go_to(day().end() + Duration::from_mins(11));
    world.pass().await;
    world.go_to(day().end() + Duration::from_hours(5));
    world.pass().await;
}

#[tokio::test]
async fn b4_04_a_power_cut_at_any_step_neither_loses_a_closed_day_nor_repeats_what_is_noted() {
    let noon = day().begin() + Duration::from_hours(12);
    let whole = SimulatedDisk::new(1);
    let (world, _) = World::on(&whole, noon);
    a_day(&world).await;
    assert_eq!(world.told(), ["sent"]);
    let steps = whole.operations();
    assert!(steps > 10, "{steps}");
    for step in 1..=steps {
        let disk = SimulatedDisk::new(step);
        let (world, _) = World::on(&disk, noon);
        disk.power_off_at(step);
        a_day(&world).await;
        let closed = disk.content(&file("2026-03-01.outcomes")).is_some();
        let (sent, id) = {
            let events = world.outside.events.lock();
            (events.len(), events.first().map(|e| e.report_id.clone()))
        };
        let after = disk.power_cut();
        let (world, troubles) = World::with(&after, Arc::clone(&world.outside));
        assert!(troubles.is_empty(), "{step}: {troubles:?}");
        world.live(Duration::from_hours(48)).await;
        let list = world.list();
        if closed && sent == 0 {
            assert_eq!(list.len(), 1, "{step}: the closed day is there");
        }
        // Of a session after the last write nothing may be left; then there is no report either.
        let Some(view) = list.first() else {
            continue;
        };
        assert_eq!(view.state, State::Sent, "{step}");
        assert!(view.successes >= 1, "{step}");
        let events = world.outside.events.lock();
        assert!(events.len() <= 2, "{step}: {events:?}");
        if let Some(id) = id {
            let same = events.iter().all(|event| event.report_id == id);
            assert!(same, "{step}: {events:?}");
        }
    }
}

#[tokio::test]
async fn b4_04_after_a_restart_nothing_is_sent_again() {
    let disk = SimulatedDisk::new(1);
    let noon = day().begin() + Duration::from_hours(12);
    let (world, _) = World::on(&disk, noon);
    world.publish("f.test", "v=TLSRPTv1; rua=https://f.test/");
    world.success("f.test");
    *world.outside.always_fails.lock() = Some("HTTP status 500");
    a_day(&world).await;
    *world.outside.always_fails.lock() = None;
    let before = world.list();
    assert!(before.iter().all(|view| view.state == State::Pending));
    let (world, troubles) = World::with(&disk, Arc::clone(&world.outside));
    assert!(troubles.is_empty());
    assert_eq!(world.list(), before, "attempts, times and ids are known");
    let in_vain = world.outside.posted.lock().len();
    // The last attempt is at the end of 24 hours after the first at the latest, that was in the night.
    world.live(Duration::from_hours(20)).await;
    let posted = world.outside.posted.lock().len();
    assert_eq!(posted, in_vain + before.len());
    let sent = world.list();
    let (world, _) = World::with(&disk, Arc::clone(&world.outside));
    world.live(Duration::from_hours(48)).await;
    assert_eq!(world.outside.posted.lock().len(), posted);
    assert_eq!(world.list(), sent);
}

#[tokio::test]
async fn b4_04_a_torn_line_is_forgiven_and_the_next_one_stands_by_itself() {
    let disk = SimulatedDisk::new(1);
    let (world, _) = World::on(&disk, day().begin());
    *world.outside.always_fails.lock() = Some("HTTP status 500");
    a_day(&world).await;
    *world.outside.always_fails.lock() = None;
    let path = file("2026-03-01.outcomes");
    let mut bytes = disk.content(&path).unwrap();
    bytes.truncate(bytes.len() - 5);
    disk.set_content(&path, bytes);
    let (world, troubles) = World::with(&disk, Arc::clone(&world.outside));
    assert!(troubles.is_empty(), "{troubles:?}");
    world.live(Duration::from_hours(1)).await;
    let (world, troubles) = World::with(&disk, Arc::clone(&world.outside));
    assert!(troubles.is_empty(), "{troubles:?}");
    assert_eq!(world.list()[0].state, State::Sent);
}

#[tokio::test]
async fn b4_04_what_is_damaged_is_moved_aside_and_told_and_the_rest_goes_on() {
    let disk = SimulatedDisk::new(1);
    let (world, _) = World::on(&disk, day().begin());
    *world.outside.always_fails.lock() = Some("HTTP status 500");
    a_day(&world).await;
    world.success("e.test");
    world.pass().await;
    for name in ["node", "2026-03-02.counts", "2026-03-01.outcomes"] {
        let mut bytes = disk.content(&file(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x80;
        disk.set_content(&file(name), bytes);
    }
    *world.outside.always_fails.lock() = None;
    let (world, troubles) = World::with(&disk, Arc::clone(&world.outside));
    assert_eq!(troubles.len(), 3, "{troubles:?}");
    for trouble in &troubles {
        let aside = format!("{}.damaged", trouble.file.display());
        assert!(disk.content(Path::new(&aside)).is_some(), "{aside}");
        assert!(trouble.detail.contains(&aside), "{}", trouble.detail);
    }
    world.live(Duration::from_hours(6)).await;
    let sent = world.list();
    let sent = sent.iter().filter(|view| view.state == State::Sent);
    assert_eq!(sent.count(), 1, "the closed day's report");
    let (_, troubles) = World::with(&disk, Arc::clone(&world.outside));
    assert!(troubles.is_empty(), "told once: {troubles:?}");
}

#[tokio::test]
async fn old_days_are_forgotten_and_pending_ones_are_not() {
    let disk = SimulatedDisk::new(1);
    let (world, _) = World::on(&disk, day().begin());
    a_day(&world).await;
    world.go_on(Duration::from_hours(24 * 29));
    world.pass().await;
    assert_eq!(world.list().len(), 1);
    world.go_on(Duration::from_hours(48));
    world.pass().await;
    assert!(world.list().is_empty());
    assert!(disk.content(&file("2026-03-01.counts")).is_none());
}

#[tokio::test]
async fn b4_04_a_day_that_ended_while_the_relay_was_off_is_sent_after_the_start() {
    let disk = SimulatedDisk::new(1);
    let (world, _) = World::on(&disk, day().begin());
    world.publish("d.test", RECORD);
    world.success("d.test");
    world.pass().await;
    world.go_on(Duration::from_hours(24 * 12));
    let (world, _) = World::with(&disk, Arc::clone(&world.outside));
    world.pass().await;
    assert!(world.told().is_empty(), "not all at once at the start");
    world.live(Duration::from_hours(5)).await;
    assert_eq!(world.told(), ["sent"]);
}

#[tokio::test]
async fn b4_01_a_day_that_a_wrong_clock_has_closed_misdates_no_other() {
    let disk = SimulatedDisk::new(1);
    let noon = day().begin() + Duration::from_hours(12);
    let far: tls_rpt::Day = "2036-01-01".parse().unwrap();
    let (world, _) = World::on(&disk, noon);
    world.publish("d.test", RECORD);
    world.go_to(far.begin());
    world.success("d.test");
    world.go_to(far.end() + Duration::from_mins(11));
    world.pass_of(0).await;
    world.go_to(noon);
    let days = |world: &World| -> Vec<_> { world.list().iter().map(|v| v.day).collect() };
    world.success("d.test");
    assert_eq!(days(&world), [day(), far]);
    world.pass().await;
    let (world, troubles) = World::with(&disk, Arc::clone(&world.outside));
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    assert!(
        troubles[0].detail.contains("2036-01-01"),
        "{}",
        troubles[0].detail
    );
    world.live(Duration::from_hours(24)).await;
    world.success("d.test");
    assert_eq!(days(&world), [day(), day().next()]);
    world.live(Duration::from_hours(24)).await;
    assert_eq!(world.told(), ["sent", "sent"]);
    let day_of = |e: &crate::ReportEvent| e.day;
    let sent: Vec<_> = world.outside.events.lock().iter().map(day_of).collect();
    assert_eq!(sent, [day(), day().next()]);
    assert!(disk.content(&file("2036-01-01.counts")).is_some());
}

#[tokio::test]
async fn b4_04_while_the_disk_does_not_take_what_became_of_reports_no_more_are_sent() {
    let disk = SimulatedDisk::new(1);
    let (world, _) = World::on(&disk, day().begin());
    let all = 4 * AT_ONCE;
    for n in 0..all {
        let domain = format!("d{n}.test");
        world.publish(&domain, "v=TLSRPTv1; rua=mailto:tls@r.test");
        world.success(&domain);
    }
    world.go_to(day().end() + Duration::from_mins(11));
    world.pass_of(0).await;
    world.go_to(day().end() + Duration::from_hours(5));
    disk.set_free(Some(0));
    for _ in 0..10 {
        world.pass_of(AT_ONCE).await;
        world.go_on(Duration::from_mins(1));
    }
    assert_eq!(world.outside.mailed.lock().len(), AT_ONCE);
    disk.set_free(None);
    for _ in 0..4 {
        world.pass_of(AT_ONCE).await;
    }
    assert_eq!(world.outside.mailed.lock().len(), all, "each once");
    let (world, _) = World::with(&disk, Arc::clone(&world.outside));
    assert!(world.list().iter().all(|view| view.state == State::Sent));
}

#[tokio::test]
async fn who_asks_for_reports_at_once_learns_that_the_day_cannot_be_closed() {
    let disk = SimulatedDisk::new(1);
    let (world, _) = World::on(&disk, day().begin());
    world.success("d.test");
    world.pass().await;
    world.go_to(day().end() + Duration::from_secs(1));
    disk.set_free(Some(0));
    let result = world.reports.send_now(&ListFilter::default());
    assert!(matches!(result, Err(NotNow::Disk(_))), "{result:?}");
    disk.set_free(None);
    let due = world.reports.send_now(&ListFilter::default());
    assert_eq!(due.unwrap(), 1);
}
