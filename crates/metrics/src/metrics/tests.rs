use std::net::IpAddr;

use mail_types::{Mailbox, QueueId, ReversePath, Timestamp};

use super::*;
use attempt::Delays;

use super::labels::{PolicyMode, Verified};

fn text(metrics: &Metrics) -> String {
    let mut out = String::new();
    metrics.encode(&mut out).unwrap();
    out
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "{line}\nnot in\n{text}");
}

fn full() -> Snapshot {
    Snapshot {
        queue: vec![(QueueState::Due, 3), (QueueState::Deferred, 4)],
        oldest_message_age: Some(Duration::from_millis(1500)),
        policies: PolicyModes {
            enforce: 5,
            testing: 6,
            none: 7,
        },
        policy_lookups: vec![(PolicyLookup::Fallback, 8)],
        soonest_unrefreshed_expiry: None,
        unverified_first_contacts: 9,
        dns: vec![DnsSeries {
            kind: DnsType::Tlsa,
            result: DnsResult::Bogus,
            seconds: HistogramSnapshot::from_counts(&[0.5, 1.0], &[1, 2, 4], 9.5),
        }],
        fsync: HistogramSnapshot::from_cumulative(&[(0.001, 2), (0.01, 5)], 6, 0.25),
        stores: vec![(Store::Queue, 1_000_000)],
        usage: vec![Usage {
            resource: Resource::Attempts,
            in_use: 10,
            limit: Some(500),
        }],
        certificates: vec![("smtps".to_owned(), 1_800_000_000)],
        last_reload_failed: true,
        keys_need_restart: 11,
        ..Snapshot::default()
    }
}

#[test]
fn a_snapshot_is_asked_for_at_each_scrape() {
    let metrics = Metrics::new(full);
    let out = text(&metrics);
    for line in [
        "sealpost_queue_messages{state=\"due\"} 3",
        "sealpost_queue_messages{state=\"deferred\"} 4",
        "sealpost_oldest_message_age_seconds 1.5",
        "sealpost_policies{mode=\"testing\"} 6",
        "sealpost_policy_lookups_total{result=\"fallback\"} 8",
        "sealpost_group_commit_messages_bucket{le=\"+Inf\"} 0",
        "sealpost_certificate_expiry_timestamp_seconds{listener=\"smtps\"} 1800000000",
        "sealpost_policies_at_risk 0",
        "sealpost_policy_first_contacts_total{verified=\"no\"} 9",
        "sealpost_dns_lookup_seconds_bucket{le=\"0.5\",type=\"tlsa\",result=\"bogus\"} 1",
        "sealpost_dns_lookup_seconds_bucket{le=\"+Inf\",type=\"tlsa\",result=\"bogus\"} 7",
        "sealpost_dns_lookup_seconds_count{type=\"tlsa\",result=\"bogus\"} 7",
        "sealpost_fsync_seconds_bucket{le=\"0.01\"} 5",
        "sealpost_fsync_seconds_bucket{le=\"+Inf\"} 6",
        "sealpost_store_bytes{store=\"queue\"} 1000000",
        "sealpost_in_use{resource=\"attempts\"} 10",
        "sealpost_limit{resource=\"attempts\"} 500",
        "sealpost_queue_healthy 0",
        "sealpost_config_last_reload_successful 0",
        "sealpost_config_keys_need_restart 11",
    ] {
        has(&out, line);
    }
    assert!(
        !out.contains("\nsealpost_policy_soonest"),
        "nothing to say, no number"
    );
    let soon = text(&Metrics::new(|| Snapshot {
        soonest_unrefreshed_expiry: Some(Duration::from_secs(60)),
        ..Snapshot::default()
    }));
    has(
        &soon,
        "sealpost_policy_soonest_unrefreshed_expiry_seconds 60.0",
    );
}

