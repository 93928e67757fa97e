//! The fields of a message's header (RFC 5322 section 2.2), byte for byte.

/// One field of a header as it stands in the message: name, colon, value, all its folded lines
/// and its last line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    raw: &'a [u8],
    colon: usize,
}

impl<'a> Field<'a> {
    /// The octets as they stand in the message.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The name as it is spelled, without white space before the colon (RFC 5322 section 4.5.8).
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.raw[..self.colon].trim_ascii_end()
    }

    /// What stands behind the colon, still folded.
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        &self.raw[self.colon + 1..]
    }

    /// Whether it has this name, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    fn parse(raw: &'a [u8]) -> Option<Self> {
        // In its first line: a colon that comes folded would make a field of a line that, by itself,
        // has already ended the header.
        let line = &raw[..line_end(raw)];
        let colon = line.iter().position(|b| *b == b':')?;
        let field = Self { raw, colon };
        let name = field.name();
        let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        is_name.then_some(field)
    }
}

/// The fields at the front of `message`, and what follows them: the empty line and the body, or a
/// line that is no field, where every mail server takes the body to begin.
#[must_use]
pub fn header_fields(message: &[u8]) -> (Vec<Field<'_>>, &[u8]) {
    let mut fields = Vec::new();
    let mut rest = message;
    while !rest.is_empty() && !rest.starts_with(b"\r\n") {
        let mut end = line_end(rest);
        while matches!(rest.get(end), Some(b' ' | b'\t')) {
            end += line_end(&rest[end..]);
        }
        let (raw, behind) = rest.split_at(end);
        let Some(field) = Field::parse(raw) else {
            break;
        };
        fields.push(field);
        rest = behind;
    }
    (fields, rest)
}

fn line_end(text: &[u8]) -> usize {
    text.iter()
        .position(|b| *b == b'\n')
        .map_or(text.len(), |lf| lf + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_octets() {
        let message = b"From : a@d.test\r\nSubject: x\r\n\ty: z\r\n\r\nBody: no\r\n";
        let (fields, rest) = header_fields(message);
        let raw: Vec<&[u8]> = fields.iter().map(Field::raw).collect();
        assert_eq!(
            raw,
            [&b"From : a@d.test\r\n"[..], b"Subject: x\r\n\ty: z\r\n"]
        );
        assert!(fields[0].is("FROM") && fields[1].is("subject"));
        assert_eq!(fields[1].value(), b" x\r\n\ty: z\r\n");
        assert_eq!(rest, b"\r\nBody: no\r\n");
    }

    #[test]
    fn a_line_that_is_no_field_ends_the_header() {
        for (message, count) in [
            (&b"hello\r\nA: b\r\n"[..], 0),
            (b"A: b\r\nhello world\r\n", 1),
            (b"A: b\r\nb c: d\r\n", 1),
            (b" folded: nothing\r\n", 0),
            (b": empty\r\n", 0),
            (b"A: b\r\nname\r\n : folded colon\r\n", 1),
            (b"TLS-Required\r\n : No\r\n\r\n", 0),
            (b"", 0),
            (b"A: b", 1),
        ] {
            let (fields, rest) = header_fields(message);
            assert_eq!(fields.len(), count, "{message:?}");
            let length: usize = fields.iter().map(|f| f.raw().len()).sum();
            assert_eq!(length + rest.len(), message.len());
        }
    }
}
