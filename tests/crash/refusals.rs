//! Data directories that something is wrong with: a clear line each, and a start whenever any mail
//! can still be saved.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sealpost_tests::Daemon;
use testkit::{Action, Rule};

use crate::load::Session;
use crate::mounts::{
    Image, is_whole_machines_root, not_run, remount_read_only, remount_writable, tmpfs, unmount,
};
use crate::peers::Peers;
use crate::site::{Site, Started};

testkit::net_test! {
    async fn h6_05_a_flipped_bit_costs_one_message_at_most_and_is_told() {
        let (peers, site) = (Peers::start().await, Site::new(&waiting()));
        busy(&peers);
        let mut daemon = filled(&site, 20).await;
        daemon.kill();
        // In the content of one message, in the middle of the segment.
        let segment = segments(&site).into_iter().max_by_key(|p| p.metadata().unwrap().len());
        let segment = segment.unwrap();
        let mut bytes = std::fs::read(&segment).unwrap();
        let needle = b"content of number 7 ";
        let at = bytes.windows(needle.len()).position(|w| w == needle).unwrap();
        bytes[at] ^= 0x20;
        std::fs::write(&segment, bytes).unwrap();
        peers.taken.behave();
        // With the index, and once more without it.
        std::fs::remove_dir_all(site.data().join("queue/index")).unwrap();
        let mut daemon = site.start().await;
        site.retried(Duration::from_secs(60), || peers.taken.messages().len() >= 19).await;
        let told = sealpost_tests::eventually(Duration::from_secs(20), async || {
            let events = site.events();
            let mut about = events.iter().filter(|e| e.text("to") == "u7@d.test");
            about.any(|e| e.text("reason") == "local").then_some(())
        });
        assert!(told.await.is_some(), "{}", site.story());
        let alone = sealpost_tests::eventually(Duration::from_secs(20), async || {
            let left = site.ok(&["queue", "list", "--json"]).await;
            (left.lines().count() == 1 && left.contains("u7@d.test")).then_some(())
        });
        assert!(alone.await.is_some(), "{}", site.story());
        assert!(!site.events().iter().any(|e| e.is("destination.suspended")), "{}", site.story());
        daemon.kill();
    }

    async fn h6_05_a_damaged_record_is_quarantined_and_told_and_the_rest_is_served() {
        let (peers, site) = (Peers::start().await, Site::new(&waiting()));
        busy(&peers);
        let mut daemon = filled(&site, 20).await;
        daemon.kill();
        let segment = segments(&site).into_iter().max_by_key(|p| p.metadata().unwrap().len());
        let segment = segment.unwrap();
        let mut bytes = std::fs::read(&segment).unwrap();
        // The envelope of one message, whose record header stays as it is.
        let needle = b"u7@d.test";
        let at = bytes.windows(needle.len()).position(|w| w == needle);
        let at = at.unwrap_or_else(|| {
            let needle = b"d.test";
            bytes.windows(needle.len()).position(|w| w == needle).unwrap()
        });
        bytes[at] ^= 0x01;
        std::fs::write(&segment, bytes).unwrap();
        std::fs::remove_dir_all(site.data().join("queue/index")).unwrap();
        peers.taken.behave();
        let mut daemon = site.start().await;
        site.retried(Duration::from_secs(60), || peers.taken.messages().len() >= 19).await;
        site.drained(Duration::from_secs(30)).await;
        let printed = site.printed();
        assert!(printed.contains("quarantine"), "{printed}");
        let (_, metrics) = site.page("/metrics").await.unwrap();
        let damaged = metrics.lines().find(|l| l.starts_with("sealpost_damaged_records"));
        assert!(damaged.is_some_and(|line| !line.ends_with(" 0")), "{damaged:?}");
        let copies = std::fs::read_dir(site.data().join("queue/journal/quarantine")).unwrap();
        assert!(copies.count() > 0);
        daemon.kill();
    }

    async fn h6_11_data_of_a_newer_version_is_refused_by_name_and_left_alone() {
        let (peers, site) = (Peers::start().await, Site::new(&waiting()));
        busy(&peers);
        let mut daemon = filled(&site, 1).await;
        daemon.kill();
        let format = site.data().join("queue/FORMAT");
        std::fs::write(&format, "sealpost-queue 99\n").unwrap();
        let before = names(&site);
        let said = refused(&site, &[], 74).await;
        assert!(said.contains("99") && said.contains('1') && said.contains("newer"), "{said}");
        assert_eq!(names(&site), before, "nothing was written");
        // With the right program again, all is there.
        std::fs::write(&format, "sealpost-queue 1\n").unwrap();
        let mut daemon = site.start().await;
        assert_eq!(site.ok(&["queue", "list", "--json"]).await.lines().count(), 1);
        daemon.kill();
    }

    async fn an_index_that_is_none_of_ours_is_rebuilt_and_said_so() {
        let (peers, site) = (Peers::start().await, Site::new(&waiting()));
        busy(&peers);
        let mut daemon = filled(&site, 9).await;
        daemon.kill();
        for damage in ["future", "empty"] {
            let index = site.data().join("queue/index");
            match damage {
                // sled says its version in `conf`.
                "future" => std::fs::write(index.join("conf"), "version: 77.0\n").unwrap(),
                _ => std::fs::write(index.join("db"), "").unwrap(),
            }
            let mut daemon = site.start().await;
            let listed = sealpost_tests::eventually(Duration::from_secs(20), async || {
                let listed = site.cli(&["queue", "list", "--json"]).await;
                (listed.stdout.lines().count() == 9).then_some(())
            });
            assert!(listed.await.is_some(), "{damage}: {}", site.story());
            // An empty file is to sled a new index: nothing is wrong with it, and all is read into it.
            if damage == "future" {
                let said = site.printed().contains("index is rebuilt from the journal");
                assert!(said, "{}", site.printed());
            }
            daemon.kill();
        }
    }

    async fn h6_09_a_read_only_file_system_is_named() {
        let (peers, site) = (Peers::start().await, Site::new(&waiting()));
        busy(&peers);
        tmpfs(&site.data(), "64m");
        let mut daemon = filled(&site, 3).await;
        daemon.kill();
        remount_read_only(&site.data());
        let said = refused(&site, &[], 78).await;
        let path = site.data().display().to_string();
        assert!(said.contains(&path) && said.contains("Read-only"), "{said}");
        remount_writable(&site.data());
        let mut daemon = site.start().await;
        assert_eq!(site.ok(&["queue", "list", "--json"]).await.lines().count(), 3);
        daemon.kill();
    }

    async fn h6_09_a_file_system_that_turns_read_only_in_use_stops_the_relay_and_loses_nothing() {
        let (peers, site) = (Peers::start().await, Site::new(&waiting()));
        busy(&peers);
        let mounted = Image::make(&site.path().join("disk.img"), 96)
            .and_then(|image| image.mount(&site.data()).map(|()| image));
        let image = match mounted {
            Ok(image) => image,
            Err(why) => return not_run("an ext4 that turns read-only", &why),
        };
        let mut daemon = filled(&site, 5).await;
        // As ext4 does when it finds itself damaged.
        break_file_system(&site);
        let mut session = Session::open().await.unwrap();
        let answer = session.message("a@org.test", "late@d.test", b"Subject: x\r\n\r\nx\r\n").await;
        assert!(answer.as_ref().is_ok_and(|(code, _)| (400..500).contains(code)), "{answer:?}");
        let status = daemon.wait(Duration::from_secs(20)).await;
        assert_eq!(status.code(), Some(74), "{}", site.story());
        let said = refused(&site, &[], 78).await;
        assert!(said.contains("Read-only"), "{said}");
        unmount(&site.data());
        image.check();
        image.mount(&site.data()).unwrap();
        let mut daemon = site.start().await;
        assert_eq!(site.ok(&["queue", "list", "--json"]).await.lines().count(), 5);
        daemon.kill();
        unmount(&site.data());
    }

    async fn a_data_directory_of_another_user_is_named() {
        if !is_whole_machines_root() {
            return not_run("a data directory of another user", "changing users needs root");
        }
        let (peers, site) = (Peers::start().await, Site::new(&waiting()));
        busy(&peers);
        let mut daemon = filled(&site, 2).await;
        daemon.kill();
        // Its files in the folder that holds them all must not be what stops it.
        for file in ["", "events.log", "output"] {
            let file = site.path().join(file);
            std::os::unix::fs::chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        // The program itself may lie where only root may go.
        let binary = std::fs::canonicalize(sealpost_tests::sealpost_binary()).unwrap();
        let reachable = binary.ancestors().skip(1).all(|folder| {
            folder.metadata().is_ok_and(|m| m.permissions().mode() & 0o001 != 0)
        });
        if !reachable {
            return not_run("a data directory of another user", "others may not enter the target directory");
        }
        let through = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        let through: Vec<String> = through.iter().map(|s| (*s).to_owned()).collect();
        let said = refused(&site, &through, 78).await;
        let path = site.data().display().to_string();
        assert!(said.contains(&path) && said.contains("Permission denied"), "{said}");
        let mut daemon = site.start().await;
        assert_eq!(site.ok(&["queue", "list", "--json"]).await.lines().count(), 2);
        daemon.kill();
    }
}

/// Mail waits: the first attempt fails, or is far away.
fn waiting() -> sealpost_tests::RelayConfig {
    Peers::config().set("queue.retry", "[\"1h\"]")
}

/// The peer takes nothing for now.
fn busy(peers: &Peers) {
    let reply = Action::Reply("451 4.3.2 not now".into());
    peers.taken.rule(Rule::always("MAIL", reply));
}

/// A relay with so many waiting messages, `content of number N` each, to `uN@d.test`.
async fn filled(site: &Site, messages: usize) -> Daemon {
    let daemon = site.start().await;
    let mut session = Session::open().await.unwrap();
    for n in 0..messages {
        let body = format!("Subject: {n}\r\n\r\ncontent of number {n} ends\r\n");
        let to = format!("u{n}@d.test");
        let answer = session.message("a@org.test", &to, body.as_bytes()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.0, 250, "{answer:?}");
    }
    daemon
}

/// Runs it to its end, which has to come by itself: the one line that it says.
async fn refused(site: &Site, through: &[String], code: i32) -> String {
    let before = site.printed().len();
    let Started::Ended(status) = site.settled(site.spawn(through)).await else {
        panic!("it serves:\n{}", site.story());
    };
    let printed = site.printed().split_off(before);
    assert_eq!(status.code(), Some(code), "{printed}");
    let lines: Vec<&str> = printed
        .lines()
        .filter(|l| l.starts_with("sealpost: "))
        .collect();
    assert_eq!(lines.len(), 1, "{printed}");
    assert!(!printed.contains("panicked"), "{printed}");
    lines[0].to_owned()
}

fn segments(site: &Site) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(site.data().join("queue/journal")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|p| p.extension().is_some_and(|e| e == "seg"))
        .collect()
}

/// Every file of the stores, with its size and when it was changed.
fn names(site: &Site) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
    let mut all = Vec::new();
    let mut folders = ["queue", "policies", "delivery"]
        .map(|store| site.data().join(store))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                all.push((entry.path(), metadata.len(), metadata.modified().ok()));
            }
        }
    }
    all.sort();
    all
}

fn break_file_system(site: &Site) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let data = site.data().display().to_string();
    let line = mounts
        .lines()
        .find(|l| l.split(' ').nth(1) == Some(&data))
        .unwrap();
    let device = line
        .split(' ')
        .next()
        .unwrap()
        .trim_start_matches("/dev/")
        .to_owned();
    let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
    std::fs::write(&trigger, "a test").unwrap();
}

const NOBODY: u32 = 65_534;