#[test]
fn attempts_are_counted_by_result_and_reason() {
    let metrics = Metrics::new(Snapshot::default);
    let from = ReversePath::Null;
    let to = Mailbox::parse("b@d.test").unwrap();
    let sent = Record {
        at: Timestamp::from_secs(1),
        outcome: Outcome::Sent,
        queue_id: QueueId::from_raw(1),
        upstream_id: None,
        message_id: None,
        from: &from,
        to: &to,
        domain: "d.test",
        mx: Some("mx.d.test"),
        ip: Some(IpAddr::from([192, 0, 2, 1])),
        port: Some(25),
        tried: &[],
        reason: None,
        dsn: Reason::Timeout.status(),
        reply: None,
        in_reply_to: None,
        detail: "",
        policies: &[],
        no_policy: None,
        first_contact: false,
        weakened_by: Some(Weakened::Exempt),
        tls: None,
        attempt: 1,
        next_attempt: None,
        for_sender: false,
        gives_up: None,
        delay: Duration::from_secs(4),
        delays: Delays {
            connect: Duration::from_secs(2),
            ..Delays::default()
        },
        side: None,
        advice: "",
    };
    metrics.attempt(&sent);
    metrics.attempt(&Record {
        outcome: Outcome::Deferred,
        reason: Some(Reason::CertExpired),
        ..sent
    });
    metrics.attempt(&Record {
        outcome: Outcome::Held,
        ..sent
    });
    for (mode, result) in [
        ("enforce", PolicyResult::Satisfied),
        ("encrypt", PolicyResult::Satisfied),
        ("enforce", PolicyResult::Failed),
        ("off", PolicyResult::NotEvaluated),
    ] {
        metrics.attempt(&Record {
            policies: &[dane_use(mode, result)],
            ..sent
        });
    }
    let out = text(&metrics);
    for line in [
        "sealpost_delivery_attempts_total{result=\"sent\",reason=\"none\"} 5",
        "sealpost_dane_attempts_total{result=\"authenticated\"} 1",
        "sealpost_dane_attempts_total{result=\"encrypted\"} 1",
        "sealpost_dane_attempts_total{result=\"failed\"} 1",
        "sealpost_dane_attempts_total{result=\"not-evaluated\"} 1",
        "sealpost_delivery_attempts_total{result=\"deferred\",reason=\"cert-expired\"} 1",
        "sealpost_delivery_attempts_total{result=\"bounced\",reason=\"cert-expired\"} 0",
        "sealpost_delivery_attempts_total{result=\"held\",reason=\"local\"} 1",
        "sealpost_weakened_deliveries_total{by=\"exempt\"} 5",
        "sealpost_delivery_seconds_count{stage=\"connect\"} 5",
        "sealpost_delivery_seconds_sum{stage=\"total\"} 20.0",
    ] {
        has(&out, line);
    }
}

fn dane_use(mode: &'static str, result: PolicyResult) -> PolicyUse {
    PolicyUse {
        source: PolicySource::Dane,
        mode: mode.into(),
        id: None,
        from: None,
        fetched_at: None,
        expires_at: None,
        first_contact: false,
        result,
        reason: None,
        by: None,
        dane: None,
    }
}

#[test]
fn everything_else_is_counted_where_it_belongs() {
    let metrics = Metrics::new(Snapshot::default);
    metrics.accepted();
    metrics.refused(RefusedBy::Limit);
    metrics.incident(ClientIncident::TimeoutData);
    metrics.session(SessionResult::Reused);
    metrics.tls_handshake(TlsVersion::from_name("TLSv1.2"), TlsResult::Unverified);
    metrics.tls_handshake(TlsVersion::from_name("?"), TlsResult::Failed);
    metrics.suspended();
    metrics.dsn_sent(DsnKind::Relayed);
    metrics.report(ReportResult::Failed);
    metrics.log_dropped(3);
    metrics.spans(SpanResult::Dropped, 7);
    let out = text(&metrics);
    for line in [
        "sealpost_messages_accepted_total 1",
        "sealpost_messages_refused_total{cause=\"limit\"} 1",
        "sealpost_client_incidents_total{incident=\"timeout_data\"} 1",
        "sealpost_sessions_total{result=\"reused\"} 1",
        "sealpost_tls_handshakes_total{version=\"1.2\",result=\"unverified\"} 1",
        "sealpost_tls_handshakes_total{version=\"none\",result=\"failed\"} 1",
        "sealpost_destination_suspensions_total 1",
        "sealpost_dsns_sent_total{kind=\"relayed\"} 1",
        "sealpost_reports_total{result=\"failed\"} 1",
        "sealpost_log_events_dropped_total 3",
        "sealpost_trace_spans_total{result=\"dropped\"} 7",
    ] {
        has(&out, line);
    }
    assert!(out.ends_with("# EOF\n"));
}

