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

#[test]
fn h9_01_what_this_machine_lacks_is_not_put_down_to_the_servers() {
    // EMFILE.
    let lack = || NetError::from(std::io::Error::from_raw_os_error(24));
    let question = Query::query(absolute("test").unwrap(), RecordType::DNSKEY);
    for failure in [
        Failure::Net(lack()),
        Failure::Net(NetError::Busy),
        Failure::Chain(Box::new((question, lack()))),
    ] {
        let mut chain = Chain::new(absolute("d.test").unwrap(), Dnssec::Validate);
        let error = chain.failure(failure, "192.0.2.1");
        assert!(matches!(error, DnsError::Local(_)), "{error:?}");
    }
}
