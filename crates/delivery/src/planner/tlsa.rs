//! Looks a host's TLSA records up (RFC 7672 section 2.2).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dane::{Discarded, HostRecords, Reading, base_domains};
use mail_types::{Answer, DnsError, HostName, Resolver};

use crate::decide::demand::DaneRule;
use crate::decide::standing::HostDane;

impl HostDane {
    /// Looks the records up where they may stand, for the port that is connected to (row C2-10), and
    /// says how long the answers may be believed. `further` are names that a certificate under a
    /// DANE-TA record may be for.
    ///
    /// The addresses come first, and an insecure answer there means that nothing is asked: a name
    /// server that cannot answer TLSA queries must not block an unsigned domain (row C2-08). Nor is it asked
    /// where the domain's `rule` is not to look (row C3-14).
    pub async fn look_up(
        resolver: &dyn Resolver,
        host: &HostName,
        port: u16,
        addresses: &Answer<Vec<IpAddr>>,
        further: &[HostName],
        rule: DaneRule,
    ) -> (Self, Duration) {
        let mut ttl = addresses.ttl;
        if rule == DaneRule::DangerousOff {
            return (Self::Absent, ttl);
        }
        for base in base_domains(host, addresses) {
            let answer = resolver.tlsa(&base, port).await;
            ttl = ttl.min(match &answer {
                Ok(answer) => answer.ttl,
                Err(DnsError::NoSuchName { ttl, .. } | DnsError::NoRecords { ttl, .. }) => *ttl,
                Err(DnsError::Temporary(_) | DnsError::Bogus(_) | DnsError::Local(_)) => {
                    Duration::ZERO
                }
            });
            match Reading::of(answer) {
                Reading::Absent => {}
                Reading::Usable(set) => {
                    let records = Arc::new(HostRecords::new(base, set, further));
                    return (Self::Usable(records), ttl);
                }
                Reading::Unusable(discarded) => {
                    let why = Discarded::in_words(&discarded).into();
                    return (Self::Unusable { base, why }, ttl);
                }
                Reading::Failed(error) => {
                    let name = format!("_{port}._tcp.{base}");
                    let ours = matches!(error, DnsError::Local(_));
                    let error = error.to_string();
                    let detail = match error.contains(&name) {
                        true => error.into(),
                        false => format!("{name}: {error}").into(),
                    };
                    return (Self::Failed { base, detail, ours }, ttl);
                }
            }
        }
        (Self::Absent, ttl)
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use mail_types::{BoxFuture, Domain, MxRecord, Security, TlsaRecord};
    use parking_lot::Mutex;
    use std::collections::HashMap;

    type TlsaAnswer = Result<Answer<Vec<TlsaRecord>>, DnsError>;

    /// Answers TLSA queries from a map; everything else does not exist.
    #[derive(Default)]
    struct Names {
        tlsa: HashMap<String, TlsaAnswer>,
        asked: Mutex<Vec<String>>,
    }

    fn gone<T>() -> Result<Answer<T>, DnsError> {
        Err(DnsError::NoSuchName {
            ttl: Duration::from_secs(30),
            security: Security::Secure,
        })
    }

    impl Resolver for Names {
        fn mx<'a>(
            &'a self,
            _: &'a Domain,
        ) -> BoxFuture<'a, Result<Answer<Vec<MxRecord>>, DnsError>> {
            Box::pin(async { gone() })
        }

