//! Power cuts at every operation of the simulated disk, with the index in every state that a cut
//! can leave it in.

use std::fs;

use journal::SimulatedDisk;

use super::*;

const DOMAINS: usize = 8;

fn on(disk: &SimulatedDisk, dir: &Path) -> Option<OpenStore> {
    Disk::open(dir, Arc::new(disk.clone()), false, false).ok()
}

/// Stores policies until the power goes, with a renewal, a removal and a compaction among them.
/// Which policies were relied on, and the index as it was after each of its own syncs.
async fn until_dark(disk: &SimulatedDisk, dir: &Path, images: &Path) -> (Vec<String>, usize) {
    let (mut relied_on, mut synced) = (Vec::new(), 0);
    let Some(OpenStore::Ready(store, ..)) = on(disk, dir) else {
        return (relied_on, synced);
    };
    let mut seq = 0;
    for n in 0..DOMAINS {
        let name = format!("d{n}.test");
        seq += 1;
        let stored = policy(&name, &text(700), 1);
        if store
            .append(&Row::Policy(Arc::clone(&stored)), seq)
            .await
            .is_err()
        {
            break;
        }
        relied_on.push(name);
        seq += 1;
        let renewed = policy(stored.domain.as_str(), &text(700), 2);
        if store.append(&Row::Renewed(renewed), seq).await.is_err() {
            break;
        }
        if n % 3 == 2 {
            settle(&store);
            copy_flat(&dir.join("index"), &images.join(synced.to_string()));
            synced += 1;
        }
        if n == 5 && !compact(&store, &relied_on, seq) {
            break;
        }
    }
    (relied_on, synced)
}

fn compact(store: &Disk, names: &[String], seq: u64) -> bool {
    let Ok(mark) = store.rotate() else {
        return false;
    };
    let rows = (0..).zip(names);
    let rows =
        rows.map(|(n, name): (u64, _)| (2 * n + 2, Row::Policy(policy(name, &text(700), 2))));
    store.rewrite(mark, rows.collect(), seq).is_ok()
}

fn copy_flat(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("blobs")).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            // sled may remove a snapshot meanwhile.
            let _ = fs::copy(entry.path(), to.join(entry.file_name()));
        }
    }
}

/// Of the sectors that were written after the last sync some are on disk and some are not.
fn half_written(before: &Path, after: &Path, to: &Path, seed: u64) {
    copy_flat(before, to);
    let (old, new) = (
        fs::read(before.join("db")).unwrap(),
        fs::read(after.join("db")).unwrap(),
    );
    let mut mixed = new.clone();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for (n, sector) in mixed.chunks_mut(512).enumerate() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(n as u64);
        if state >> 63 == 0 {
            let was = old.get(n * 512..).unwrap_or_default();
            let len = was.len().min(sector.len());
            sector.fill(0);
            sector[..len].copy_from_slice(&was[..len]);
        }
    }
    fs::write(to.join("db"), mixed).unwrap();
}

fn check(disk: &SimulatedDisk, dir: &Path, relied_on: &[String], what: &str) {
    let Some(OpenStore::Ready(_, loaded, repair)) = on(disk, dir) else {
        panic!("{what}: a cut is no loss")
    };
    let found = policies(&loaded);
    for name in relied_on {
        assert!(found.iter().any(|(d, _)| d == name), "{what}: lost {name}");
    }
    assert_eq!(repair.lost, None, "{what}");
    assert_eq!(repair.journal_healed, None, "{what}: a cut is no damage");
}

#[tokio::test]
async fn a7_03_h7_06_what_was_relied_on_survives_a_power_cut_at_every_operation() {
    let mut operation = 1;
    loop {
        let (dir, images) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let disk = SimulatedDisk::new(operation);
        disk.power_off_at(operation);
        let (relied_on, synced) = until_dark(&disk, dir.path(), images.path()).await;
        let completed = relied_on.len() == DOMAINS && disk.operations() < operation;
        let cut = disk.power_cut();
        let index = dir.path().join("index");
        let what = format!("power lost at operation {operation}");
        let live = images.path().join("live");
        if index.exists() {
            copy_flat(&index, &live);
        }
        // With all of the index, with what it had at each of its syncs, with a part of what came
        // after, and without.
        check(&cut, dir.path(), &relied_on, &what);
        let with = |found: Option<&Path>, what: &str| {
            for name in ["index", "index.damaged"] {
                let _ = fs::remove_dir_all(dir.path().join(name));
            }
            let _ = fs::remove_file(dir.path().join("index.suspect"));
            if let Some(found) = found {
                copy_flat(found, &index);
            }
            check(&disk.power_cut(), dir.path(), &relied_on, what);
        };
        for n in 0..synced {
            let image = images.path().join(n.to_string());
            with(Some(&image), &format!("{what}, index of sync {n}"));
            if live.join("db").exists() {
                let torn = images.path().join("torn");
                half_written(&image, &live, &torn, operation + n as u64);
                with(Some(&torn), &format!("{what}, index torn after sync {n}"));
            }
        }
        with(None, &format!("{what}, no index"));
        if completed {
            break;
        }
        operation += 1;
    }
    assert!(operation > 20, "{operation}");
}
