use proptest::prelude::*;

use super::*;

/// What became of some input.
#[derive(Debug, PartialEq, Eq, Clone, Default)]
struct Outcome {
    content: Vec<u8>,
    /// Octets used up to and with the end of data, if it was reached.
    ended_at: Option<usize>,
    refused: bool,
    bare: u64,
}

/// Feeds `input` in parts of `step` octets, keeping what was not used, as a driver does.
fn decode(input: &[u8], step: usize, bare_newline: BareNewline) -> Outcome {
    let mut decoder = DataDecoder::new(bare_newline);
    let mut outcome = Outcome::default();
    let (mut start, mut end) = (0, 0);
    loop {
        let (used, piece) = decoder.next(&input[start..end]);
        start += used;
        match piece {
            Piece::Content(c) => {
                assert!(!c.is_empty());
                outcome.content.extend_from_slice(c);
            }
            Piece::More if end == input.len() => break,
            Piece::More => end = input.len().min(end + step),
            Piece::End => {
                outcome.ended_at = Some(start);
                break;
            }
            Piece::BareNewline => {
                outcome.refused = true;
                break;
            }
        }
    }
    outcome.bare = decoder.counts().bare_newlines;
    outcome
}

/// The same by the letter of the RFC, octet by octet, with the whole input at hand.
fn model(input: &[u8], bare_newline: BareNewline) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut i, mut line_start) = (0, true);
    while i < input.len() {
        let rest = &input[i..];
        if line_start && rest.starts_with(b".\r\n") {
            outcome.ended_at = Some(i + 3);
            return outcome;
        }
        if line_start && (rest == b"." || rest == b".\r") {
            return outcome; // cannot be judged
        }
        if line_start && rest[0] == b'.' {
            i += 1;
            line_start = false;
            continue;
        }
        line_start = false;
        if rest.starts_with(b"\r\n") {
            outcome.content.extend_from_slice(b"\r\n");
            i += 2;
            line_start = true;
        } else if rest == b"\r" {
            return outcome; // cannot be judged
        } else if matches!(rest[0], b'\r' | b'\n') {
            if bare_newline == BareNewline::Reject {
                outcome.refused = true;
                return outcome;
            }
            outcome.bare += 1;
            outcome.content.push(b' ');
            i += 1;
        } else {
            outcome.content.push(rest[0]);
            i += 1;
        }
    }
    outcome
}

fn chunks(parts: &[&[u8]], step: usize, bare_newline: BareNewline) -> Outcome {
    let mut reader = BdatReader::new(bare_newline);
    let mut outcome = Outcome::default();
    for (n, part) in parts.iter().enumerate() {
        reader.begin_chunk(part.len() as u64, n + 1 == parts.len());
        let (mut start, mut end) = (0, 0);
        loop {
            let (used, piece) = reader.next(&part[start..end]);
            start += used;
            match piece {
                Piece::Content(c) => outcome.content.extend_from_slice(c),
                Piece::More => {
                    assert!(end < part.len(), "asks for more than the chunk has");
                    end = part.len().min(end + step);
                }
                Piece::End => {
                    assert_eq!(start, part.len());
                    break;
                }
                Piece::BareNewline => {
                    outcome.refused = true;
                    return outcome;
                }
            }
        }
    }
    outcome.bare = reader.counts().bare_newlines;
    outcome
}

#[test]
fn e3_02_dots_at_every_split() {
    let input = b".\r\n..\r\n...x\r\na.\r\n.b\r\n\r\n";
    for (lead, want) in [
        (&b""[..], &b""[..]),       // `.` alone ends it at once
        (b"a\r\n.", b"a\r\n.\r\n"), // `..` is a line of one dot
    ] {
        let mut all = lead.to_vec();
        all.extend_from_slice(if lead.is_empty() {
            input
        } else {
            b".\r\n.\r\n"
        });
        for step in 1..=all.len() {
            let got = decode(&all, step, BareNewline::Reject);
            assert_eq!(got.content, want, "step {step}");
            assert!(got.ended_at.is_some());
        }
    }
    let got = decode(
        b"..\r\n...x\r\na.\r\n.b\r\n\r\n.\r\nQUIT\r\n",
        3,
        BareNewline::Reject,
    );
    assert_eq!(got.content, b".\r\n..x\r\na.\r\nb\r\n\r\n");
    assert_eq!(got.ended_at, Some(23));
}

/// Row E3-05 and CVE-2023-51764 to 51766: what other servers took for the end of data.
pub(crate) const FALSE_ENDS: [&[u8]; 13] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r.\r\n",
    b"\n.\r",
    b"\r.\n",
    b"\r\n.\0\r\n",
    b"\r\n\0.\r\n",
    b"\r\0\n.\r\n",
    b"\r\n.\r\0\n",
];

