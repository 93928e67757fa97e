//! Power cuts, failing operations and full disks at every operation, on a simulated disk. Each failure prints its seed; set
//! `JOURNAL_SEED` to run that one alone. (Which riding records share a write depends on the threads, so a seed fixes the disk and the
//! workload, not every batch.)

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod model;

use journal::SimulatedDisk;
use model::{Model, Random};

/// Every operation of a workload, recovery and removal of segments included, is once the one in which the power goes.
#[test]
fn h6_06_what_was_acknowledged_survives_a_power_cut_at_every_operation() {
    for seed in seeds(0, 12) {
        let disk = SimulatedDisk::new(seed);
        Model::new(seed, disk.clone()).work(STEPS);
        for operation in 1..=disk.operations() {
            let disk = SimulatedDisk::new(seed ^ operation << 32);
            disk.power_off_at(operation);
            let mut model = Model::new(seed, disk.clone());
            model.context = format!("seed {seed}, power off at operation {operation}");
            model.work(STEPS);
            model.restart(disk.power_cut());
            model.work(3);
            let cut = model.disk.power_cut();
            model.restart(cut);
        }
    }
}

/// The power goes again and again while recovery runs.
#[test]
fn recovery_can_be_interrupted_anywhere() {
    for seed in seeds(100, 12) {
        let disk = SimulatedDisk::new(seed);
        Model::new(seed, disk.clone()).work(STEPS);
        let mut random = Random(seed);
        for round in 0..40 {
            let mut disk = SimulatedDisk::new(seed ^ round << 32);
            disk.power_off_at(8 + random.below(80));
            let mut model = Model::new(seed, disk.clone());
            model.context = format!("seed {seed}, round {round}");
            model.work(STEPS);
            for _ in 0..random.below(4) {
                disk = disk.power_cut();
                disk.power_off_at(1 + random.below(12));
                model.try_open(disk.clone());
            }
            model.restart(disk.power_cut());
        }
    }
}

/// An operation fails once. Whatever the process saw as acknowledged, and whatever the next process saw in the page cache,
/// survives a later power cut.
#[test]
fn h6_03_after_a_failed_operation_nothing_acknowledged_is_lost() {
    for seed in seeds(200, 12) {
        let disk = SimulatedDisk::new(seed);
        Model::new(seed, disk.clone()).work(STEPS);
        for operation in 1..=disk.operations() {
            for errno in [EIO, ENOSPC] {
                let disk = SimulatedDisk::new(seed ^ operation << 32);
                disk.fail_at(operation, errno);
                let mut model = Model::new(seed, disk.clone());
                model.context = format!("seed {seed}, errno {errno} at operation {operation}");
                model.work(STEPS);
                disk.fail_at(0, errno);
                // The process restarts, the machine does not: the page cache still has what the disk may not have.
                model.restart(disk);
                let cut = model.disk.power_cut();
                model.restart(cut);
            }
        }
    }
}

/// The disk is full for a while: appends are refused, nothing refused is found later, and the journal goes on when there is room.
#[test]
fn h6_01_a_full_disk_refuses_and_recovers() {
    let mut went_on = 0;
    for seed in seeds(300, 60) {
        let disk = SimulatedDisk::new(seed);
        let mut model = Model::new(seed, disk.clone());
        model.context = format!("seed {seed}, full disk");
        model.work(10);
        disk.set_capacity(Some(model.bytes_on_disk() + seed % 700));
        model.work(10);
        disk.set_capacity(None);
        let refused = model.refused;
        model.work(5);
        went_on += u32::from(refused > 0 && model.healthy());
        assert_eq!(
            model.refused, refused,
            "{}: refused although there is room",
            model.context
        );
        model.restart(disk.power_cut());
    }
    assert!(
        went_on > 30,
        "only {went_on} of 60 runs were refused and went on"
    );
}

fn seeds(from: u64, count: u64) -> Vec<u64> {
    match std::env::var("JOURNAL_SEED") {
        Ok(seed) => vec![seed.parse().expect("JOURNAL_SEED is a number")],
        Err(_) => (from..from + count).collect(),
    }
}

const STEPS: u32 = 25;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
