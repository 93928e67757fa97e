//! Showing records to an owner, groups kept together.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::format::{KIND_VOID, RECORD_HEADER_LEN, RecordHeader, SEGMENT_HEADER_LEN};
use crate::position::Position;
use crate::quarantine;
use crate::record::Record;
use crate::report::{Damage, ScanReport, ScannedRecord};
use crate::segment::SegmentDir;
use crate::storage::StorageFile;
use crate::walk::{Step, Walk};

/// Scans one segment from `from` to `end`; breaks when the visitor does.
pub(crate) fn scan_segment(
    segments: &SegmentDir,
    file: &Arc<dyn StorageFile>,
    from: Position,
    end: u64,
    report: &mut ScanReport,
    visitor: &mut dyn FnMut(ScannedRecord<'_>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let start = u64::from(from.offset).max(SEGMENT_HEADER_LEN as u64);
    let mut walk = Walk::new(&**file, from.segment, start, end);
    let mut shown = Shown {
        records: 0,
        end: start,
        group: Vec::new(),
        broken: false,
        visitor,
    };
    let mut flow = ControlFlow::Continue(());
    while flow.is_continue()
        && let Some(step) = walk.next()?
    {
        flow = match step {
            Step::Record(header) => shown.record(&header, walk.meta(&header)),
            Step::Damage {
                range,
                kind,
                header,
            } => {
                let copy = quarantine::copy(segments, &**file, from.segment, &range);
                let key = header.map(|header| header.key);
                let segment = from.segment;
                report.damage.push(Damage {
                    segment,
                    range,
                    kind,
                    key,
                    possibly_unacknowledged: false,
                    copy,
                });
                shown.broken_off()
            }
        };
    }
    if flow.is_continue() {
        flow = shown.broken_off();
    }
    let end = if flow.is_continue() {
        walk.offset().max(start)
    } else {
        shown.end
    };
    report.records += shown.records;
    report.bytes += end - start;
    report.end = Some(Position {
        segment: from.segment,
        offset: u32::try_from(end).unwrap_or(u32::MAX),
    });
    Ok(flow)
}

/// Holds members of a group back until it is known whether the group is whole.
struct Shown<'v> {
    records: u64,
    end: u64,
    group: Vec<(RecordHeader, Vec<u8>)>,
    broken: bool,
    visitor: &'v mut dyn FnMut(ScannedRecord<'_>) -> ControlFlow<()>,
}

impl Shown<'_> {
    fn record(&mut self, header: &RecordHeader, meta: &[u8]) -> ControlFlow<()> {
        let continues = self.group.last().is_some_and(|(before, _)| {
            before.group_len == header.group_len
                && before.group_index + 1 == header.group_index
                && before.end() == header.offset()
        });
        if !continues {
            self.broken_off()?;
            if header.group_len == 1 {
                return self.show(header, meta, true);
            }
            self.broken = header.group_index != 0;
        }
        self.group.push((*header, meta.to_vec()));
        if header.group_index + 1 < header.group_len {
            return ControlFlow::Continue(());
        }
        let whole = !self.broken;
        self.show_group(whole)
    }

    /// No more members of the group follow.
    fn broken_off(&mut self) -> ControlFlow<()> {
        self.show_group(false)
    }

    fn show_group(&mut self, whole: bool) -> ControlFlow<()> {
        self.broken = false;
        for (header, meta) in std::mem::take(&mut self.group) {
            self.show(&header, &meta, whole)?;
        }
        ControlFlow::Continue(())
    }

    fn show(&mut self, header: &RecordHeader, meta: &[u8], group_intact: bool) -> ControlFlow<()> {
        if header.kind >= Record::FIRST_RESERVED_KIND {
            return ControlFlow::Continue(());
        }
        let end = Position {
            segment: header.position.segment,
            offset: u32::try_from(header.end()).unwrap_or(u32::MAX),
        };
        self.records += 1;
        self.end = header.end();
        (self.visitor)(ScannedRecord {
            position: header.position,
            end,
            kind: header.kind,
            key: header.key,
            meta,
            body_len: header.body_len,
            group_index: header.group_index,
            group_len: header.group_len,
            group_intact,
        })
    }
}

/// The header of the last record in a segment, before `end`, that is of a kind; damage is passed over silently.
pub(crate) fn last_of_kind(
    file: &dyn StorageFile,
    segment: u32,
    end: u64,
    kind: u8,
) -> io::Result<Option<RecordHeader>> {
    debug_assert!(kind != KIND_VOID, "voids hold nothing");
    let mut walk = Walk::new(file, segment, SEGMENT_HEADER_LEN as u64, end);
    let mut last = None;
    while let Some(step) = walk.next()? {
        if let Step::Record(header) = step
            && header.kind == kind
        {
            last = Some(header);
        }
    }
    Ok(last)
}

/// Reads and checks the header at a position.
pub(crate) fn read_header(
    file: &dyn StorageFile,
    position: Position,
) -> io::Result<Option<RecordHeader>> {
    let mut bytes = [0; RECORD_HEADER_LEN];
    let read = crate::storage::read_full_at(file, &mut bytes, u64::from(position.offset))?;
    Ok(RecordHeader::decode(
        bytes.get(..read).unwrap_or_default(),
        position.segment,
        u64::from(position.offset),
    ))
}
