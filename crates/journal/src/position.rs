//! Where a record stands.

use std::fmt;

use crate::format::SEGMENT_HEADER_LEN;

/// The place of a record: segment number and byte offset of its header in that segment. Ordered as appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Segment number, from 1; numbers are never reused.
    pub segment: u32,
    /// Offset of the record's header from the start of the segment file, in bytes.
    pub offset: u32,
}

impl Position {
    /// Before every record of every journal.
    pub const START: Self = Self {
        segment: 0,
        offset: 0,
    };

    /// Whether nothing of its segment stands before it.
    pub const fn is_segment_start(self) -> bool {
        self.offset as usize <= SEGMENT_HEADER_LEN
    }

    /// As one number that sorts like the position, for index rows.
    pub fn pack(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }

    /// The reverse of [`pack`](Self::pack); every number is a position, though perhaps of no record.
    pub fn unpack(packed: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = packed.to_be_bytes();
        Self {
            segment: u32::from_be_bytes([a, b, c, d]),
            offset: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}:{}", self.segment, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn packed_positions_sort_and_come_back() {
        let places = [
            (0, 0),
            (0, u32::MAX),
            (1, 0),
            (1, 40),
            (7, 3),
            (u32::MAX, u32::MAX),
        ];
        let packed: Vec<u64> = places
            .iter()
            .map(|&(segment, offset)| Position { segment, offset }.pack())
            .collect();
        assert!(packed.is_sorted());
        for (&(segment, offset), &number) in places.iter().zip(&packed) {
            assert_eq!(Position::unpack(number), Position { segment, offset });
        }
    }
}
