//! The corpus of the fuzz targets through the same checks, without libFuzzer, and a few thousand
//! inputs that are near it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: a panic is the failure report"
)]

mod checks;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The octets of every seed of a target, with its name.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let listed = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

fn hold(what: &str, check: fn(&[u8]), input: &[u8]) {
    let held = catch_unwind(AssertUnwindSafe(|| check(input)));
    assert!(
        held.is_ok(),
        "{what} does not hold for b\"{}\"",
        input.escape_ascii()
    );
}

#[test]
fn every_seed_holds() {
    for (target, check) in checks::ALL {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for (path, input) in seeds {
            hold(&path.display().to_string(), check, &input);
        }
    }
}

/// What is cut off, doubled, spliced or changed in an octet: the first things that a fuzzer tries.
#[test]
fn what_is_near_a_seed_holds() {
    for (target, check) in checks::ALL {
        let seeds = seeds(target);
        let mut dice = Dice(0x5ea1_9057);
        for _ in 0..NEAR {
            let (_, one) = &seeds[dice.below(seeds.len())];
            let (_, other) = &seeds[dice.below(seeds.len())];
            let mut input = one.clone();
            let at = dice.below(input.len() + 1);
            match dice.below(4) {
                0 => input.truncate(at),
                1 => input.splice(at..at, other.iter().copied()).for_each(drop),
                2 => input.extend_from_slice(&one[at..]),
                _ if at < input.len() => input[at] = dice.octet(),
                _ => input.push(dice.octet()),
            }
            input.truncate(16_384);
            hold(target, check, &input);
        }
    }
}

/// splitmix64: the same inputs each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// One that means something to somebody, as often as not.
    fn octet(&mut self) -> u8 {
        let n = self.next();
        let special = b"\r\n\0 .<>@:;=,\"\\-\t\x7f\xff\xc3";
        if n & 1 == 0 {
            special[(n >> 8) as usize % special.len()]
        } else {
            (n >> 8) as u8
        }
    }
}

const NEAR: usize = 300;
