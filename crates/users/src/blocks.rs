//! The memory that Argon2id works in. It is kept for the next password.
//!
//! Each judgement needs 19 MiB for a moment, on whichever thread there is. Asked for anew each time, the
//! allocator ends up keeping as much for every one of its arenas: some hundred wrong passwords, which anybody
//! can send, took 300 MiB for good.

use argon2::{Argon2, Block};
use parking_lot::Mutex;

/// What nobody works in; never more than were in use at the same time. Static, since [`Verifier`](crate::Verifier)
/// is a value of many places, the commands among them, and the memory is the process's, whoever hashes.
static IDLE: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// Fills `out` from a password and a salt; `false` if lengths or parameters are not what Argon2 takes.
pub(crate) fn fill(argon2: &Argon2<'_>, password: &[u8], salt: &[u8], out: &mut [u8]) -> bool {
    let mut blocks = IDLE.lock().pop().unwrap_or_default();
    let count = argon2.params().block_count();
    blocks.resize(count.max(blocks.len()), Block::default());
    let Some(those) = blocks.get_mut(..count) else {
        return false;
    };
    let done = argon2.hash_password_into_with_memory(password, salt, out, &mut *those);
    // Nothing of a password outlives its use.
    those.fill(Block::default());
    IDLE.lock().push(blocks);
    done.is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};

    /// Threads that live on, each with an arena of its own, judge a password one after the other.
    #[test]
    fn passwords_judged_one_after_the_other_take_the_memory_of_one() {
        // In a process of its own: other tests judge passwords, too.
        if std::env::var_os(ALONE).is_none() {
            let name = "blocks::tests::passwords_judged_one_after_the_other_take_the_memory_of_one";
            let alone = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name, "--nocapture"])
                .env(ALONE, "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&alone.stdout);
            assert!(
                alone.status.success() && said.contains("1 passed"),
                "{alone:?}"
            );
            return;
        }
        let (turn, end) = (Mutex::new(()), Barrier::new(THREADS));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..3 {
                        let _turn = turn.lock().unwrap();
                        crate::verifier::pretend(b"wrong");
                    }
                    end.wait();
                });
            }
        });
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        let most = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 64 << 10, "{kib} KiB for passwords of 19 MiB each");
    }

    const ALONE: &str = "SEALPOST_TEST_ALONE";
    const THREADS: usize = 8;
}
