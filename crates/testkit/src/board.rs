//! State that a test changes and reads while servers work with it, and waits on.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// A value behind a lock, with a bell that rings at each change.
#[derive(Debug)]
pub struct Board<T> {
    value: Mutex<T>,
    changed: watch::Sender<u64>,
}

impl<T> Board<T> {
    /// A board that shows `value`.
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: watch::Sender::new(0),
        }
    }

    /// Reads.
    pub fn read<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.value.lock())
    }

    /// Changes, and wakes all who wait.
    pub fn update<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        let result = f(&mut self.value.lock());
        self.changed.send_modify(|n| *n += 1);
        result
    }

    /// Waits until `f` finds what it looks for; it is asked again after each change. `None` after
    /// `timeout`.
    pub async fn wait<R>(
        &self,
        timeout: Duration,
        mut f: impl FnMut(&T) -> Option<R>,
    ) -> Option<R> {
        let mut changed = self.changed.subscribe();
        tokio::time::timeout(timeout, async {
            loop {
                if let Some(found) = self.read(&mut f) {
                    return found;
                }
                changed.changed().await.expect("the sender lives in self");
            }
        })
        .await
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn waits_for_a_change_and_gives_up() {
        let board = Arc::new(Board::new(0));
        let writer = Arc::clone(&board);
        let task = tokio::spawn(async move { writer.update(|n| *n = 7) });
        let seen = board
            .wait(Duration::from_secs(10), |n| (*n == 7).then_some(*n))
            .await;
        assert_eq!(seen, Some(7));
        task.await.unwrap();
        let never = board
            .wait(Duration::from_millis(1), |n| (*n == 8).then_some(()))
            .await;
        assert_eq!(never, None);
    }
}
