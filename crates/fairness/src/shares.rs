//! Which of the connections are for whom.

/// So many connections may there be at once; the last of them are not for everybody.
#[derive(Clone, Copy, Debug)]
pub struct Shares(usize);

impl Shares {
    /// Of so many connections.
    #[must_use]
    pub const fn of(connections: usize) -> Self {
        Self(connections)
    }

    /// Whether there may be one more beside so many, for mail that has just come.
    #[must_use]
    pub const fn has_room(self, used: usize) -> bool {
        used < self.0
    }

    /// For mail that waits in the queue: the last are for fresh mail, which must not wait for a backlog.
    #[must_use]
    pub const fn has_room_for_backlog(self, used: usize) -> bool {
        used < self.0 - self.0 / KEPT_FOR_FRESH
    }

    /// For what can wait: notifications, one more worker for a peer that has some, a worker that has nothing to do.
    #[must_use]
    pub const fn has_room_to_spare(self, used: usize) -> bool {
        used < self.0 - self.0 / KEPT_FROM_SPARE
    }

    /// Whether destinations have to be content with less than they could use.
    #[must_use]
    pub const fn are_scarce(self, used: usize) -> bool {
        used > self.0 / 2
    }
}

/// One in so many.
const KEPT_FOR_FRESH: usize = 8;
/// One in so many.
const KEPT_FROM_SPARE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many connections each kind of work can fill.
    fn filled(connections: usize) -> [usize; 4] {
        let shares = Shares::of(connections);
        let most = |has_room: fn(Shares, usize) -> bool| {
            (0..).find(|used| !has_room(shares, *used)).unwrap()
        };
        [
            most(Shares::has_room),
            most(Shares::has_room_for_backlog),
            most(Shares::has_room_to_spare),
            most(|shares, used| !shares.are_scarce(used)),
        ]
    }

    #[test]
    fn the_last_connections_are_for_fresh_mail_and_none_is_lost_where_there_are_few() {
        assert_eq!(filled(100), [100, 88, 75, 51]);
        assert_eq!(filled(8), [8, 7, 6, 5]);
        assert_eq!(filled(3), [3, 3, 3, 2]);
        assert_eq!(filled(1), [1, 1, 1, 1]);
    }
}
