//! How many tests passed, from what the test runners print.

/// Counts of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub passed: u64,
    pub failed: u64,
    /// Marked as ignored: they are counted, so that nothing is skipped in silence.
    pub ignored: u64,
}

impl Tally {
    /// Adds what a line says, if it is a summary of `cargo test` or of nextest.
    pub(crate) fn see(&mut self, line: &str) {
        // What a failed test printed, which may be such a line too, is indented by nextest.
        let summary = line
            .strip_prefix("test result: ")
            .or_else(|| line.trim_start().strip_prefix("Summary "));
        let Some(summary) = summary else {
            return;
        };
        // `ok. 21 passed; 0 failed; 0 ignored` or `[0.3s] 21 tests run: 21 passed (1 slow), 0 skipped`
        let words: Vec<&str> = summary
            .split([' ', ';', ',', '(', ')'])
            .filter(|word| !word.is_empty())
            .collect();
        for (number, what) in words.iter().zip(words.iter().skip(1)) {
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match *what {
                "passed" => self.passed += number,
                "failed" | "timed" | "exec" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runners_are_understood() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: FAILED. 20 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out",
            "     Summary [   0.345s] 7 tests run: 5 passed (1 slow), 1 failed, 1 timed out, 3 skipped",
            "test a::failed ... ok",
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored",
            "| test result: FAILED. 0 passed; 1 failed; 0 ignored",
        ] {
            tally.see(line);
        }
        let expected = Tally {
            passed: 25,
            failed: 3,
            ignored: 2,
        };
        assert_eq!(tally, expected);
    }
}
