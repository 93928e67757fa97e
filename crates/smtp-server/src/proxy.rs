//! The PROXY protocol, versions 1 and 2 (HAProxy, `proxy-protocol.txt`): who is really there, said
//! by a load balancer before anything else on its connection.
//!
//! Invariant: only hosts that are listed are believed, those must say it, and nobody else's header
//! is ever read (rows G3-05, H5-08). What says that it speaks for nobody in particular, such as a
//! health check, has no rights: the balancer's own address may be one that relays.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Whom a connection of a proxy is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Source {
    /// This client; IPv4 never in IPv6-mapped form.
    Client(SocketAddr),
    /// The proxy itself (`LOCAL`), or something without an IP address (`UNKNOWN`, a unix socket).
    Nobody,
}

/// What stands at the front of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
enum Header {
    /// All octets so far belong to a header, and more have to come.
    Incomplete,
    /// A header of so many octets.
    Complete(usize, Source),
    /// No header, or a broken one.
    Invalid,
}

/// Reads the header, and nothing behind it.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if there is none; else what reading says.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Source> {
    let mut taken = Vec::with_capacity(V1_LONGEST);
    let mut ahead = [0; V1_LONGEST];
    loop {
        let n = stream.peek(&mut ahead).await?;
        let before = taken.len();
        taken.extend_from_slice(&ahead[..n]);
        let (used, source) = match parse(&taken) {
            Header::Complete(len, source) => (len.saturating_sub(before), Some(source)),
            Header::Incomplete if n > 0 => (n, None),
            Header::Incomplete => return Err(io::ErrorKind::UnexpectedEof.into()),
            Header::Invalid => return Err(io::ErrorKind::InvalidData.into()),
        };
        stream.read_exact(&mut ahead[..used]).await?;
        if let Some(source) = source {
            return Ok(source);
        }
    }
}

fn parse(input: &[u8]) -> Header {
    let begins = |signature: &[u8]| {
        let n = signature.len().min(input.len());
        input[..n] == signature[..n]
    };
    if begins(V2_SIGNATURE) {
        version_2(input)
    } else if begins(V1_SIGNATURE) {
        version_1(input)
    } else {
        Header::Invalid
    }
}

/// `PROXY TCP4 source destination source-port destination-port CRLF`.
fn version_1(input: &[u8]) -> Header {
    let front = &input[..input.len().min(V1_LONGEST)];
    let Some(end) = front.windows(2).position(|w| w == b"\r\n") else {
        return match front.len() {
            V1_LONGEST => Header::Invalid,
            _ => Header::Incomplete,
        };
    };
    let Ok(line) = std::str::from_utf8(&front[..end]) else {
        return Header::Invalid;
    };
    let words: Vec<&str> = line.split(' ').collect();
    let source = match words.as_slice() {
        // What else stands there is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Some(Source::Nobody),
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
    source.map_or(Header::Invalid, |source| Header::Complete(end + 2, source))
}

fn endpoint(from: Option<IpAddr>, to: Option<IpAddr>, port: &str, to_port: &str) -> Option<Source> {
    to?;
    to_port.parse::<u16>().ok()?;
    Some(client(from?, port.parse().ok()?))
}

/// Signature, version and command, family and protocol, length, addresses, and what else the
/// length covers (TLVs), which nobody asks for.
fn version_2(input: &[u8]) -> Header {
    let Some((head, rest)) = input.split_at_checked(V2_HEAD) else {
        return Header::Incomplete;
    };
    let (version_command, family) = (head[12], head[13]);
    let len = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if version_command >> 4 != 2 || len > V2_LONGEST {
        return Header::Invalid;
    }
    let Some(body) = rest.get(..len) else {
        return Header::Incomplete;
    };
    let whole = V2_HEAD + len;
    let source = match (version_command & 0xf, family) {
        // LOCAL: the rest is to be ignored.
        (0, _) => Some(Source::Nobody),
        (1, TCP_OVER_IPV4) => ipv4(body),
        (1, TCP_OVER_IPV6) => ipv6(body),
        (1, UNSPECIFIED | UNIX_STREAM) => Some(Source::Nobody),
        _ => None,
    };
    source.map_or(Header::Invalid, |source| Header::Complete(whole, source))
}

fn ipv4(body: &[u8]) -> Option<Source> {
    let address: [u8; 4] = body.get(..4)?.try_into().ok()?;
    let ports = body.get(8..12)?;
    let port = u16::from_be_bytes([ports[0], ports[1]]);
    Some(client(Ipv4Addr::from(address).into(), port))
}

fn ipv6(body: &[u8]) -> Option<Source> {
    let address: [u8; 16] = body.get(..16)?.try_into().ok()?;
    let ports = body.get(32..36)?;
    let port = u16::from_be_bytes([ports[0], ports[1]]);
    Some(client(Ipv6Addr::from(address).into(), port))
}

fn client(address: IpAddr, port: u16) -> Source {
    Source::Client(SocketAddr::new(address.to_canonical(), port))
}

/// What a header begins with, for those who may not send one.
pub(crate) fn is_header(input: &[u8]) -> bool {
    input.starts_with(V1_SIGNATURE) || input.starts_with(V2_SIGNATURE)
}

const V1_SIGNATURE: &[u8] = b"PROXY ";
/// The longest line with its CRLF, as the specification counts it.
const V1_LONGEST: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD: usize = 16;
/// Far more than addresses and the usual TLVs take.
const V2_LONGEST: usize = 4096;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Source {
        Source::Client(text.parse().unwrap())
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
            ("PROXY UNKNOWN\r\n", Some(Source::Nobody)),
            (
                "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
                Some(Source::Nobody),
            ),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 5000\r\n", None),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n", None),
            ("PROXY TCP4 2001:db8::1 2001:db8::2 5000 25\r\n", None),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 5000 25\r\n", None),
            ("PROXY TCP4  192.0.2.1 192.0.2.2 5000 25\r\n", None),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 5000 25\r\n", None),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 5000 25\n\r\n", None),
            ("EHLO client.test\r\n", None),
            ("proxy unknown\r\n", None),
        ] {
            let got = parse(line.as_bytes());
            let want = want.map_or(Header::Invalid, |s| Header::Complete(line.len(), s));
            assert_eq!(got, want, "{line:?}");
        }
        let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        assert_eq!(parse(&endless), Header::Invalid);
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
            (0x20, 0x11, &four, Some(Source::Nobody)),
            (0x20, 0x00, &[], Some(Source::Nobody)),
            (0x21, 0x00, &[], Some(Source::Nobody)),
            (0x21, 0x31, &[0; 216], Some(Source::Nobody)),
            (0x21, 0x11, &four[..11], None),
            (0x21, 0x21, &four, None),
            (0x21, 0x12, &four, None),
            (0x22, 0x11, &four, None),
            (0x11, 0x11, &four, None),
            (0x21, 0x11, &[0; 4097], None),
        ] {
            let header = v2(command, family, body);
            let want = want.map_or(Header::Invalid, |s| Header::Complete(header.len(), s));
            assert_eq!(
                parse(&header),
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
                assert_eq!(parse(&header[..n]), Header::Incomplete, "{n}");
            }
            let behind = [header.as_slice(), b"EHLO x\r\n"].concat();
            let want = Header::Complete(header.len(), at("192.0.2.1:5000"));
            assert_eq!(parse(&behind), want);
        }
    }
}
