//! What Postfix counts of a session.

use super::{Driver, EHLO, peer, settings};
use crate::server::{Peer, Relaying, TlsMode};

/// As Postfix writes it.
fn counted(driver: &Driver) -> String {
    let tally = driver.session.tally();
    let words = tally
        .commands()
        .map(|(name, done, said)| format!("{name}={done}/{said}"));
    format!(
        "{} after {}",
        words.collect::<Vec<_>>().join(" "),
        tally.last()
    )
}

#[test]
fn commands_are_counted_with_what_became_of_them() {
    let mut driver = Driver::plain();
    assert_eq!(counted(&driver), " after CONNECT");
    driver.send(b"mail from:<a@b.test>\r\n");
    driver.send(EHLO.as_bytes());
    driver.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nRCPT TO:<c@\r\n");
    assert_eq!(counted(&driver), "EHLO=1/1 MAIL=1/2 RCPT=1/2 after RCPT");
    driver.send(b"DATA\r\n");
    assert_eq!(driver.session.octets_of_content(), Some(0));
    driver.send(b"a: b\r\n\r\n12345");
    assert_eq!(driver.session.octets_of_content(), Some(13));
    assert_eq!(
        counted(&driver),
        "EHLO=1/1 MAIL=1/2 RCPT=1/2 DATA=0/1 after END-OF-MESSAGE"
    );
    driver.send(b"\r\n.\r\n");
    assert_eq!(driver.session.octets_of_content(), None);
    driver.send(b"DATA\r\nHELP\r\nNONSENSE x\r\n");
    assert_eq!(
        counted(&driver),
        "EHLO=1/1 MAIL=1/2 RCPT=1/2 DATA=1/2 UNKNOWN=1/2 after UNKNOWN"
    );
    driver.send(b"QUIT\r\n");
    assert_eq!(
        counted(&driver),
        "EHLO=1/1 MAIL=1/2 RCPT=1/2 DATA=1/2 QUIT=1/1 UNKNOWN=1/2 after QUIT"
    );
}

#[test]
fn chunks_are_counted_each() {
    let mut driver = Driver::plain();
    driver.send(EHLO.as_bytes());
    driver.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n");
    driver.send(b"BDAT 3\r\na:bBDAT 3 LAST\r\ncde");
    assert_eq!(
        counted(&driver),
        "EHLO=1/1 MAIL=1/1 RCPT=1/1 BDAT=2/2 after BDAT"
    );
}

#[test]
fn a_handshake_and_a_change_of_client_count_when_they_are_done() {
    let mut offered = settings();
    offered.tls = TlsMode::Optional;
    let mut driver = Driver::new(offered, peer());
    driver.send(EHLO.as_bytes());
    driver.send(b"STARTTLS\r\n");
    driver.send(EHLO.as_bytes());
    assert_eq!(counted(&driver), "EHLO=2/2 STARTTLS=1/1 after EHLO");
    let proxy = Peer {
        xclient: true,
        relaying: Relaying::Refused,
        ..peer()
    };
    let mut driver = Driver::new(settings(), proxy);
    driver.send(b"XCLIENT ADDR=192.0.2.9\r\n");
    assert_eq!(counted(&driver), "XCLIENT=1/1 after CONNECT");
}
