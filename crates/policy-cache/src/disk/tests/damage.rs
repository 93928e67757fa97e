//! Damage to the journal, to the index, to both: what one has lost the other has, and what neither
//! has is never passed over in silence.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::contact::Contact;
use crate::discovery::{LocalRules, Order, Pin};

const DOMAINS: [&str; 5] = ["a.test", "b.test", "c.test", "d.test", "e.test"];

/// Five policies (one renewed, one large), one forgotten, a pin, a failed look-up.
async fn fill(disk: &Disk) {
    let mut seq = 0;
    let mut next = || {
        seq += 1;
        seq
    };
    for (n, name) in DOMAINS.into_iter().enumerate() {
        let pad = if n == 3 { 20_000 } else { 400 };
        let row = Row::Policy(policy(name, &text(pad), 1));
        disk.append(&row, next()).await.unwrap();
    }
    let renewed = Row::Renewed(policy("c.test", &text(400), 77));
    disk.append(&renewed, next()).await.unwrap();
    let gone = Row::Policy(policy("gone.test", &text(400), 1));
    disk.append(&gone, next()).await.unwrap();
    let forgotten = Row::Forgotten(Domain::parse("gone.test").unwrap());
    disk.append(&forgotten, next()).await.unwrap();
    let pinned = Row::Local(Domain::parse("pin.test").unwrap(), rules());
    disk.append(&pinned, next()).await.unwrap();
    let at = Timestamp::from_secs(5);
    let contact = Contact {
        since: at,
        last: at,
        failures: 2,
        opened: None,
    };
    let failing = Row::Contact(Domain::parse("dns.test").unwrap(), Some(contact));
    disk.append(&failing, next()).await.unwrap();
}

fn rules() -> LocalRules {
    LocalRules {
        pin: Some(Pin {
            mx: vec![mta_sts::MxPattern::parse("mx.pin.test").unwrap()],
            order: Order {
                by: "root".into(),
                reason: "bank".into(),
                at: Timestamp::from_secs(5),
            },
        }),
        exemption: None,
    }
}

/// Everything is there, and nothing that was forgotten.
fn check(loaded: &Loaded, what: &str) {
    let want: Vec<_> = DOMAINS
        .iter()
        .map(|name| ((*name).to_owned(), if *name == "c.test" { 77 } else { 1 }))
        .collect();
    assert_eq!(policies(loaded), want, "{what}");
    let of = |name: &str| &loaded.domains[&Domain::parse(name).unwrap()];
    assert_eq!(of("pin.test").local.1, Some(rules()), "{what}");
    assert_eq!(of("dns.test").contact.1.unwrap().failures, 2, "{what}");
    let large = of("d.test").policy.as_ref().unwrap();
    assert_eq!(large.1.policy.text(), text(20_000), "{what}");
}

/// A store with everything in it, as a crash leaves it: nothing was closed in order, but the index
/// had the time to follow.
async fn crashed() -> tempfile::TempDir {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (disk, _) = open(dir.path());
    fill(&disk).await;
    settle(&disk);
    copy(dir.path(), image.path());
    image
}

/// The same after an orderly end.
async fn stopped() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (disk, _) = open(dir.path());
    fill(&disk).await;
    drop(disk);
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn image(of: &tempfile::TempDir) -> tempfile::TempDir {
    let image = tempfile::tempdir().unwrap();
    copy(of.path(), image.path());
    image
}

/// The segment file that has a text in it.
fn segment_with(dir: &Path, what: &[u8]) -> PathBuf {
    let files = fs::read_dir(dir.join("journal")).unwrap();
    let mut files = files.map(|e| e.unwrap().path()).filter(|p| p.is_file());
    let has = |p: &PathBuf| fs::read(p).unwrap().windows(what.len()).any(|w| w == what);
    files.find(has).unwrap()
}

fn flip(file: &Path, at: usize, bit: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1 << (bit % 8);
    fs::write(file, bytes).unwrap();
}

fn database(dir: &Path) -> PathBuf {
    dir.join("index/db")
}

#[tokio::test]
async fn h6_14_an_index_that_is_gone_or_damaged_is_rebuilt_and_loses_nothing() {
    let cut = |dir: &Path, thirds: u64| {
        let db = fs::File::options().write(true).open(database(dir)).unwrap();
        db.set_len(db.metadata().unwrap().len() * thirds / 3)
            .unwrap();
    };
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let kinds: [Damage<'_>; 6] = [
        ("deleted", &|d| fs::remove_dir_all(d.join("index")).unwrap()),
        ("emptied", &|d| fs::write(database(d), b"").unwrap()),
        ("cut", &|d| cut(d, 1)),
        ("cut later", &|d| cut(d, 2)),
        ("overwritten", &|d| {
            fs::write(database(d), [0xA5; 90_000]).unwrap()
        }),
        ("marked", &|d| {
            fs::write(d.join("index.suspect"), b"").unwrap()
        }),
    ];
    for stop in [crashed().await, stopped().await] {
        for (what, damage) in kinds {
            let dir = image(&stop);
            damage(dir.path());
            let (disk, loaded, repair) = open_told(dir.path());
            check(&loaded, what);
            assert_eq!(repair.journal_healed, None, "{what}");
            // Cut to a third, sled may still have had all of it: then nothing was wrong.
            assert!(
                repair.index_rebuilt.is_some() || what.starts_with("cut"),
                "{what}"
            );
            settle(&disk);
            drop(disk);
            let (_, loaded, repair) = open_told(dir.path());
            check(&loaded, what);
            assert_eq!(repair, Repair::default(), "{what}: the new one is whole");
        }
    }
}

