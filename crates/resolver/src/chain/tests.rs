//! What becomes of a question when the path has changed since it was allowed.

use testkit::Zone;

use super::*;
use crate::Servers;

#[tokio::test]
async fn h1_02_what_has_just_become_broken_is_not_gone_around() {
    let zone = Zone::start_on("127.0.0.1:0").await;
    zone.mx("d.test", 10, "mx.d.test");
    let config = Config {
        servers: Servers::List(vec![zone.address()]),
        dnssec: Dnssec::Validate,
        dnssec_worked: true,
        ..Config::default()
    };
    let mut upstream = Upstream::new(&config).unwrap();
    let question = || Query::query(absolute("d.test").unwrap(), RecordType::MX);
    for path in [Path::Broken("why".into()), Path::Unknown("why".into())] {
        upstream.probe = Probe::new(path);
        let said = upstream.ask(question(), Cache::Use).await;
        assert!(matches!(said, Err(Failure::Barred(why)) if why == "why"));
        let alias = upstream.alias("d.test").await;
        assert!(matches!(alias, Err(DnsError::Temporary(_))), "{alias:?}");
    }
    assert_eq!(zone.queries().len(), 0);
    upstream.probe = Probe::new(Path::Unavailable("never did".into()));
    assert!(upstream.ask(question(), Cache::Use).await.is_ok());
}
