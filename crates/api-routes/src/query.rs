//! The parameters of a query string. Which ones there are the router knows, and refuses all others.

use std::str::FromStr;

use crate::{Problem, quoted};

/// Names and values, in their order.
///
/// # Errors
/// Of each that is not percent-encoded, or no UTF-8.
pub fn parameters(query: &str) -> impl Iterator<Item = Result<(&str, String), Problem>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((name, decode(name, value)?))
    })
}

/// A number, as large as its place takes.
///
/// # Errors
/// It is none, or too large.
pub fn number<N: FromStr>(name: &str, value: &str) -> Result<N, Problem> {
    value
        .parse()
        .map_err(|_| Problem::parameter(name, format!("{name} is not a number: {}", quoted(value))))
}

/// A limit that lets something through.
///
/// # Errors
/// It is 0.
pub fn some(name: &str, limit: usize) -> Result<usize, Problem> {
    match limit {
        0 => Err(Problem::parameter(name, format!("{name} is 1 at least"))),
        limit => Ok(limit),
    }
}

/// Percent-decoding of a parameter's value (RFC 3986 section 2.1; `+` is a space in query strings).
fn decode(name: &str, value: &str) -> Result<String, Problem> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'+' => b' ',
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                let (hi, lo) = (digit(bytes.next()), digit(bytes.next()));
                match (hi, lo) {
                    (Some(hi), Some(lo)) => u8::try_from(hi * 16 + lo).unwrap_or_default(),
                    _ => {
                        let detail = format!("{} is not percent-encoded", quoted(value));
                        return Err(Problem::parameter(name, detail));
                    }
                }
            }
            other => other,
        });
    }
    String::from_utf8(out)
        .map_err(|_| Problem::parameter(name, format!("{} is not UTF-8", quoted(value))))
}