#[tokio::test]
async fn h6_14_a_flipped_bit_anywhere_in_the_index_loses_nothing() {
    for stop in [crashed().await, stopped().await] {
        let used = fs::read(database(stop.path())).unwrap();
        let used = used.iter().rposition(|b| *b != 0).unwrap();
        for step in 0..40 {
            let dir = image(&stop);
            flip(&database(dir.path()), used * step / 40, step);
            let (_, loaded, repair) = open_told(dir.path());
            check(&loaded, &format!("bit at {step}/40"));
            assert_eq!(repair.journal_healed, None, "the journal is whole");
        }
    }
}

#[tokio::test]
async fn h6_05_h6_14_a_flipped_bit_anywhere_in_the_journal_is_healed_from_the_index() {
    for stop in [crashed().await, stopped().await] {
        let segment = segment_with(stop.path(), b"a.test");
        let len = fs::metadata(&segment).unwrap().len() as usize;
        let mut healed = 0;
        for step in 0..60 {
            let dir = image(&stop);
            let name = segment.file_name().unwrap();
            flip(
                &dir.path().join("journal").join(name),
                len * step / 60,
                step,
            );
            let (disk, loaded, repair) = open_told(dir.path());
            check(&loaded, &format!("bit at {step}/60"));
            healed += u32::from(repair.journal_healed.is_some());
            drop(disk);
            // The journal is the whole truth again, without the index.
            fs::remove_dir_all(dir.path().join("index")).unwrap();
            let (_, loaded, repair) = open_told(dir.path());
            check(&loaded, &format!("bit at {step}/60, and then no index"));
            assert_eq!(repair.journal_healed, None);
        }
        assert!(healed > 40, "{healed} of 60 were noticed");
    }
}

#[tokio::test]
async fn h6_06_a_journal_that_was_cut_short_is_healed_from_the_index() {
    for stop in [crashed().await, stopped().await] {
        let segment = segment_with(stop.path(), b"a.test");
        let len = fs::metadata(&segment).unwrap().len();
        for part in 0..8 {
            let dir = image(&stop);
            let file = dir
                .path()
                .join("journal")
                .join(segment.file_name().unwrap());
            let file = fs::File::options().write(true).open(file).unwrap();
            file.set_len(len * part / 8).unwrap();
            if part == 0 || len * part / 8 < 100 {
                continue;
            }
            let (_, loaded, repair) = open_told(dir.path());
            check(&loaded, &format!("cut to {part}/8"));
            assert!(repair.journal_healed.is_some(), "cut to {part}/8");
        }
    }
}

#[tokio::test]
async fn h6_14_a_journal_that_is_gone_is_healed_after_an_orderly_end_only() {
    let dir = stopped().await;
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let (disk, loaded, repair) = open_told(dir.path());
    check(&loaded, "healed");
    assert!(repair.journal_healed.is_some());
    drop(disk);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    check(&open(dir.path()).1, "the journal is whole again");
    // After a crash nobody knows what the index had not seen yet.
    let dir = crashed().await;
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let OpenStore::Lost(why) = open_any(dir.path()) else {
        panic!("passed over in silence")
    };
    assert!(
        why.contains("--dangerous-lose-policies") && why.contains("5 can still be read"),
        "{why}"
    );
    let disk = Arc::new(RealDisk);
    let OpenStore::Ready(_, loaded, repair) = Disk::open(dir.path(), disk, false, true).unwrap()
    else {
        panic!("told to go on")
    };
    check(&loaded, "what the index has is kept");
    assert!(repair.lost.is_some());
}

#[tokio::test]
async fn h6_14_lost_in_both_is_lost_until_told_and_then_keeps_the_rest() {
    for stop in [crashed().await, stopped().await] {
        let dir = image(&stop);
        // Where the renewal, or anything else about it, does not tell of it either.
        let segment = segment_with(dir.path(), b"b.test");
        let bytes = fs::read(&segment).unwrap();
        let at = bytes.windows(6).position(|w| w == b"b.test").unwrap();
        flip(&segment, at + 300, 0);
        fs::remove_dir_all(dir.path().join("index")).unwrap();
        for _ in 0..2 {
            let OpenStore::Lost(why) = open_any(dir.path()) else {
                panic!("a lost policy was not noticed")
            };
            assert!(why.contains("--dangerous-lose-policies"), "{why}");
        }
        let disk = Arc::new(RealDisk);
        let OpenStore::Ready(disk, loaded, repair) =
            Disk::open(dir.path(), disk, false, true).unwrap()
        else {
            panic!("told to go on")
        };
        let kept = |loaded: &Loaded| {
            policies(loaded)
                .into_iter()
                .map(|(d, _)| d)
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&loaded), ["a.test", "c.test", "d.test", "e.test"]);
        assert!(repair.lost.is_some());
        drop(disk);
        let (_, loaded, repair) = open_told(dir.path());
        assert_eq!(kept(&loaded).len(), 4, "whole again");
        assert_eq!(repair, Repair::default());
    }
}

