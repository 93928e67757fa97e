//! Text of strangers made harmless for one line: of a log, a terminal, a reply, a notification.

use std::fmt;

/// Shows a text with every control character, line break and invisible direction change replaced,
/// and cut off after a number of octets. For people: what was replaced is not told apart.
#[derive(Clone, Copy, Debug)]
pub struct Clean<'a> {
    text: &'a str,
    max: usize,
}

impl<'a> Clean<'a> {
    /// At most `max` octets of the text, and `…` where something was cut off.
    #[must_use]
    pub const fn new(text: &'a str, max: usize) -> Self {
        Self { text, max }
    }
}

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.text.floor_char_boundary(self.max);
        let (shown, rest) = self.text.split_at(cut);
        write_clean(shown, f)?;
        if rest.is_empty() {
            Ok(())
        } else {
            f.write_str("…")
        }
    }
}

/// Writes runs of harmless text whole, and one replacement for each harmful character.
///
/// # Errors
///
/// Those of `out`.
pub fn write_clean(text: &str, out: &mut dyn fmt::Write) -> fmt::Result {
    if is_plain_text(text) {
        return out.write_str(text);
    }
    let mut rest = text;
    while let Some((at, c, with)) = rest
        .char_indices()
        .map(|(i, c)| (i, c, harmless(c)))
        .find(|(_, c, with)| c != with)
    {
        out.write_str(rest.get(..at).unwrap_or_default())?;
        out.write_char(with)?;
        rest = rest.get(at + c.len_utf8()..).unwrap_or_default();
        if c == '\r' {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
    }
    out.write_str(rest)
}

/// The character, or what stands for one that must not be shown: line breaks and tabs become a space,
/// other control characters (C0, DEL, C1) and everything that hides or reorders text become `?`.
///
/// The only list of such characters: who shows what a stranger said maps it through this.
#[must_use]
pub const fn harmless(c: char) -> char {
    match c {
        '\r' | '\n' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => '?',
        c => c,
    }
}

/// Nearly every text: printable ASCII, in which there is nothing to replace.
#[must_use]
pub fn is_plain_text(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn h3_32_control_characters_are_replaced() {
        for (input, want, why) in [
            ("plain", "plain", "nothing to do"),
            ("a\r\nb\nc\rd", "a b c d", "each line break is one space"),
            ("\x1b[31mred\0", "?[31mred?", "no escape sequences"),
            ("a\u{9b}b\u{7f}", "a?b?", "C1 and DEL"),
            ("ab\u{202e}cd", "ab?cd", "no text running backwards"),
            ("Grüße\u{2028}x", "Grüße x", "Unicode line separator"),
            ("pay\u{ad}pal\u{180e}", "pay?pal?", "nothing invisible"),
        ] {
            assert_eq!(Clean::new(input, 100).to_string(), want, "{why}");
        }
    }

    #[test]
    fn cuts_at_characters() {
        assert_eq!(Clean::new("aüb", 2).to_string(), "a…");
        assert_eq!(Clean::new("aüb", 4).to_string(), "aüb");
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left(s in any::<String>(), max in 0usize..200) {
            let out = Clean::new(&s, max).to_string();
            prop_assert!(out.chars().all(|c| harmless(c) == c), "{out:?}");
            prop_assert!(out.len() <= max + "…".len());
        }
    }
}