        fn addresses<'a>(
            &'a self,
            _: &'a HostName,
        ) -> BoxFuture<'a, Result<Answer<Vec<IpAddr>>, DnsError>> {
            Box::pin(async { gone() })
        }

        fn txt<'a>(
            &'a self,
            _: &'a HostName,
        ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
            Box::pin(async { gone() })
        }

        fn tlsa<'a>(&'a self, host: &'a HostName, port: u16) -> BoxFuture<'a, TlsaAnswer> {
            let name = format!("_{port}._tcp.{host}");
            let answer = self.tlsa.get(&name).cloned().unwrap_or_else(gone);
            self.asked.lock().push(name);
            Box::pin(async { answer })
        }

        fn txt_uncached<'a>(
            &'a self,
            _: &'a HostName,
        ) -> BoxFuture<'a, Result<Answer<Vec<Vec<u8>>>, DnsError>> {
            Box::pin(async { gone() })
        }
    }

    fn answer<T>(value: T, security: Security) -> Answer<T> {
        Answer {
            value,
            ttl: Duration::from_secs(300),
            security,
            canonical: None,
            origin: security,
        }
    }

    fn record(usage: u8) -> TlsaRecord {
        TlsaRecord {
            usage,
            selector: 1,
            matching: 1,
            data: vec![0; 32],
        }
    }

    fn tlsa(usage: u8, security: Security) -> TlsaAnswer {
        Ok(answer(vec![record(usage)], security))
    }

    /// What is found for `mx.d.test`, an alias of `mx.p.test`, and what was asked.
    async fn look(
        entries: &[(&str, TlsaAnswer)],
        security: Security,
    ) -> (HostDane, Duration, Vec<String>) {
        look_by(DaneRule::Policy, entries, security).await
    }

    async fn look_by(
        rule: DaneRule,
        entries: &[(&str, TlsaAnswer)],
        security: Security,
    ) -> (HostDane, Duration, Vec<String>) {
        let names = Names {
            tlsa: entries
                .iter()
                .map(|(name, answer)| (format!("_587._tcp.{name}"), answer.clone()))
                .collect(),
            ..Names::default()
        };
        let mut addresses = answer(vec![IpAddr::from([192, 0, 2, 1])], security);
        addresses.canonical = HostName::parse("mx.p.test").ok();
        let host = HostName::parse("mx.d.test").unwrap();
        let (dane, ttl) = HostDane::look_up(&names, &host, 587, &addresses, &[], rule).await;
        let asked = names.asked.lock().clone();
        (dane, ttl, asked)
    }

    #[tokio::test]
    async fn c2_08_c1_06_insecure_addresses_mean_no_query() {
        let records = [("mx.p.test", tlsa(3, Security::Secure))];
        for security in [Security::Insecure, Security::Unchecked] {
            let (dane, _, asked) = look(&records, security).await;
            assert_eq!((dane, asked), (HostDane::Absent, Vec::new()));
        }
    }

    #[tokio::test]
    async fn c3_14_where_dane_is_off_nobody_is_asked() {
        let records = [("mx.p.test", Err(DnsError::Temporary("no answer".into())))];
        for rule in [DaneRule::Require, DaneRule::DangerousAudit] {
            let (dane, _, asked) = look_by(rule, &records, Security::Secure).await;
            assert!(dane.is_present() && !asked.is_empty(), "{rule:?}");
        }
        let (dane, ttl, asked) = look_by(DaneRule::DangerousOff, &records, Security::Secure).await;
        assert_eq!((dane, asked), (HostDane::Absent, Vec::new()));
        assert_eq!(ttl, Duration::from_secs(300), "the addresses'");
    }

    #[tokio::test]
    async fn c2_09_c2_10_the_expanded_name_first_then_the_original_at_the_real_port() {
        let (dane, ttl, asked) = look(
            &[("mx.d.test", tlsa(3, Security::Secure))],
            Security::Secure,
        )
        .await;
        assert_eq!(dane.base().map(HostName::as_str), Some("mx.d.test"));
        assert!(dane.records().is_some());
        assert_eq!(asked, ["_587._tcp.mx.p.test", "_587._tcp.mx.d.test"]);
        assert_eq!(ttl, Duration::from_secs(30), "the denial's");

        let both = [
            ("mx.p.test", tlsa(3, Security::Secure)),
            ("mx.d.test", tlsa(3, Security::Secure)),
        ];
        let (dane, _, asked) = look(&both, Security::Secure).await;
        assert_eq!(dane.base().map(HostName::as_str), Some("mx.p.test"));
        assert_eq!(asked, ["_587._tcp.mx.p.test"]);
    }

    #[tokio::test]
    async fn c1_04_a_failed_look_up_is_no_absence() {
        for error in [
            DnsError::Temporary("SERVFAIL".into()),
            DnsError::Bogus("no signature".into()),
        ] {
            let entries = [
                ("mx.p.test", Err(error)),
                ("mx.d.test", tlsa(3, Security::Secure)),
            ];
            let (dane, ttl, asked) = look(&entries, Security::Secure).await;
            assert!(matches!(dane, HostDane::Failed { .. }), "{dane:?}");
            assert_eq!((asked.len(), ttl), (1, Duration::ZERO));
        }
    }

    #[tokio::test]
    async fn c2_02_c2_03_unusable_records_bind_and_insecure_ones_do_not() {
        let unusable = [("mx.p.test", tlsa(1, Security::Secure))];
        let (dane, _, asked) = look(&unusable, Security::Secure).await;
        let HostDane::Unusable { why, .. } = dane else {
            panic!("{dane:?}");
        };
        assert!(why.contains("usage 1"), "{why}");
        assert_eq!(asked.len(), 1);
        let insecure = [("mx.p.test", tlsa(3, Security::Insecure))];
        let (dane, _, asked) = look(&insecure, Security::Secure).await;
        assert_eq!((dane, asked.len()), (HostDane::Absent, 2));
    }
}
