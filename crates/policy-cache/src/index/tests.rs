use std::sync::Arc;

use mail_types::Timestamp;
use mta_sts::{MxPattern, Policy};

use super::*;
use crate::contact::Contact;
use crate::discovery::{LocalRules, Order, Pin, StoredPolicy};
use crate::mirror::put;
use crate::row;

fn stored(domain: &str, pad: usize, fetched: u64) -> Row {
    let head = "version: STSv1\nmode: enforce\nmx: mx.d.test\nmax_age: 86400\n";
    let text = format!("{head}x: {}", "y".repeat(pad));
    let policy = Policy::parse(text.as_bytes()).unwrap().policy;
    let fetched_at = Timestamp::from_secs(fetched);
    Row::Policy(Arc::new(StoredPolicy {
        domain: Domain::parse(domain).unwrap(),
        expires_at: fetched_at + policy.max_age(),
        id: None,
        fetched_at,
        policy,
    }))
}

fn at(offset: u32) -> Position {
    Position { segment: 1, offset }
}

fn edits(rows: Vec<(u64, Row)>) -> Edits {
    let mut edits = Edits::new();
    for (seq, row) in rows {
        put(&mut edits, seq, row);
    }
    edits
}

/// Number and length of the text of each item.
fn seen(contents: &Contents) -> Vec<(u64, usize)> {
    let seq = |item: &Item| row::decode(item.kind, &item.meta).unwrap().unwrap().1;
    contents
        .items
        .iter()
        .map(|item| (seq(item), item.text.len()))
        .collect()
}

#[test]
fn what_is_written_is_read_and_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let head = 61;
    {
        let (mut index, contents) = Index::open(dir.path()).unwrap();
        assert!(
            contents.items.is_empty() && contents.state.is_none() && contents.trouble.is_some()
        );
        let first = vec![
            (1, stored("a.test", 65_000, 5)),
            (2, stored("aa.test", 10, 5)),
        ];
        index.apply(&edits(first), at(50), false).unwrap();
        // The same text again: one row is written; an older row changes nothing.
        index
            .apply(
                &edits(vec![(3, stored("a.test", 65_000, 9))]),
                at(60),
                false,
            )
            .unwrap();
        index
            .apply(&edits(vec![(1, stored("aa.test", 999, 4))]), at(70), true)
            .unwrap();
    }
    {
        let (mut index, contents) = Index::open(dir.path()).unwrap();
        assert_eq!(contents.trouble, None);
        let state = contents.state.unwrap();
        assert_eq!((state.applied, state.closed), (at(70), true));
        assert_eq!(seen(&contents), [(3, head + 65_000), (2, head + 10)]);
        // Shorter: what is too much goes.
        index
            .apply(&edits(vec![(4, stored("a.test", 4_000, 9))]), at(80), false)
            .unwrap();
    }
    let (index, contents) = Index::open(dir.path()).unwrap();
    assert_eq!(contents.trouble, None);
    assert!(!contents.state.unwrap().closed);
    assert_eq!(seen(&contents), [(4, head + 4_000), (2, head + 10)]);
    assert_eq!(index.older_than(3, &Edits::new()).unwrap().len(), 1);
    let blobs = fs::read_dir(dir.path().join("index/blobs")).unwrap();
    assert_eq!(blobs.count(), 0);
}

#[test]
fn long_rules_are_split_and_what_has_ended_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let domain = Domain::parse("d.test").unwrap();
    let rules = LocalRules {
        pin: Some(Pin {
            mx: (0..900)
                .map(|n| MxPattern::parse(&format!("mx{n}.d.test")).unwrap())
                .collect(),
            order: Order {
                by: "root".into(),
                reason: "r".repeat(2_000),
                at: Timestamp::from_secs(1),
            },
        }),
        exemption: None,
    };
    let contact = Contact::after_failure(None, Duration::from_secs(1), Timestamp::from_secs(1));
    let (mut index, _) = Index::open(dir.path()).unwrap();
    let rows = vec![
        (1, Row::Local(domain.clone(), rules.clone())),
        (2, Row::Contact(domain.clone(), Some(contact))),
    ];
    index.apply(&edits(rows), at(50), false).unwrap();
    let both = index.read();
    assert_eq!((both.items.len(), both.trouble), (2, None));
    let item = &both.items[1];
    let decoded = row::decode(item.kind, &item.meta).unwrap().unwrap().2;
    assert_eq!(decoded, row::Decoded::Local(rules));
    index
        .apply(
            &edits(vec![(3, Row::Contact(domain.clone(), None))]),
            at(60),
            false,
        )
        .unwrap();
    let one = index.read();
    assert_eq!((one.items.len(), one.trouble), (1, None));
    let gone = Edits::from([((Class::Local, domain), Edit::RemoveUpTo(1))]);
    index.apply(&gone, at(60), false).unwrap();
    assert!(index.read().items.is_empty());
}

/// sled lets its lock go a moment after it was dropped.
fn opened(path: &Path) -> sled::Db {
    for _ in 0..500 {
        match sled::open(path) {
            Ok(db) => return db,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    sled::open(path).unwrap()
}

#[test]
fn rows_that_are_missing_or_too_many_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let rows = || {
        edits(vec![
            (1, stored("a.test", 9_000, 5)),
            (2, stored("b.test", 10, 5)),
        ])
    };
    type Change = fn(&sled::Db);
    let changes: [Change; 4] = [
        |db| {
            drop(
                db.remove(
                    prefix(Class::Policy, &Domain::parse("b.test").unwrap())
                        .into_iter()
                        .chain([0, 0])
                        .collect::<Vec<_>>(),
                )
                .unwrap()
                .unwrap(),
            )
        },
        |db| drop(db.insert(b"rpz.test\0\0\0", b"x").unwrap()),
        |db| drop(db.remove(STATE).unwrap().unwrap()),
        |db| drop(db.insert(STATE, b"state").unwrap()),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let path = dir.path().join(n.to_string());
        fs::create_dir(&path).unwrap();
        {
            let (mut index, _) = Index::open(&path).unwrap();
            index.apply(&rows(), at(50), true).unwrap();
        }
        {
            change(&opened(&path.join(INDEX)));
        }
        let (_, contents) = Index::open(&path).unwrap();
        assert!(contents.trouble.is_some(), "{n}");
    }
}

#[test]
fn an_index_that_failed_is_refused_until_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = Index::open(dir.path()).unwrap();
    index.distrust();
    drop(index);
    assert!(Index::open(dir.path()).is_err());
    Index::move_aside(dir.path()).unwrap();
    assert!(Index::open(dir.path()).is_ok());
}
