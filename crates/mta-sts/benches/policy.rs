//! Parsing of policies, and matching of hosts: the ordinary one, and the largest that the limit allows.
//!
//! Targets: the largest legal policy against 20 MX hosts in under 5 ms of CPU.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark: a panic is the failure report"
)]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mail_types::HostName;
use mta_sts::{HostVerdict, MAX_POLICY_SIZE, Policy, Record};

fn parse(c: &mut Criterion) {
    let ordinary = b"version: STSv1\r\nmode: enforce\r\nmx: *.mail.example.com\r\nmx: backup.example.net\r\nmax_age: 604800\r\n";
    c.bench_function("parse an ordinary policy", |b| {
        b.iter(|| Policy::parse(black_box(ordinary)).unwrap());
    });
    let largest = largest();
    c.bench_function("parse the largest policy", |b| {
        b.iter(|| Policy::parse(black_box(&largest)).unwrap());
    });
    c.bench_function("parse a record", |b| {
        b.iter(|| Record::parse(black_box(b"v=STSv1; id=20260301T000000;")).unwrap());
    });
}

fn evaluate(c: &mut Criterion) {
    let policy = Policy::parse(&largest()).unwrap().policy;
    let hosts: Vec<HostName> = (0..20)
        .map(|n| HostName::parse(&format!("mx{n}.mail.example.com")).unwrap())
        .collect();
    // None of them is listed: every pattern is looked at for every host.
    c.bench_function("hold 20 hosts against the largest policy", |b| {
        b.iter(|| {
            let listed = |host: &&HostName| policy.host(host) != HostVerdict::NotListed;
            black_box(&hosts).iter().filter(listed).count()
        });
    });
}

/// As many patterns as fit into the limit: wildcards, which cost more to compare.
fn largest() -> Vec<u8> {
    let mut text = "version:STSv1\nmode:enforce\nmax_age:604800\n".to_owned();
    let mut n = 0;
    loop {
        let mut line = String::new();
        writeln!(line, "mx:*.{n:x}").unwrap();
        if text.len() + line.len() > MAX_POLICY_SIZE {
            return text.into_bytes();
        }
        text.push_str(&line);
        n += 1;
    }
}

criterion_group!(benches, parse, evaluate);
criterion_main!(benches);
