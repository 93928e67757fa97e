//! Header fields for HTTP requests, as an operator writes them into a file.

/// What is wrong with a line. The line itself is never repeated: it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestHeaderError {
    /// RFC 9110 section 5: a token, a colon, and what can be seen.
    #[error("line {0} is no header field")]
    Form(usize),
    /// A field that says how this request is made.
    #[error("line {0} is a field that every request has already")]
    Taken(usize),
}

/// Reads lines of `Name: value`; empty ones are passed over, and white space around both parts does
/// not count. Names are tokens and values visible ASCII, spaces and tabs, as each client takes them.
///
/// # Errors
/// The first line that is none, or that sets what belongs to the request itself.
pub fn request_headers(text: &str) -> Result<Vec<(&str, &str)>, RequestHeaderError> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(n, line)| {
            let (name, value) = line.split_once(':').ok_or(RequestHeaderError::Form(n))?;
            let (name, value) = (name.trim(), value.trim());
            let is_name = !name.is_empty() && name.bytes().all(is_token);
            if !is_name || !value.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
                return Err(RequestHeaderError::Form(n));
            }
            if TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(name)) {
                return Err(RequestHeaderError::Taken(n));
            }
            Ok((name, value))
        })
        .collect()
}

/// RFC 9110 section 5.6.2.
const fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// How body, message and connection are framed is not for a file to say.
const TAKEN: [&str; 6] = [
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Host",
    "Transfer-Encoding",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_fields_or_the_file_is_refused() {
        let text = " Authorization: Bearer a:b \n\n\tX-Scope :\t1\r\nEmpty:\n";
        let fields = [
            ("Authorization", "Bearer a:b"),
            ("X-Scope", "1"),
            ("Empty", ""),
        ];
        assert_eq!(request_headers(text), Ok(fields.to_vec()));
        let ok = "A: b\n";
        for (line, want) in [
            ("(x): y", RequestHeaderError::Form(2)),
            ("Authorization: Bearer é", RequestHeaderError::Form(2)),
            ("Authorization: a\u{7}b", RequestHeaderError::Form(2)),
            ("Authorization Bearer", RequestHeaderError::Form(2)),
            ("a b: c", RequestHeaderError::Form(2)),
            (": c", RequestHeaderError::Form(2)),
            ("content-type: text/plain", RequestHeaderError::Taken(2)),
            ("Content-Length: 1", RequestHeaderError::Taken(2)),
            ("HOST: x.test", RequestHeaderError::Taken(2)),
        ] {
            assert_eq!(
                request_headers(&format!("{ok}{line}\n")),
                Err(want),
                "{line}"
            );
        }
    }
}
