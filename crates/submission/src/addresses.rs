//! Addresses out of a header field (RFC 5322 section 3.4).

/// The addresses of an address list, without display names, comments, groups' names and the white
/// space that may stand around dots and `@` (section 4.4). What is between two commas and is no address
/// comes as it stands, two words with a space between them: the caller parses, and never takes them for one.
#[must_use]
pub fn addresses(value: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut one = One::default();
    let mut octets = value.iter().copied();
    let mut depth = 0usize;
    while let Some(b) = octets.next() {
        match b {
            b'\\' if depth > 0 => drop(octets.next()),
            b'(' => {
                depth += 1;
                one.space = true;
            }
            b')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            b'"' => one.quoted(&mut octets),
            b'<' => one.angle = Some(Vec::new()),
            b'>' => one.closed = true,
            b'[' => one.literal(&mut octets),
            b',' | b';' if one.angle.is_none() || one.closed => {
                found.extend(std::mem::take(&mut one).text())
            }
            // A group's name stands before it (section 3.4); a source route's colon within <>.
            b':' if one.angle.is_none() => one = One::default(),
            b' ' | b'\t' | b'\r' | b'\n' => one.space = true,
            b => one.push(b),
        }
    }
    found.extend(one.text());
    found
}

/// One address under way.
#[derive(Default)]
struct One {
    plain: Vec<u8>,
    angle: Option<Vec<u8>>,
    closed: bool,
    /// White space or a comment stands before what comes next.
    space: bool,
}

impl One {
    fn push(&mut self, b: u8) {
        let space = std::mem::take(&mut self.space);
        let text = match &mut self.angle {
            Some(_) if self.closed => return,
            Some(angle) => angle,
            None => &mut self.plain,
        };
        let joins = |b: &u8| matches!(b, b'.' | b'@' | b',' | b':');
        if space && text.last().is_some_and(|last| !joins(last)) && !joins(&b) {
            text.push(b' ');
        }
        text.push(b);
    }

    fn quoted(&mut self, octets: &mut impl Iterator<Item = u8>) {
        self.push(b'"');
        while let Some(b) = octets.next() {
            match b {
                // Folding is no part of the text.
                b'\r' | b'\n' => continue,
                b'\\' => {
                    self.push(b);
                    octets.next().into_iter().for_each(|b| self.push(b));
                    continue;
                }
                _ => self.push(b),
            }
            if b == b'"' {
                return;
            }
        }
    }

    fn literal(&mut self, octets: &mut impl Iterator<Item = u8>) {
        self.push(b'[');
        for b in octets.by_ref() {
            if !b.is_ascii_whitespace() {
                self.push(b);
            }
            if b == b']' {
                return;
            }
        }
    }

    fn text(self) -> Option<String> {
        let octets = self.angle.unwrap_or(self.plain);
        let text = String::from_utf8_lossy(&octets);
        // A source route says nothing any more (RFC 5321 appendix C).
        let text = match text.split_once(':') {
            Some((route, rest)) if route.starts_with('@') => rest,
            _ => &*text,
        };
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_rfc_5322() {
        for (value, want) in [
            (" a@d.test\r\n", vec!["a@d.test"]),
            (
                " \"Joe Q. Public\" <john.q.public@example.com>",
                vec!["john.q.public@example.com"],
            ),
            (
                " Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                vec!["mary@x.test", "jdoe@example.org", "one@y.test"],
            ),
            (
                " A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                vec!["c@a.test", "joe@where.test", "jdoe@one.test"],
            ),
            (" Undisclosed recipients:;", vec![]),
            (
                " Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
                vec!["pete@silly.test"],
            ),
            (
                " \"a, b\" <x@d.test>, \"q,uoted\"@d.test",
                vec!["x@d.test", "\"q,uoted\"@d.test"],
            ),
            (" <@a.test,@b.test:c@d.test>", vec!["c@d.test"]),
            (" x@[IPv6:::1]", vec!["x@[IPv6:::1]"]),
            (" root", vec!["root"]),
            (" a . b @ d . test", vec!["a.b@d.test"]),
            (
                " < a@ d.test >, <@a.test, @b.test : c@d.test>",
                vec!["a@d.test", "c@d.test"],
            ),
            // Two words are not one.
            (" john doe@d.test", vec!["john doe@d.test"]),
            (
                " Bob\r\n bob@d.test, x@d.test",
                vec!["Bob bob@d.test", "x@d.test"],
            ),
            (" a at d.test", vec!["a at d.test"]),
            (" john(x)doe@d.test", vec!["john doe@d.test"]),
            (" <lim ited@d.test>", vec!["lim ited@d.test"]),
            (" x@d.test y", vec!["x@d.test y"]),
            (" a@d.test,\r\n\tb@d.test,,", vec!["a@d.test", "b@d.test"]),
            (" <>", vec![]),
            (" ( a@d.test", vec![]),
            (" \"open", vec!["\"open"]),
        ] {
            assert_eq!(addresses(value.as_bytes()), want, "{value}");
        }
    }
}
