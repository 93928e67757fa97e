use super::*;
use proptest::prelude::*;

fn encode(framing: Framing, pieces: &[&[u8]]) -> Vec<u8> {
    let mut encoder = DataEncoder::new(framing);
    let mut out = WireQueue::new();
    for piece in pieces {
        encoder.encode(Bytes::copy_from_slice(piece), &mut out);
    }
    assert_eq!(encoder.taken(), pieces.iter().map(|p| p.len() as u64).sum());
    encoder.finish(&mut out);
    drain(out)
}

fn drain(mut out: WireQueue) -> Vec<u8> {
    let len = out.len();
    let all = out.copy_to_bytes(len).to_vec();
    assert!(out.is_empty());
    all
}

/// What the other side makes of DATA: lines until the lone dot, one leading dot removed.
fn decode(wire: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut rest = wire;
    loop {
        let end = rest
            .windows(2)
            .position(|w| w == b"\r\n")
            .expect("a line end")
            + 2;
        let (line, after) = rest.split_at(end);
        rest = after;
        if line == b".\r\n" {
            assert!(rest.is_empty(), "end of data before the end");
            return content;
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
}

/// What the content is after repair, made the slow way.
fn canonical(content: &[u8]) -> Vec<u8> {
    let mut out = content.to_vec();
    for n in 0..content.len() {
        let stray = match content[n] {
            b'\r' => content.get(n + 1) != Some(&b'\n'),
            b'\n' => n == 0 || content[n - 1] != b'\r',
            _ => false,
        };
        if stray {
            out[n] = b' ';
        }
    }
    out
}

fn only_crlf(wire: &[u8]) -> bool {
    canonical(wire) == wire
}

#[test]
fn e3_02_e3_03_dots_and_ends() {
    for (pieces, want) in [
        (vec![&b"a\r\n"[..]], &b"a\r\n.\r\n"[..]),
        (vec![b"a"], b"a\r\n.\r\n"),
        (vec![b""], b".\r\n"),
        (vec![], b".\r\n"),
        (vec![b"\r\n"], b"\r\n.\r\n"),
        (vec![b"a\r\n\r\n"], b"a\r\n\r\n.\r\n"),
        (vec![b"."], b"..\r\n.\r\n"),
        (vec![b".\r\n..\r\n.x\r\n"], b"..\r\n...\r\n..x\r\n.\r\n"),
        (vec![b"a\r\n", b".b\r\n"], b"a\r\n..b\r\n.\r\n"),
        (vec![b"a\r", b"\n.b\r\n"], b"a\r\n..b\r\n.\r\n"),
        (vec![b"a", b".b\r\n"], b"a.b\r\n.\r\n"),
        (vec![b"a\r\n", b"\r", b"\n", b"."], b"a\r\n\r\n..\r\n.\r\n"),
    ] {
        assert_eq!(
            encode(Framing::Data, &pieces).escape_ascii().to_string(),
            want.escape_ascii().to_string(),
            "{pieces:?}"
        );
    }
}

/// The 13 endings of the smuggling attacks (CVE-2023-51764 and its kin): none ends the data.
#[test]
fn e3_05_no_odd_end_of_data_survives() {
    for end in [
        &b"\n.\n"[..],
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r\n.\r",
        b"\r\n.\r\r\n",
        b"\r.\r\n",
        b"\n.\r",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\0\r\n.\r\n",
        b"\r\r\n.\r\n",
        b"\n\r\n.\r\n",
    ] {
        let content = [&b"body"[..], end, b"MAIL FROM:<evil@x.test>\r\n"].concat();
        for cut in 0..content.len() {
            let (a, b) = content.split_at(cut);
            let wire = encode(Framing::Data, &[a, b]);
            assert!(only_crlf(&wire));
            assert_eq!(decode(&wire), canonical(&content), "{}", end.escape_ascii());
        }
    }
}

#[test]
fn e3_08_a_lone_dot_inside_bdat_is_stuffed_for_data_only() {
    let content = b"a\r\n.\r\nb";
    assert_eq!(encode(Framing::Data, &[content]), b"a\r\n..\r\nb\r\n.\r\n");
    assert_eq!(encode(Framing::Bdat, &[content]), content);
}

#[test]
fn canonical_content_is_not_copied() {
    let line = [&[b'x'; 70][..], b"\r\n"].concat();
    let content = Bytes::from(line.repeat(100));
    let mut out = WireQueue::new();
    let mut encoder = DataEncoder::new(Framing::Data);
    encoder.encode(content.clone(), &mut out);
    encoder.finish(&mut out);
    assert_eq!(out.chunk().as_ptr(), content.as_ptr());
    assert_eq!(out.chunk().len(), content.len());
}

#[test]
fn e3_02_e3_07_what_is_wrong_is_found_wherever_it_stands() {
    for at in [
        0,
        1,
        2,
        LOOK - 3,
        LOOK - 2,
        LOOK - 1,
        LOOK,
        LOOK + 1,
        2 * LOOK - 1,
    ] {
        for wrong in ["\r\n.", "\n.", "\r.", "\r\r\n", "\n\n", "\r", "\n", "."] {
            let mut content = vec![b'x'; at];
            content.extend_from_slice(wrong.as_bytes());
            for rest in ["", "x", "\r\n"] {
                let content = [&content[..], rest.as_bytes()].concat();
                let octets: Vec<&[u8]> = content.chunks(1).collect();
                for framing in [Framing::Data, Framing::Bdat] {
                    let whole = encode(framing, &[&content]);
                    assert_eq!(whole, encode(framing, &octets), "{wrong:?} at {at}");
                }
            }
        }
    }
}

#[test]
fn small_pieces_are_put_together() {
    let mut out = WireQueue::new();
    out.extend_from_slice(b"MAIL\r\n");
    out.push(Bytes::from_static(b"small"));
    out.push(Bytes::from(vec![b'x'; 1_000]));
    out.extend_from_slice(b".\r\n");
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(out.chunks_vectored(&mut slices), 3);
    assert_eq!(&*slices[0], b"MAIL\r\nsmall");
    assert_eq!(out.len(), 11 + 1_000 + 3);
    out.advance(12);
    assert_eq!((out.len(), out.chunk().len()), (1_002, 999));
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let unit = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(b".".to_vec()),
        Just(b"\0".to_vec()),
        Just(vec![b'x'; 600]),
        proptest::collection::vec(any::<u8>(), 0..5),
    ];
    proptest::collection::vec(unit, 0..40).prop_map(|units| units.concat())
}

proptest! {
    #[test]
    fn e3_04_e3_07_only_crlf_and_it_decodes_back(
        content in content(),
        cuts in proptest::collection::vec(0usize..200, 0..8),
    ) {
        let (mut pieces, mut rest) = (Vec::new(), &content[..]);
        for cut in cuts {
            let (a, b) = rest.split_at(cut.min(rest.len()));
            pieces.push(a);
            rest = b;
        }
        pieces.push(rest);
        let data = encode(Framing::Data, &pieces);
        prop_assert!(only_crlf(&data));
        let mut want = canonical(&content);
        // Row E2-34: the same octets as SIZE says, but for a line end that was not there.
        prop_assert_eq!(want.len(), content.len());
        if !want.is_empty() && !want.ends_with(b"\r\n") {
            want.extend_from_slice(b"\r\n");
        }
        prop_assert_eq!(decode(&data), want);
        let bdat = encode(Framing::Bdat, &pieces);
        prop_assert!(only_crlf(&bdat));
        prop_assert_eq!(bdat, canonical(&content));
    }
}
