//! Header fields in relaxed form (RFC 6376 section 3.4.2).

use mail_types::Field;

/// Appends the field in relaxed form, with its CRLF.
pub(crate) fn relaxed(field: &Field<'_>, out: &mut Vec<u8>) {
    out.extend(field.name().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    relaxed_value(field.value(), out);
    out.extend_from_slice(b"\r\n");
}

/// Unfolded, runs of white space as one space, none at either end.
pub(crate) fn relaxed_value(value: &[u8], out: &mut Vec<u8>) {
    let mut words = value
        .split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
        .filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        out.extend_from_slice(first);
    }
    for word in words {
        out.push(b' ');
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use mail_types::header_fields;

    use super::*;

    #[test]
    fn fields_of_the_rfc() {
        // RFC 6376 section 3.4.5.
        let (fields, _) = header_fields(b"A: X\r\nB : Y\t\r\n\tZ  \r\nc:\r\n\r\n");
        let mut out = Vec::new();
        fields.iter().for_each(|f| relaxed(f, &mut out));
        assert_eq!(out, b"a:X\r\nb:Y Z\r\nc:\r\n");
    }
}
