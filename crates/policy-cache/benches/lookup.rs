//! A warm look-up, as every delivery batch makes it: the answer is in memory and still good.
//!
//! Target: under 2 µs.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark: a panic is the failure report"
)]

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mail_types::{
    Answer, BoxFuture, DnsError, Domain, HostName, MxRecord, Resolver, Security, TlsaRecord,
};
use mta_sts::{Parsed, Policy};
use policy_cache::{
    Config, FetchFailure, Jitter, JudgedClock, Opened, Outcome, PolicyCache, PolicyEvent,
    PolicyFetcher, Ports, SystemClock,
};

/// Domains `dN.test` have a policy, all others have no record.
struct Internet;

impl PolicyFetcher for Internet {
    fn fetch<'a>(
        &'a self,
        _: &'a Domain,
        _: Duration,
    ) -> BoxFuture<'a, Result<Parsed, FetchFailure>> {
        Box::pin(async {
            let text = b"version: STSv1\nmode: enforce\nmx: *.mail.test\nmax_age: 604800\n";
            Ok(Policy::parse(text).unwrap())
        })
    }
}

impl Resolver for Internet {
    fn mx<'a>(&'a self, _: &'a Domain) -> BoxFuture<'a, Result<Answer<Vec<MxRecord>>, DnsError>> {
        Box::pin(async { Err(unasked()) })
    }
    fn addresses<'a>(
        &'a self,
        _: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<IpAddr>>, DnsError>> {
        Box::pin(async { Err(unasked()) })
    }
    fn tlsa<'a>(
        &'a self,
        _: &'a HostName,
        _: u16,
    ) -> BoxFuture<'a, Result<Answer<Vec<TlsaRecord>>, DnsError>> {
        Box::pin(async { Err(unasked()) })
    }
    fn txt<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
        self.txt_uncached(name)
    }
    fn txt_uncached<'a>(
        &'a self,
        name: &'a HostName,
    ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
        Box::pin(async move {
            if !name.as_str().starts_with("_mta-sts.d") {
                return Err(DnsError::NoSuchName {
                    ttl: Duration::from_hours(1),
                    security: Security::Insecure,
                });
            }
            Ok(Answer {
                value: vec![b"v=STSv1; id=a".to_vec()],
                ttl: Duration::from_hours(1),
                security: Security::Insecure,
                canonical: None,
                origin: Security::Insecure,
            })
        })
    }
}

fn unasked() -> DnsError {
    DnsError::Temporary("not a question that the cache asks".into())
}

fn warm(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ports = Ports {
        resolver: Arc::new(Internet),
        fetcher: Arc::new(Internet),
        clock: Arc::new(JudgedClock::new(Arc::new(SystemClock::new()), None)),
        jitter: Jitter::seeded(1),
        events: Arc::new(|_: &PolicyEvent| {}),
    };
    let Opened::Ready(cache) = PolicyCache::open(Config::new(dir.path()), ports).unwrap() else {
        panic!("a new store")
    };
    let domain = |n: usize| Domain::parse(&format!("d{n}.test")).unwrap();
    let names: Vec<Domain> = (0..1_000).map(domain).collect();
    let without: Vec<Domain> = (0..1_000)
        .map(|n| Domain::parse(&format!("none{n}.test")).unwrap())
        .collect();
    runtime.block_on(async {
        for name in names.iter().chain(&without) {
            let found = cache.policy_for(name).await;
            assert!(!matches!(found.outcome, Outcome::Wait { .. }));
        }
    });
    for (what, names) in [("with a policy", &names), ("without", &without)] {
        let mut next = names.iter().cycle();
        c.bench_function(&format!("warm look-up of a domain {what}"), |b| {
            b.iter(|| cache.cached(black_box(next.next().unwrap())).unwrap());
        });
        c.bench_function(&format!("warm policy_for of a domain {what}"), |b| {
            // Ready at the first poll: this is the cost of the call itself.
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            b.iter(|| {
                let mut look = std::pin::pin!(cache.policy_for(black_box(&names[7])));
                look.as_mut().poll(&mut context).is_ready()
            });
        });
    }
}

criterion_group!(benches, warm);
criterion_main!(benches);
