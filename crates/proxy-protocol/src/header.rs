//! The header of the PROXY protocol, versions 1 and 2 (HAProxy, `proxy-protocol.txt`), in which a
//! load balancer says for whom a connection is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What stands at the front of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ProxyHeader {
    /// All octets so far belong to a header, and more have to come.
    Incomplete,
    /// A header of so many octets.
    Complete(usize, ProxySource),
    /// No header, or a broken one.
    Invalid,
}

/// Whom a connection of a proxy is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ProxySource {
    /// This client; IPv4 never in IPv6-mapped form.
    Client(SocketAddr),
    /// The proxy itself (`LOCAL`), or something without an IP address (`UNKNOWN`, a unix socket).
    Nobody,
}

impl ProxyHeader {
    /// Octets of the longest version 1 line with its CRLF, as the specification counts it.
    pub const V1_LONGEST: usize = 107;

    /// Reads the front of `input`, and nothing behind the header.
    pub fn parse(input: &[u8]) -> Self {
        let begins = |signature: &[u8]| {
            let n = signature.len().min(input.len());
            input[..n] == signature[..n]
        };
        if begins(V2_SIGNATURE) {
            version_2(input)
        } else if begins(V1_SIGNATURE) {
            version_1(input)
        } else {
            Self::Invalid
        }
    }

    /// In words, what came where a header should be, and `then`, if that is not what ended it.
    #[must_use]
    pub fn instead(taken: &[u8], then: &str) -> String {
        let shown = taken.get(..SHOWN).unwrap_or(taken);
        let came = match (taken.len(), taken.len() - shown.len()) {
            (0, _) => "nothing".to_owned(),
            (_, 0) => format!("\"{}\"", shown.escape_ascii()),
            (_, more) => format!("\"{}\" and {more} octets more", shown.escape_ascii()),
        };
        if !then.is_empty() {
            format!("no whole PROXY header: {came} came, then {then}")
        } else if Self::begins(taken) {
            format!("a PROXY header came that breaks the protocol: {came}")
        } else if let [0x16, 0x03, ..] = taken {
            "a TLS handshake came instead of a PROXY header".to_owned()
        } else {
            format!("{came} came instead of a PROXY header")
        }
    }

    /// Whether a header begins here, for those who may not send one.
    #[must_use]
    pub fn begins(input: &[u8]) -> bool {
        input.starts_with(V1_SIGNATURE) || input.starts_with(V2_SIGNATURE)
    }
}

/// `PROXY TCP4 source destination source-port destination-port CRLF`.
fn version_1(input: &[u8]) -> ProxyHeader {
    let front = &input[..input.len().min(ProxyHeader::V1_LONGEST)];
    let Some(end) = front.windows(2).position(|w| w == b"\r\n") else {
        return match front.len() {
            ProxyHeader::V1_LONGEST => ProxyHeader::Invalid,
            _ => ProxyHeader::Incomplete,
        };
    };
    let Ok(line) = std::str::from_utf8(&front[..end]) else {
        return ProxyHeader::Invalid;
    };
    let words: Vec<&str> = line.split(' ').collect();
    let source = match words.as_slice() {
        // What else stands there is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Some(ProxySource::Nobody),
        ["PROXY", "TCP4", from, to, from_port, to_port] => {
            let parse = |a: &str| a.parse().ok().map(IpAddr::V4);
            endpoint(parse(from), parse(to), from_port, to_port)
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] => {
            let parse = |a: &str| a.parse().ok().map(IpAddr::V6);
            endpoint(parse(from), parse(to), from_port, to_port)
        }
        _ => None,
    };
    source.map_or(ProxyHeader::Invalid, |source| {
        ProxyHeader::Complete(end + 2, source)
    })
}

fn endpoint(
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    port: &str,
    to_port: &str,
) -> Option<ProxySource> {
    to?;
    number(to_port)?;
    Some(client(from?, number(port)?))
}

/// Digits without a leading zero, as the specification asks.
fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    (text.len() == 1 || !text.starts_with('0')).then_some(number)
}

/// Signature, version and command, family and protocol, length, addresses, and what else the
/// length covers (TLVs), which nobody asks for.
fn version_2(input: &[u8]) -> ProxyHeader {
    let Some((head, rest)) = input.split_at_checked(V2_HEAD) else {
        return ProxyHeader::Incomplete;
    };
    let (version_command, family) = (head[12], head[13]);
    let len = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if version_command >> 4 != 2 || len > V2_LONGEST {
        return ProxyHeader::Invalid;
    }
    let Some(body) = rest.get(..len) else {
        return ProxyHeader::Incomplete;
    };
    let whole = V2_HEAD + len;
    let source = match (version_command & 0xf, family) {
        // LOCAL: the rest is to be ignored.
        (0, _) => Some(ProxySource::Nobody),
        (1, TCP_OVER_IPV4) => ipv4(body),
        (1, TCP_OVER_IPV6) => ipv6(body),
        (1, UNSPECIFIED | UNIX_STREAM) => Some(ProxySource::Nobody),
        _ => None,
    };
    source.map_or(ProxyHeader::Invalid, |source| {
        ProxyHeader::Complete(whole, source)
    })
}

fn ipv4(body: &[u8]) -> Option<ProxySource> {
    let address: [u8; 4] = body.get(..4)?.try_into().ok()?;
    let ports = body.get(8..12)?;
    let port = u16::from_be_bytes([ports[0], ports[1]]);
    Some(client(Ipv4Addr::from(address).into(), port))
}

