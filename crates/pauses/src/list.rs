//! The list of paused destinations as it stands on disk, and what can still be made of one that is damaged.
//!
//! ```text
//! DATA/delivery/paused    sealpost-paused 2 TAB lines TAB checksum
//!                         then a line each: domain or [address] TAB since (Unix milliseconds) TAB by
//!                         TAB reason TAB checksum
//! ```
//!
//! A checksum is the CRC-32 of what stands before its TAB, in eight hexadecimal digits. The first version
//! had neither checksums nor the first line; it is still read.
//!
//! Of what is damaged rather too much waits than too little: mail that goes out cannot be called back, and
//! mail that waits is told. One flipped bit is put right, by the checksum. A line with more of them pauses
//! what it names. What names nothing pauses nothing: it must not stop all mail.

use std::collections::BTreeMap;

use mail_types::{Host, Timestamp, harmless};

use crate::paused::Pause;

/// What is paused.
pub type List = BTreeMap<Host, Pause>;

/// A part of the list of paused destinations that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPause {
    /// As it was read.
    pub line: String,
    /// What is made of it, in words.
    pub became: String,
}

/// The bytes of a list.
pub(crate) fn write(list: &List) -> Vec<u8> {
    let mut text = sealed(format!("{HEADING}\t{}", list.len()));
    list.iter().for_each(|pause| text += &sealed(line(pause)));
    text.into_bytes()
}

