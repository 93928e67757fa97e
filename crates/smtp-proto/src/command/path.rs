//! Paths: `<[route]mailbox>` (RFC 5321 section 4.1.2).

use mail_types::{Domain, Mailbox};

use super::PathError;

/// Splits `<path> parameters` into the text inside the brackets and the text behind them.
pub(super) fn split(text: &str) -> Result<(&str, &str), PathError> {
    let inner = text.strip_prefix('<').ok_or(PathError::Brackets)?;
    let end = closing_bracket(inner).ok_or(PathError::Brackets)?;
    let rest = &inner[end + 1..];
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(PathError::Brackets);
    }
    Ok((&inner[..end], rest))
}

/// The mailbox of a path. A source route is checked and dropped (RFC 5321 section 4.1.1.3: it
/// SHOULD be ignored); `user%host@relay` is a local part like any other (row E4-08).
pub(super) fn mailbox(inner: &str) -> Result<Mailbox, PathError> {
    let mailbox = match inner.strip_prefix('@') {
        None => inner,
        Some(_) => {
            let (route, mailbox) = inner.split_once(':').ok_or(PathError::Route)?;
            for hop in route.split(',') {
                let domain = hop.strip_prefix('@').ok_or(PathError::Route)?;
                Domain::parse(domain).map_err(|_| PathError::Route)?;
            }
            mailbox
        }
    };
    Ok(Mailbox::parse(mailbox)?)
}

/// The first `>` that is not within a quoted string.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (i, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(i),
            _ => {}
        }
    }
    None
}