#[tokio::test]
async fn the_last_policy_is_not_taken_for_one_that_was_never_finished() {
    for orderly in [false, true] {
        let (dir, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (disk, _) = open(dir.path());
        let row = Row::Policy(policy("only.test", &text(400), 1));
        disk.append(&row, 1).await.unwrap();
        settle(&disk);
        // The mark that follows is written with the next sync.
        disk.journal.sync().unwrap();
        if orderly {
            drop(disk);
            copy(dir.path(), left.path());
        } else {
            copy(dir.path(), left.path());
        }
        let segment = segment_with(left.path(), b"only.test");
        let bytes = fs::read(&segment).unwrap();
        let at = bytes.windows(9).position(|w| w == b"only.test").unwrap();
        flip(&segment, at + 300, 0);
        let alone = image(&left);
        fs::remove_dir_all(alone.path().join("index")).unwrap();
        assert!(
            matches!(open_any(alone.path()), OpenStore::Lost(_)),
            "orderly: {orderly}"
        );
        let (_, loaded, repair) = open_told(left.path());
        assert_eq!(policies(&loaded).len(), 1);
        assert!(repair.journal_healed.is_some());
    }
}

#[tokio::test]
async fn what_is_damaged_in_both_at_different_places_is_whole_together() {
    // The text of one policy in the journal, and an entry of another in the index.
    let dir = crashed().await;
    let segment = segment_with(dir.path(), b"b.test");
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(6).position(|w| w == b"b.test").unwrap();
    flip(&segment, at + 300, 0);
    {
        let db = sled::open(dir.path().join("index")).unwrap();
        let (key, value) = db.scan_prefix(b"rpe.test").next().unwrap().unwrap();
        let mut value = value.to_vec();
        value[50] ^= 1;
        db.insert(key, value).unwrap();
    }
    let (_, loaded, repair) = open_told(dir.path());
    check(&loaded, "each has what the other lost");
    assert!(repair.journal_healed.unwrap().contains("b.test"));
    assert!(repair.index_rebuilt.unwrap().contains("damaged"));
}

#[tokio::test]
async fn an_index_that_lags_heals_nothing_that_it_never_saw() {
    let (dir, lagging) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (disk, _) = open(dir.path());
    fill(&disk).await;
    settle(&disk);
    copy(&dir.path().join("index"), &lagging.path().join("index"));
    let late = Row::Policy(policy("late.test", &text(400), 9));
    disk.append(&late, 100).await.unwrap();
    let later = Row::Policy(policy("later.test", &text(400), 9));
    disk.append(&later, 101).await.unwrap();
    disk.journal.sync().unwrap();
    copy(&dir.path().join("journal"), &lagging.path().join("journal"));
    fs::copy(dir.path().join("FORMAT"), lagging.path().join("FORMAT")).unwrap();
    let whole = image(&lagging);
    let (_, loaded, repair) = open_told(whole.path());
    assert_eq!(policies(&loaded).len(), 7);
    assert_eq!(repair, Repair::default(), "lagging is no damage");
    let segment = segment_with(lagging.path(), b"late.test");
    let bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(9).position(|w| w == b"late.test").unwrap();
    flip(&segment, at + 300, 0);
    assert!(matches!(open_any(lagging.path()), OpenStore::Lost(_)));
}

#[tokio::test]
async fn a_store_that_was_known_and_is_not_there_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let real: Arc<dyn Storage> = Arc::new(RealDisk);
    let gone = Disk::open(dir.path(), real, true, false).unwrap();
    assert!(matches!(gone, OpenStore::Lost(_)));
    let dir = tempfile::tempdir().unwrap();
    assert!(
        matches!(open_any(dir.path()), OpenStore::Ready(..)),
        "a first start"
    );
}

#[tokio::test]
async fn a_thousand_large_policies_stay_out_of_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let large = text(65_536 - text(0).len());
    assert_eq!(large.len(), 65_536);
    let (disk, _) = open(dir.path());
    for seq in 1..=1_000u64 {
        let row = Row::Policy(policy(&format!("d{seq}.test"), &large, seq));
        disk.append(&row, seq).await.unwrap();
    }
    for seq in 1..=1_000u64 {
        let row = Row::Renewed(policy(&format!("d{seq}.test"), &large, seq + 9));
        disk.append(&row, 1_000 + seq).await.unwrap();
    }
    drop(disk);
    let blobs = fs::read_dir(dir.path().join("index/blobs")).unwrap();
    assert_eq!(blobs.count(), 0, "sled never syncs what is in there");
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let (_, loaded, _) = open_told(dir.path());
    assert_eq!(loaded.policies(), 1_000, "the index alone has them all");
}
