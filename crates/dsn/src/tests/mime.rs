//! A strict little MIME reader: refuses whatever a careful receiver might.

/// Header fields, unfolded, in order.
pub(super) type Fields = Vec<(String, String)>;

pub(super) struct Part {
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
}

pub(super) struct Report {
    pub(super) header: Fields,
    pub(super) parts: Vec<Part>,
}

/// Reads a multipart/report.
pub(super) fn read(message: &[u8]) -> Report {
    check_lines(message);
    let (header, body) = read_header(message);
    assert_eq!(get(&header, "MIME-Version"), "1.0");
    let content_type = get(&header, "Content-Type");
    let rest = content_type
        .strip_prefix("multipart/report; report-type=delivery-status;")
        .expect("multipart/report");
    let boundary = rest
        .trim()
        .strip_prefix("boundary=\"")
        .and_then(|b| b.strip_suffix('"'))
        .expect("a quoted boundary");
    assert!((1..=70).contains(&boundary.len()));
    let parts = split(&body, boundary);
    for part in &parts {
        let encoding = get(&part.fields, "Content-Transfer-Encoding");
        match encoding.as_str() {
            "7bit" | "quoted-printable" => assert!(part.body.is_ascii(), "{encoding}"),
            "8bit" => assert_eq!(get(&header, "Content-Transfer-Encoding"), "8bit"),
            other => panic!("encoding {other}"),
        }
    }
    Report { header, parts }
}

/// CRLF only, no NUL, no line over 998 octets.
fn check_lines(message: &[u8]) {
    assert!(message.ends_with(b"\r\n"));
    let text = String::from_utf8_lossy(message).into_owned();
    for line in text.split("\r\n") {
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        assert!(line.len() <= 998, "{} octets", line.len());
    }
}

/// Fields up to the empty line, and what follows it.
fn read_header(bytes: &[u8]) -> (Fields, Vec<u8>) {
    let end = find(bytes, b"\r\n\r\n").expect("an empty line after the header");
    let body = bytes[end + 4..].to_vec();
    (read_fields(&bytes[..end + 2]), body)
}

pub(super) fn read_fields(block: &[u8]) -> Fields {
    let text = std::str::from_utf8(block).expect("UTF-8");
    let mut fields = Fields::new();
    for line in text.strip_suffix("\r\n").expect("line end").split("\r\n") {
        assert!(!line.trim().is_empty(), "an empty line inside of a block");
        if line.starts_with([' ', '\t']) {
            fields.last_mut().expect("a field to continue").1 += line;
            continue;
        }
        let (name, value) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("field {line:?}"));
        assert!(
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "{name:?}"
        );
        fields.push((name.into(), value.into()));
    }
    fields
}

/// The value of a field that stands there exactly once.
pub(super) fn get(fields: &Fields, name: &str) -> String {
    let found = all(fields, name);
    assert_eq!(found.len(), 1, "{name} exactly once in {fields:?}");
    found[0].clone()
}

pub(super) fn all(fields: &Fields, name: &str) -> Vec<String> {
    fields
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.clone())
        .collect()
}

fn split(body: &[u8], boundary: &str) -> Vec<Part> {
    let delimiter = format!("\r\n--{boundary}");
    let mut pieces = Vec::new();
    let mut rest = body;
    while let Some(at) = find(rest, delimiter.as_bytes()) {
        pieces.push(&rest[..at]);
        rest = &rest[at + delimiter.len()..];
    }
    assert_eq!(
        rest, b"--\r\n",
        "the closing delimiter, and nothing after it"
    );
    pieces[1..]
        .iter()
        .map(|piece| {
            let piece = piece
                .strip_prefix(b"\r\n")
                .expect("delimiter on its own line");
            let (fields, body) = read_header(piece);
            Part { fields, body }
        })
        .collect()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

impl Report {
    /// The text part, decoded.
    pub(super) fn human(&self) -> String {
        let part = &self.parts[0];
        assert!(get(&part.fields, "Content-Type").starts_with("text/plain; charset="));
        let mut text = String::from_utf8(part.body.clone()).unwrap();
        if get(&part.fields, "Content-Transfer-Encoding") == "quoted-printable" {
            text = text.replace("=\r\n", "");
            let mut out = Vec::new();
            let mut bytes = text.bytes();
            while let Some(b) = bytes.next() {
                if b == b'=' {
                    let hex = [bytes.next().unwrap(), bytes.next().unwrap()].map(char::from);
                    let hex: String = hex.iter().collect();
                    out.push(u8::from_str_radix(&hex, 16).unwrap());
                } else {
                    out.push(b);
                }
            }
            text = String::from_utf8(out).unwrap();
        }
        text
    }

    /// The text part with its line breaks taken out.
    pub(super) fn prose(&self) -> String {
        self.human()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The message's fields of the machine part, and each recipient's.
    pub(super) fn machine(&self) -> (Fields, Vec<Fields>) {
        let body = &self.parts[1].body;
        let text = std::str::from_utf8(body).unwrap();
        let mut blocks: Vec<Fields> = text
            .split("\r\n\r\n")
            .map(|b| {
                let b = b.strip_suffix("\r\n").unwrap_or(b);
                read_fields(format!("{b}\r\n").as_bytes())
            })
            .collect();
        let recipients = blocks.split_off(1);
        (blocks.remove(0), recipients)
    }
}
