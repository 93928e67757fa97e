//! Finds what a target runs.

mod checks;

/// Runs the check of this name.
///
/// # Panics
/// There is none, or it does not hold.
pub fn run(name: &str, input: &[u8]) {
    let (_, check) = checks::ALL.iter().find(|(n, _)| *n == name).expect("a check of this name");
    check(input);
}
