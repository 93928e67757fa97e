//! Time spans and sizes as people write them.

/// Milliseconds of `90s`, `5m`, `4h`, `5d`, `1w` or `250ms`; a number alone has no unit and is
/// refused, except `0`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<u64> {
    parse(text, &DURATIONS)
}

/// Bytes of `512B`, `64KiB`, `50MiB`, `2GiB`; decimal units are written `kB`, `MB`, `GB`.
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZES)
}

/// The shortest exact way to write it.
#[must_use]
pub fn duration_text(millis: u64) -> String {
    // Weeks are understood but not written: "14d" reads better than "2w".
    text(millis, DURATIONS.get(1..).unwrap_or(&DURATIONS))
}

/// The shortest exact way to write it.
pub fn size_text(bytes: u64) -> String {
    text(bytes, SIZES.get(..5).unwrap_or(&SIZES))
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    if text == "0" {
        return Some(0);
    }
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn text(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor))
        .map_or_else(
            || "0".to_owned(),
            |(name, factor)| format!("{}{name}", value / factor),
        )
}

const DURATIONS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans() {
        for (text, millis) in [
            ("90s", Some(90_000)),
            ("5m", Some(300_000)),
            ("4h", Some(14_400_000)),
            ("5d", Some(432_000_000)),
            ("1w", Some(604_800_000)),
            ("250ms", Some(250)),
            ("0", Some(0)),
            ("90", None),                     // no unit: seconds or minutes?
            ("5 m", Some(300_000)),           // a space does no harm
            ("-5m", None),                    // time does not run backwards
            ("1.5h", None),                   // say 90m
            ("m", None),                      // no number
            ("5M", None),                     // months?
            ("999999999999999999999d", None), // does not fit
        ] {
            assert_eq!(parse_duration(text), millis, "{text}");
        }
        assert_eq!(duration_text(90_000), "90s");
        assert_eq!(duration_text(3_600_000), "1h");
        assert_eq!(duration_text(1_209_600_000), "14d");
        assert_eq!(duration_text(0), "0");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("50MiB", Some(52_428_800)),
            ("1kB", Some(1000)),
            ("512B", Some(512)),
            ("50", None),  // no unit
            ("50M", None), // 10^6 or 2^20?
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
        assert_eq!(size_text(52_428_800), "50MiB");
        assert_eq!(size_text(1500), "1500B");
    }
}