fn ipv6(body: &[u8]) -> Option<ProxySource> {
    let address: [u8; 16] = body.get(..16)?.try_into().ok()?;
    let ports = body.get(32..36)?;
    let port = u16::from_be_bytes([ports[0], ports[1]]);
    Some(client(Ipv6Addr::from(address).into(), port))
}

fn client(address: IpAddr, port: u16) -> ProxySource {
    ProxySource::Client(SocketAddr::new(address.to_canonical(), port))
}

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD: usize = 16;
/// Far more than addresses and the usual TLVs take.
const V2_LONGEST: usize = 4096;
/// Enough to tell what it is.
const SHOWN: usize = 60;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> ProxySource {
        ProxySource::Client(text.parse().unwrap())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = V2_SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend((body.len() as u16).to_be_bytes());
        header.extend(body);
        header
    }

    #[test]
    fn g3_05_version_1() {
        for (line, want) in [
            (
                "PROXY TCP4 192.0.2.1 192.0.2.2 5000 25\r\n",
                Some(at("192.0.2.1:5000")),
            ),
            (
                "PROXY TCP6 2001:db8::1 2001:db8::2 5000 25\r\n",
                Some(at("[2001:db8::1]:5000")),
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::1 5000 25\r\n",
                Some(at("192.0.2.1:5000")),
            ),
            ("PROXY UNKNOWN\r\n", Some(ProxySource::Nobody)),
            (
                "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
                Some(ProxySource::Nobody),
            ),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 5000\r\n", None),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n", None),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 5000 25\r\n", None),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 5000 25\r\n", None),
            ("PROXY TCP4  192.0.2.1 192.0.2.2 5000 25\r\n", None),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 5000 25\r\n", None),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 05000 25\r\n", None),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 5000 +25\r\n", None),
            ("PROXY TCP4 192.0.02.1 192.0.2.2 5000 25\r\n", None),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 5000 25\n\r\n", None),
            ("EHLO client.test\r\n", None),
            ("proxy unknown\r\n", None),
        ] {
            let got = ProxyHeader::parse(line.as_bytes());
            let want = want.map_or(ProxyHeader::Invalid, |s| {
                ProxyHeader::Complete(line.len(), s)
            });
            assert_eq!(got, want, "{line:?}");
        }
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        assert_eq!(ProxyHeader::parse(&endless), ProxyHeader::Invalid);
    }

    #[test]
    fn g3_05_version_2() {
        let four = [192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 0, 25];
        let with_tlv = [four.as_slice(), &[4, 0, 1, 0]].concat();
        let mut mapped = [0; 36];
        mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
        mapped[32..34].copy_from_slice(&5000u16.to_be_bytes());
        let client = Some(at("192.0.2.1:5000"));
        for (command, family, body, want) in [
            (0x21, 0x11, four.as_slice(), client),
            (0x21, 0x11, &with_tlv, client),
            (0x21, 0x21, &mapped, client),
            (0x20, 0x11, &four, Some(ProxySource::Nobody)),
            (0x20, 0x00, &[], Some(ProxySource::Nobody)),
            (0x21, 0x00, &[], Some(ProxySource::Nobody)),
            (0x21, 0x31, &[0; 216], Some(ProxySource::Nobody)),
            (0x21, 0x11, &four[..11], None),
            (0x21, 0x21, &four, None),
            (0x21, 0x12, &four, None),
            (0x22, 0x11, &four, None),
            (0x11, 0x11, &four, None),
            (0x21, 0x11, &[0; 4097], None),
        ] {
            let header = v2(command, family, body);
            let want = want.map_or(ProxyHeader::Invalid, |s| {
                ProxyHeader::Complete(header.len(), s)
            });
            assert_eq!(
                ProxyHeader::parse(&header),
                want,
                "{command:x} {family:x} {}",
                body.len()
            );
        }
    }

    #[test]
    fn every_front_of_a_header_is_incomplete_and_nothing_behind_it_counts() {
        let four = [192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 0, 25];
        for header in [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 25\r\n".to_vec(),
            v2(0x21, 0x11, &four),
        ] {
            for n in 0..header.len() {
                assert_eq!(
                    ProxyHeader::parse(&header[..n]),
                    ProxyHeader::Incomplete,
                    "{n}"
                );
            }
            let behind = [header.as_slice(), b"EHLO x\r\n"].concat();
            let want = ProxyHeader::Complete(header.len(), at("192.0.2.1:5000"));
            assert_eq!(ProxyHeader::parse(&behind), want);
        }
    }

    #[test]
    fn g3_05_what_came_instead_is_told() {
        for (taken, want) in [
            (
                &b"EHLO c.test\r\n"[..],
                r#""EHLO c.test\r\n" came instead of a PROXY header"#,
            ),
            (
                b"\x16\x03\x01\x02\0",
                "a TLS handshake came instead of a PROXY header",
            ),
            (
                b"PROXY TCP4 192.0.2.1\r\n",
                r#"a PROXY header came that breaks the protocol: "PROXY TCP4 192.0.2.1\r\n""#,
            ),
            (
                b"\0\x1b[2J",
                r#""\x00\x1b[2J" came instead of a PROXY header"#,
            ),
        ] {
            assert_eq!(ProxyHeader::instead(taken, ""), want);
        }
        let long = ProxyHeader::instead(&[b'x'; 100], "");
        assert!(long.contains("\" and 40 octets more came"), "{long}");
        let late = ProxyHeader::instead(b"", "10 s were over");
        assert_eq!(
            late,
            "no whole PROXY header: nothing came, then 10 s were over"
        );
    }
}