#[test]
fn e3_05_thirteen_false_ends_of_data() {
    for variant in FALSE_ENDS {
        let mut input = b"a".to_vec();
        input.extend_from_slice(variant);
        input.extend_from_slice(b"MAIL FROM:<x@y.test>\r\n.\r\n");
        for mode in [BareNewline::Reject, BareNewline::Normalize] {
            for step in 1..=input.len() {
                let got = decode(&input, step, mode);
                // Refused, or one message up to the real end of data.
                let one = got.ended_at == Some(input.len());
                assert!(
                    got.refused || one,
                    "{variant:?} {mode:?} step {step}: {got:?}"
                );
                assert!(mode == BareNewline::Reject || one, "{variant:?}");
                assert_no_stray(&got.content);
            }
        }
    }
}

#[test]
fn e3_09_amb_27_lines_are_measured_and_pass_unchanged() {
    let line = |n: usize| [&vec![b'x'; n][..], b"\r\n"].concat();
    let input = [line(998), line(999), line(65_536), b".\r\n".to_vec()].concat();
    let mut decoder = DataDecoder::new(BareNewline::Reject);
    let (used, piece) = decoder.next(&input);
    assert_eq!(
        piece,
        Piece::Content(&input[..input.len() - 3]),
        "one piece, no copy"
    );
    assert_eq!(decoder.next(&input[used..]).1, Piece::End);
    assert_eq!(
        decoder.counts(),
        ContentCounts {
            bare_newlines: 0,
            long_lines: 2,
            longest_line: 65_536
        }
    );
}

#[test]
fn e3_08_h5_02_chunks() {
    let reject = BareNewline::Reject;
    for step in 1..6 {
        let got = chunks(&[b"a\r\n.\r", b"\nb\r\n.\r\n"], step, reject);
        assert_eq!(got.content, b"a\r\n.\r\nb\r\n.\r\n", "dots are content");
        assert!(!got.refused);
        assert_eq!(chunks(&[b"a", b"", b"b"], step, reject).content, b"ab");
        assert!(
            chunks(&[b"a\r", b"b"], step, reject).refused,
            "bare CR across chunks"
        );
        assert!(
            chunks(&[b"a\r", b""], step, reject).refused,
            "bare CR at the end"
        );
        assert!(
            chunks(&[b"a", b"\nb"], step, reject).refused,
            "bare LF at the start"
        );
        let got = chunks(&[b"a\r", b"\rb\n", b""], step, BareNewline::Normalize);
        assert_eq!((got.content, got.bare), (b"a  b ".to_vec(), 3));
        let got = chunks(&[b"a\r"], step, BareNewline::Normalize);
        assert_eq!((got.content, got.bare), (b"a ".to_vec(), 1));
    }
}

fn assert_no_stray(content: &[u8]) {
    for (i, b) in content.iter().enumerate() {
        match b {
            b'\r' => assert!(content.get(i + 1).is_none_or(|n| *n == b'\n')),
            b'\n' => assert!(i > 0 && content[i - 1] == b'\r'),
            _ => {}
        }
    }
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop::sample::select(vec![b'\r', b'\n', b'\r', b'\n', b'.', b'.', b'a', 0]),
        0..40,
    )
}

/// Text in which most line ends are right.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop::sample::select(vec![
            "\r\n",
            "\r\n",
            ".",
            "abc",
            "\r\n.",
            "\0",
            "\r\n..\r\n",
            "\n",
        ]),
        0..30,
    )
    .prop_map(|v| v.concat().into_bytes())
}

proptest! {
    #[test]
    fn the_decoder_is_the_model(
        input in prop_oneof![hostile(), lines()],
        step in 1usize..20,
        normalize: bool,
    ) {
        let mode = if normalize { BareNewline::Normalize } else { BareNewline::Reject };
        let got = decode(&input, step, mode);
        let want = model(&input, mode);
        prop_assert_eq!(&got, &want);
        assert_no_stray(&got.content);
    }

    #[test]
    fn chunking_does_not_matter(
        input in prop_oneof![hostile(), lines()],
        cuts in prop::collection::vec(0usize..40, 0..4),
        step in 1usize..20,
        normalize: bool,
    ) {
        let mode = if normalize { BareNewline::Normalize } else { BareNewline::Reject };
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(input.len())).collect();
        cuts.sort_unstable();
        cuts.push(input.len());
        let mut parts = Vec::new();
        let mut from = 0;
        for cut in cuts {
            parts.push(&input[from..cut]);
            from = cut;
        }
        let split = chunks(&parts, step, mode);
        let whole = chunks(&[&input], input.len().max(1), mode);
        prop_assert_eq!(split.refused, whole.refused);
        if !split.refused {
            prop_assert_eq!((&split.content, split.bare), (&whole.content, whole.bare));
            assert_no_stray(&split.content);
            prop_assert_eq!(split.content.len(), input.len());
        }
    }
}