/// Reads it.
pub(crate) fn read(bytes: &[u8]) -> (List, Vec<DamagedPause>) {
    let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    lines.pop_if(|last| last.is_empty());
    let has_checksums = lines.iter().any(|line| intact(line).is_some());
    let (mut list, mut damaged, mut counted) = (List::new(), Vec::new(), None);
    let mut take = |list: &mut List, line: &str| match line.strip_prefix(HEADING) {
        Some(count) => counted = count.trim_start().parse::<usize>().ok(),
        None => list.extend(entry(line)),
    };
    for run in lines.chunk_by(|a, b| intact(a).is_some() == intact(b).is_some()) {
        for line in run.iter().filter_map(|line| intact(line)) {
            take(&mut list, line);
        }
        // All of them, or none.
        if run.iter().any(|line| intact(line).is_some()) {
            continue;
        }
        if has_checksums && let Some(mended) = mended(run) {
            mended.lines().for_each(|line| take(&mut list, line));
            damaged.push(DamagedPause {
                line: text(&run.join(&b'\n')),
                became: "one bit of it was put right, so that nothing is lost".to_owned(),
            });
            continue;
        }
        for line in run.iter().map(|line| text(line)) {
            let became = match entry(&line) {
                Some((host, pause)) => {
                    let became = format!("{host}, which it names, is paused");
                    list.entry(host).or_insert(pause);
                    if !has_checksums {
                        continue; // As the first version wrote it.
                    }
                    became
                }
                None => "it pauses nothing".to_owned(),
            };
            damaged.push(DamagedPause { line, became });
        }
    }
    if let Some(counted) = counted.filter(|counted| *counted != list.len()) {
        damaged.push(DamagedPause {
            line: format!("{HEADING} {counted}"),
            became: format!("of {counted} destinations {} are found", list.len()),
        });
    }
    (list, damaged)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sealed(text: String) -> String {
    let checksum = crc32fast::hash(text.as_bytes());
    format!("{text}\t{checksum:08x}\n")
}

/// A line without its checksum, if that is right.
fn intact(line: &[u8]) -> Option<&str> {
    let at = line.len().checked_sub(CHECKSUM)?;
    let (text, checksum) = line.split_at_checked(at)?;
    let checksum = std::str::from_utf8(checksum).ok()?.strip_prefix('\t')?;
    let is_right = u32::from_str_radix(checksum, 16) == Ok(crc32fast::hash(text));
    std::str::from_utf8(text).ok().filter(|_| is_right)
}

/// Lines without their checksums, after the one bit was turned that makes all of them right.
fn mended(lines: &[&[u8]]) -> Option<String> {
    let mut bytes = lines.join(&b'\n');
    if bytes.len() > LONGEST {
        return None;
    }
    for bit in 0..bytes.len() * 8 {
        let turn = |bytes: &mut Vec<u8>| {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        };
        turn(&mut bytes);
        let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let lines: Option<Vec<&str>> = whole.split(|b| *b == b'\n').map(intact).collect();
        if let Some(lines) = lines {
            return Some(lines.join("\n"));
        }
        turn(&mut bytes);
    }
    None
}

fn line((host, pause): (&Host, &Pause)) -> String {
    let plain = |text: &str| -> String { text.chars().map(harmless).collect() };
    let since = pause.since.as_millis();
    let (by, reason) = (plain(&pause.by), plain(&pause.reason));
    format!("{host}\t{since}\t{by}\t{reason}")
}

/// A line of which only the host can be read still pauses it.
fn entry(line: &str) -> Option<(Host, Pause)> {
    let mut parts = line.splitn(4, '\t');
    let host = Host::parse(parts.next()?).ok()?;
    let since = parts.next().and_then(|millis| millis.parse().ok());
    let pause = Pause {
        since: Timestamp::from_millis(since.unwrap_or_default()),
        by: parts.next().unwrap_or("?").into(),
        reason: parts
            .next()
            .unwrap_or("the rest of the line cannot be read")
            .into(),
    };
    Some((host, pause))
}

const HEADING: &str = "sealpost-paused 2";
/// A TAB and eight digits.
const CHECKSUM: usize = 9;
/// More is not mended: reasons are short.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> List {
        let pause = |reason: &str| Pause {
            since: Timestamp::from_secs(1_800_000_000),
            by: "uid 0".into(),
            reason: reason.into(),
        };
        let hosts = [("d.test", "they move house"), ("[192.0.2.1]", "")];
        let hosts = hosts.map(|(host, reason)| (Host::parse(host).unwrap(), pause(reason)));
        hosts.into()
    }

    #[test]
    fn h6_05_a_flipped_bit_neither_ends_a_pause_nor_begins_one() {
        let written = write(&list());
        assert_eq!(read(&written), (list(), Vec::new()));
        for bit in 0..written.len() * 8 {
            let mut damaged = written.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (read, told) = read(&damaged);
            assert_eq!(read, list(), "{bit}: {told:?}");
        }
        let missing: Vec<&[u8]> = written.split_inclusive(|b| *b == b'\n').take(2).collect();
        assert_eq!(read(&missing.concat()).1.len(), 1, "a line is gone");
    }

    #[test]
    fn what_names_a_domain_still_pauses_it_and_the_rest_is_told() {
        let mut written = write(&list());
        let at = written.windows(4).position(|w| w == b"move").unwrap();
        written[at..at + 4].copy_from_slice(b"\xff\x01xx");
        written.extend_from_slice(b"j\xffnk \x01\n");
        let (read, told) = read(&written);
        assert!(read.contains_key(&Host::parse("d.test").unwrap()));
        let became: Vec<&str> = told.iter().map(|d| &*d.became).collect();
        assert_eq!(became[0], "d.test, which it names, is paused");
        assert_eq!(became[1], "it pauses nothing");
        assert_eq!(told[1].line, "j\u{fffd}nk \u{1}");
    }

    #[test]
    fn the_first_version_is_read() {
        let first = b"e.test\t1800000000000\tuid 0\twhy\nd.test\tx\njunk \x01\n";
        let (read, told) = read(first);
        let e = &read[&Host::parse("e.test").unwrap()];
        assert_eq!((&*e.by, &*e.reason), ("uid 0", "why"));
        assert!(read.contains_key(&Host::parse("d.test").unwrap()));
        assert_eq!(told.len(), 1);
    }
}
