//! Our sentences for tools that add up reasons.

/// The sentence without the colons that are no part of an address. pflogsumm shortens what is longer
/// than 65 characters by taking away everything before a colon, as long as there is one: of our own
/// sentences that would leave what differs from one line to the next.
///
/// A point of time loses its seconds and reads `2026-01-02 03h04 UTC`.
pub(super) fn for_adders(sentence: &str) -> String {
    let mut out = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some(at) = rest.find(':') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        if let Some((date, hour)) = date_and_hour(before)
            && let Some((minute, behind)) = minute(after)
        {
            out.push_str(&before[..before.len() - DATE_AND_HOUR]);
            out.extend([date, " ", hour, "h", minute, " UTC"]);
            rest = behind;
            continue;
        }
        out.push_str(before);
        out.push_str(match after.starts_with(' ') {
            true => " -",
            false => ":",
        });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Of `… 2026-01-02T03`, which a colon follows.
fn date_and_hour(before: &str) -> Option<(&str, &str)> {
    let last = before.get(before.len().checked_sub(DATE_AND_HOUR)?..)?;
    let (date, hour) = last.split_once('T')?;
    let date_is_one = date.bytes().enumerate().all(|(n, b)| match n {
        4 | 7 => b == b'-',
        _ => b.is_ascii_digit(),
    });
    (date.len() == 10 && date_is_one && is_number(hour)).then_some((date, hour))
}

/// Of `04:05Z…` or `04:05.250Z…`, and what comes behind.
fn minute(after: &str) -> Option<(&str, &str)> {
    let (minute, behind) = after.split_at_checked(2)?;
    let (second, behind) = behind.strip_prefix(':')?.split_at_checked(2)?;
    let behind = match behind.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => behind,
    };
    let behind = behind.strip_prefix('Z')?;
    (is_number(minute) && is_number(second)).then_some((minute, behind))
}

fn is_number(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())
}

const DATE_AND_HOUR: usize = "2026-01-02T03".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_can_be_read_and_addresses_stay() {
        for (sentence, want) in [
            (
                "It has expired: it was valid until 2026-01-02T03:04:05Z.",
                "It has expired - it was valid until 2026-01-02 03h04 UTC.",
            ),
            (
                "From 2026-01-02T03:04:05.250Z to 2027-01-02T03:04:05Z, at [2001:db8::25]: refused.",
                "From 2026-01-02 03h04 UTC to 2027-01-02 03h04 UTC, at [2001:db8::25] - refused.",
            ),
            // No time of ours, and nothing that is cut in the middle of a character.
            ("T03:04:05Z äü:ü:", "T03:04:05Z äü:ü:"),
            ("2026-01-02T03:04", "2026-01-02T03:04"),
            ("2026-01-02T03:04:0", "2026-01-02T03:04:0"),
            ("2026-01-02T03:ä", "2026-01-02T03:ä"),
            (":", ":"),
        ] {
            assert_eq!(for_adders(sentence), want);
        }
    }
}
