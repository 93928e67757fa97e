//! Forms come back as they went, and the first version stays readable.

use mail_types::{Notify, Ret, Submitter, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::history::History;
use crate::samples::{ByDomain, envelope};
use crate::state::Deferral;
use crate::{AttemptNote, Demands, Destination, Done, Effort, HostNote, Keyed};
use attempt::{Case, DemandedBy, Reason};
use journal::Position;

fn note() -> AttemptNote {
    AttemptNote {
        reason: Some(Reason::CertExpired.into()),
        status: "4.7.5".parse().ok(),
        reply: Some("220 hi".into()),
        detail: "The certificate of mx.d.test expired.".into(),
        mx: Some("mx.d.test".into()),
        ip: "192.0.2.1".parse().ok(),
        tls: Some("TLSv1.3".into()),
        policy: Some(Demands::from_line("mta-sts enforce")),
        case: Keyed::default(),
        by: Keyed::default(),
        tried: Box::default(),
    }
}

/// As [`sample`], put off.
fn put_off() -> Stored {
    let mut m = sample();
    m.apply(&Change {
        revision: 2,
        effort: Effort::PutOff,
        due: None,
        regrouped: Vec::new(),
        ..change()
    });
    assert!(m.recipients[0].put_off);
    m
}

fn sample() -> Stored {
    let mut e = envelope("s@a.test", &["r@d.test", "q@e.test"]);
    e.ret = Some(Ret::Headers);
    e.envid = Some("x+2B".into());
    e.smtputf8 = true;
    e.size = 77;
    e.arrival.client = "2001:db8::1".parse().ok();
    e.arrival.helo = "h.a.test".into();
    e.recipients[1].notify = Notify::On {
        success: true,
        failure: false,
        delay: true,
    };
    e.recipients[1].orcpt = Some("rfc822;q@e.test".into());
    let mut m = Stored::new(Arc::new(e), &ByDomain, Timestamp::from_secs(10));
    m.apply(&change());
    m
}

fn change() -> Change {
    Change {
        revision: 1,
        at: Timestamp::from_secs(11),
        done: vec![(1, Done::Relayed)],
        deferred: vec![Deferral {
            recipient: 0,
            next: Timestamp::from_secs(400),
            note: 0,
        }],
        notes: vec![(Destination::new("d.test"), note())],
        held: Some(true),
        bounce: Some(false),
        warned_of_all: false,
        told: vec![(1, 0)],
        warned: vec![0],
        effort: Effort::Attempt,
        due: Some(Timestamp::from_secs(12)),
        regrouped: vec![(0, Destination::new("route:x"))],
    }
}

#[test]
fn everything_comes_back() {
    let m = sample();
    let large = Large {
        len: 1 << 33,
        crc: 9,
    };
    let bytes = encode_message(&m, Some(large), &[3, 4]);
    assert_eq!(
        decode_message(&bytes),
        Ok((m.clone(), Some(large), vec![3, 4]))
    );
    assert_eq!(decode_change(&encode_change(&change())), Ok(change()));
    let put_off = Change {
        effort: Effort::PutOff,
        ..change()
    };
    assert_eq!(decode_change(&encode_change(&put_off)), Ok(put_off));
    let looked = Change {
        effort: Effort::Look,
        ..change()
    };
    assert_eq!(decode_change(&encode_change(&looked)), Ok(looked));
    for m in [&m, &self::put_off()] {
        assert_eq!(decode_state(&encode_state(m), m), Ok(m.clone()));
    }
    assert_eq!(decode_gone(&encode_gone(&[7])), Ok(vec![7]));
    let retried = Stored {
        retried: QueueId::from_raw(77),
        history: History {
            left_out: 14,
            ..m.history.clone()
        },
        ..m.clone()
    };
    assert_eq!(decode_state(&encode_state(&retried), &m), Ok(retried));
    let (at, ids) = (Timestamp::from_secs(8), vec![QueueId::from_raw(1 << 50)]);
    assert_eq!(decode_due(&encode_due(at, &ids)), Ok((at, ids)));
    let place = Place {
        position: Position {
            segment: 3,
            offset: 40,
        },
        stored: 900,
        large: None,
        copies: vec![1],
        states: vec![(2, 80)],
    };
    assert_eq!(decode_row(&encode_row(&m, &place)), Ok((m, place)));
}

#[test]
fn g2_13_amb_32_who_submitted_is_kept() {
    for submitter in [
        None,
        Some(Submitter::Unknown),
        Some(Submitter::Mailbox("x@y.test".parse().unwrap())),
    ] {
        let mut e = envelope("s@a.test", &["r@d.test"]);
        e.arrival.identity = Some("ann".into());
        e.arrival.submitter = submitter;
        e.tls_required_no = true;
        let m = Stored::new(Arc::new(e.clone()), &ByDomain, Timestamp::from_secs(10));
        let (back, ..) = decode_message(&encode_message(&m, None, &[])).unwrap();
        assert_eq!(*back.envelope, e);
    }
}

#[test]
fn e5_07_the_null_reverse_path_is_kept() {
    let m = Stored::new(
        Arc::new(envelope("", &["r@d.test"])),
        &ByDomain,
        Timestamp::from_secs(10),
    );
    let (back, ..) = decode_message(&encode_message(&m, None, &[])).unwrap();
    assert!(back.envelope.reverse_path.is_null());
}

#[test]
fn hosts_cases_and_whose_attempt_it_was_come_back() {
    let mut m = sample();
    let host = |mx: &str, case: Case| HostNote {
        mx: mx.into(),
        ip: "2001:db8::1".parse().ok(),
        reason: Some(Reason::CertNotTrusted.into()),
        case: case.into(),
    };
    let entry = &mut m.history.entries[0];
    entry.recipients = Some([1].into());
    entry.note.case = Case::SelfSigned.into();
    entry.note.by = DemandedBy::Rule.into();
    entry.note.tried = [
        host("a.test", Case::Usual),
        host("b.test", Case::SelfSigned),
    ]
    .into();
    assert_eq!(decode_state(&encode_state(&m), &m), Ok(m));
}

#[test]
fn what_a_newer_version_wrote_is_written_again_as_it_came() {
    let mut m = sample();
    m.recipients[0].reason = Some(Keyed::from_key("newer"));
    let note = &mut m.history.entries[0].note;
    note.reason = Some(Keyed::from_key("newer"));
    note.case = Keyed::from_key("newer-case");
    note.by = Keyed::from_key("newer-demand");
    note.policy = Some(Demands::from_line("newer enforce failed: newer"));
    note.tried = [HostNote {
        reason: Some(Keyed::from_key("newer")),
        ..HostNote::default()
    }]
    .into();
    let bytes = encode_state(&m);
    let back = decode_state(&bytes, &m).unwrap();
    assert_eq!((encode_state(&back), back), (bytes, m));
}

#[test]
fn version_1_is_still_read() {
    let read = |name: &str| {
        let path = format!("{}/fixtures/v1/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    };
    let (m, large, copies) = decode_message(&read("message.cbor")).unwrap();
    // It had one mark for all recipients of whose delay the sender had been told.
    let mut then = sample();
    then.recipients.iter_mut().for_each(|r| r.warned = true);
    // And named none where a note was of all.
    let entries = then.history.entries.iter_mut();
    entries.for_each(|entry| entry.recipients = None);
    assert_eq!((m, large, copies), (then.clone(), None, vec![2]));
    let change = Change {
        warned_of_all: true,
        warned: Vec::new(),
        told: Vec::new(),
        ..change()
    };
    assert_eq!(decode_change(&read("change.cbor")), Ok(change));
    assert_eq!(decode_state(&read("state.cbor"), &then), Ok(then));
    assert_eq!(decode_gone(&read("gone.cbor")), Ok(vec![1, 2]));
}

/// Writes the fixtures of the version that this program writes; run by hand when a new one begins.
#[test]
#[ignore = "writes files into the source tree"]
fn write_fixtures() {
    let dir = format!("{}/fixtures/v1", env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(&dir).unwrap();
    let write =
        |name: &str, bytes: Vec<u8>| std::fs::write(format!("{dir}/{name}"), bytes).unwrap();
    write("message.cbor", encode_message(&sample(), None, &[2]));
    write("change.cbor", encode_change(&change()));
    write("state.cbor", encode_state(&sample()));
    write("gone.cbor", encode_gone(&[1, 2]));
}

#[test]
fn unknown_fields_are_skipped_and_missing_ones_default() {
    let mut later = encode_gone(&[5]);
    assert_eq!(later[0], 0x81, "an array of one");
    later[0] = 0x82;
    later.extend([0x63, b'n', b'e', b'w']);
    assert_eq!(decode_gone(&later), Ok(vec![5]));
    assert_eq!(decode_gone(&[0x80]), Ok(vec![]));
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_message(&bytes);
        let _ = decode_change(&bytes);
        let _ = decode_state(&bytes, &sample());
        let _ = decode_row(&bytes);
    }

    #[test]
    fn a_flipped_bit_never_panics(at in 0usize..300, bit in 0u8..8) {
        let mut bytes = encode_message(&sample(), None, &[]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = decode_message(&bytes);
    }
}