/// What is documented is served, under the same name and kind, and nothing else is.
#[test]
fn the_table_and_the_output_agree() {
    let out = text(&Metrics::new(full));
    let mut served: Vec<_> = out
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE "))
        .map(str::to_owned)
        .collect();
    let mut documented: Vec<_> = families::ALL
        .iter()
        .map(|f| {
            let name = f.full_name();
            let name = name.strip_suffix("_total").unwrap_or(&name);
            let kind = format!("{:?}", f.kind).to_lowercase();
            format!("{name} {kind}")
        })
        .collect();
    served.sort();
    documented.sort();
    assert_eq!(served, documented);
}

/// Whoever writes an alert finds each value that a series can have, and no other.
#[test]
fn each_value_that_is_served_is_documented_under_its_family() {
    let out = text(&Metrics::new(full));
    let documented = metrics_markdown();
    let mut seen = 0;
    for family in families::ALL {
        let name = family.full_name();
        let (_, section) = documented.split_once(&format!("\n## {name}\n")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        for label in family.labels {
            let families::Values::Set(values) = &label.values else {
                let line = format!("- `{}`: ", label.name);
                assert!(section.contains(&line), "{name}: {}", label.name);
                continue;
            };
            let known: Vec<_> = values().into_iter().map(|(key, _)| key).collect();
            for key in &known {
                assert!(section.contains(&format!("`{key}`")), "{name}: {key}");
            }
            let served = values_served(&out, &name, label.name);
            assert!(
                served.iter().all(|value| known.contains(value)),
                "{name}: {served:?}"
            );
            seen += served.len();
        }
    }
    assert!(seen > 80, "only {seen} values");
}

/// The values of a label in the samples of a family.
fn values_served<'t>(out: &'t str, name: &str, label: &str) -> Vec<&'t str> {
    let mut values: Vec<&str> = out
        .lines()
        .filter(|line| line.starts_with(name))
        .filter_map(|line| {
            let (_, labels) = line.split_once('{')?;
            let (labels, _) = labels.split_once('}')?;
            labels
                .split(',')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == label)
                .map(|(_, value)| value.trim_matches('"'))
        })
        .collect();
    values.sort_unstable();
    values.dedup();
    values
}

fn label_set<L: Label>() {
    let mut keys = Vec::new();
    for (i, label) in L::ALL.iter().enumerate() {
        assert_eq!(label.index(), i, "{}", label.key());
        assert!(!keys.contains(&label.key()), "{}", label.key());
        keys.push(label.key());
    }
}

#[test]
fn every_label_stands_at_its_index_with_a_value_of_its_own() {
    label_set::<Stage>();
    label_set::<SessionResult>();
    label_set::<TlsVersion>();
    label_set::<TlsResult>();
    label_set::<DaneResult>();
    label_set::<PolicyLookup>();
    label_set::<DnsType>();
    label_set::<DnsResult>();
    label_set::<ReportResult>();
    label_set::<QueueState>();
    label_set::<Store>();
    label_set::<ConnectionLimit>();
    label_set::<ClientIncident>();
    label_set::<Resource>();
    label_set::<Reason>();
    label_set::<RefusedBy>();
    label_set::<Weakened>();
    label_set::<DsnKind>();
    label_set::<Outcome>();
    label_set::<PolicyMode>();
    label_set::<Verified>();
}

#[test]
fn histograms_from_elsewhere() {
    let a = HistogramSnapshot::from_counts(&[1.0, 2.0], &[1, 2, 3], 9.0);
    let b = HistogramSnapshot::from_cumulative(&[(1.0, 1), (2.0, 3)], 6, 9.0);
    assert_eq!(a, b);
    assert_eq!(a.buckets, [(1.0, 1), (2.0, 2), (f64::INFINITY, 3)]);
    let with_inf =
        HistogramSnapshot::from_cumulative(&[(1.0, 1), (2.0, 3), (f64::INFINITY, 6)], 6, 9.0);
    assert_eq!(with_inf, a);
}

#[test]
fn docs_are_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let want = metrics_markdown();
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(path, &want).unwrap();
    }
    let have = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        have == want,
        "docs/metrics.md is not what the table says: run UPDATE=1 cargo test -p metrics"
    );
}
