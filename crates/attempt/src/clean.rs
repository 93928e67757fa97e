//! Untrusted text made harmless for one line.

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
pub(crate) fn write_clean(text: &str, out: &mut dyn fmt::Write) -> fmt::Result {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return out.write_str(text);
    }
    let mut rest = text;
    while let Some((at, c, with)) = rest
        .char_indices()
        .find_map(|(i, c)| replacement(c).map(|with| (i, c, with)))
    {
        out.write_str(rest.get(..at).unwrap_or_default())?;
        out.write_str(with)?;
        rest = rest.get(at + c.len_utf8()..).unwrap_or_default();
        if c == '\r' {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
    }
    out.write_str(rest)
}

/// What stands for a character that must not be shown: line breaks become a space, other control
/// characters (C0, DEL, C1) and everything that hides or reorders text become `?`.
pub(crate) const fn replacement(c: char) -> Option<&'static str> {
    match c {
        '\r' | '\n' | '\t' | '\u{2028}' | '\u{2029}' => Some(" "),
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some("?"),
        _ => None,
    }
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
            prop_assert!(out.chars().all(|c| replacement(c).is_none()), "{out:?}");
            prop_assert!(out.len() <= max + "…".len());
        }
    }
}
