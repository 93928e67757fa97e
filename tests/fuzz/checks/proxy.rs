//! Any front of a connection: a header is read whole or not at all, never past its end, and each
//! octet that comes late changes nothing.

use proxy_protocol::{ProxyHeader, ProxySource};

pub(super) fn check(input: &[u8]) {
    let whole = ProxyHeader::parse(input);
    match whole {
        ProxyHeader::Complete(len, source) => {
            assert!(len <= input.len() && ProxyHeader::begins(input));
            let header = &input[..len];
            assert_eq!(
                ProxyHeader::parse(header),
                whole,
                "what stands behind counts"
            );
            for n in 0..len {
                assert_eq!(
                    ProxyHeader::parse(&header[..n]),
                    ProxyHeader::Incomplete,
                    "{n}"
                );
            }
            if let ProxySource::Client(address) = source {
                assert_eq!(address.ip().to_canonical(), address.ip());
                if header.starts_with(b"PROXY ") {
                    let line = std::str::from_utf8(header).unwrap();
                    let words: Vec<&str> = line.trim_end().split(' ').collect();
                    assert_eq!(words.len(), 6, "{line}");
                    let said: std::net::IpAddr = words[2].parse().unwrap();
                    assert_eq!(said.to_canonical(), address.ip(), "{line}");
                    assert_eq!(words[4], address.port().to_string(), "{line}");
                }
            }
        }
        // A header that nobody will ever see the end of.
        ProxyHeader::Incomplete => assert!(input.len() < 16 + 4096, "{} octets", input.len()),
        ProxyHeader::Invalid => {
            let longer = [input, b"\r\n"].concat();
            assert_eq!(ProxyHeader::parse(&longer), whole, "it cannot become one");
        }
    }
}
