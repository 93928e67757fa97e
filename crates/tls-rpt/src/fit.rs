//! What peers say, made fit for a report.

use std::borrow::Cow;

use mail_types::harmless;

/// Printable ASCII, at most this long. A peer's text cannot bring in line ends, nor what looks like an
/// address (rows B3-16 to B3-18). What is fit already, as nearly everything is, is not copied.
pub(crate) fn fit(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest && text.chars().all(is_fit) {
        return Cow::Borrowed(text);
    }
    let made_fit = |c: char| Some(harmless(c)).filter(|c| is_fit(*c)).unwrap_or('?');
    let whole: String = text.chars().take(longest).map(made_fit).collect();
    Cow::Owned(whole.trim().to_owned())
}

const fn is_fit(c: char) -> bool {
    matches!(c, ' '..='~') && c != '@'
}
