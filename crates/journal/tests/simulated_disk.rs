//! The simulated disk itself, used by several threads at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use journal::{SimulatedDisk, Storage};

const DIR: &str = "/data";

fn disk(seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    disk.create_dir_all(Path::new(DIR)).unwrap();
    disk
}

fn path(number: usize) -> PathBuf {
    Path::new(DIR).join(number.to_string())
}

#[test]
fn a_name_that_survives_a_power_cut_has_a_file() {
    for seed in 0..ROUNDS {
        let (disk, begin) = (disk(seed), Barrier::new(2));
        let after = thread::scope(|threads| {
            threads.spawn(|| {
                begin.wait();
                let made = (0..FILES).map_while(|n| disk.create_new(&path(n)).ok());
                // Until the power goes.
                made.for_each(drop);
            });
            begin.wait();
            while disk.operations() < 1 + seed % FILES as u64 {
                std::hint::spin_loop();
            }
            disk.power_cut()
        });
        for entry in after.list(Path::new(DIR)).unwrap() {
            let file = after.open(&entry.path).unwrap();
            assert_eq!(file.len().unwrap(), 0, "{} of {seed}", entry.name);
        }
    }
}

#[test]
fn files_made_at_the_same_time_are_different_files() {
    for seed in 0..ROUNDS {
        let (disk, begin) = (disk(seed), Barrier::new(2));
        let make = |first: usize| {
            begin.wait();
            for number in (first..FILES).step_by(2) {
                let file = disk.create_new(&path(number)).unwrap();
                file.write_vectored_at(&[IoSlice::new(&[number as u8])], 0)
                    .unwrap();
            }
        };
        thread::scope(|threads| {
            threads.spawn(|| make(0));
            make(1);
        });
        for number in 0..FILES {
            let content = disk.content(&path(number)).unwrap();
            assert_eq!(content, [number as u8], "of {seed}");
        }
    }
}

const ROUNDS: u64 = 300;
const FILES: usize = 20;
