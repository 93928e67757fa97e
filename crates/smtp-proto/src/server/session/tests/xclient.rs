//! XCLIENT: whose rights a session has after it.

use data_encoding::BASE64;

use super::login::{ann, starts};
use super::*;

#[test]
fn g5_06_the_certificate_of_a_proxy_counts_for_nobody_behind_it() {
    for claims in [false, true] {
        let mut settings = settings();
        settings.tls = TlsMode::Optional;
        let mut peer = peer();
        (peer.relaying, peer.xclient) = (Relaying::Refused, true);
        let mut d = Driver::new(settings, peer);
        starts(&d.told("EHLO proxy.test"), "250-");
        if claims {
            starts(&d.told("XCLIENT ADDR=198.51.100.9"), "220 ");
            starts(&d.told("EHLO c.test"), "250-");
        }
        // The handshake is the proxy's, whenever it comes.
        starts(&d.told("STARTTLS"), "220 ");
        d.session.tls_client(ClientCertificate::Of(ann()), None);
        starts(&d.told("EHLO c.test"), "250-");
        assert_eq!(d.session.identity().is_some(), !claims);
        starts(&d.told("MAIL FROM:<a@b.test>"), "250 ");
        let rcpt = d.told("RCPT TO:<c@d.test>");
        starts(&rcpt, if claims { "550 5.7.1 " } else { "250 " });
    }
}

/// The client has shaken hands with the proxy: what it would bind its login to is not this
/// connection.
#[test]
fn g5_06_g2_07_no_channel_binding_to_the_tls_of_a_proxy() {
    for (before, after) in [(false, false), (true, false), (false, true)] {
        let mut settings = settings();
        settings.tls = TlsMode::Optional;
        settings.logins.passwords = true;
        let mut peer = peer();
        peer.xclient = true;
        let mut d = Driver::new(settings, peer);
        let claim = |d: &mut Driver| {
            starts(&d.told("XCLIENT ADDR=198.51.100.9"), "220 ");
            starts(&d.told("EHLO c.test"), "250-");
        };
        starts(&d.told("EHLO proxy.test"), "250-");
        if before {
            claim(&mut d);
        }
        starts(&d.told("STARTTLS"), "220 ");
        d.session.tls_client(ClientCertificate::None, Some([7; 32]));
        if after {
            claim(&mut d);
        }
        let offered = d.told("EHLO c.test");
        let want = if before || after {
            "AUTH SCRAM-SHA-256 PLAIN"
        } else {
            "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN"
        };
        assert!(offered.contains(&format!("250-{want}\r\n")), "{offered}");
        // "y": the client could bind, and sees that we cannot; it is not a downgrade.
        let first = BASE64.encode(b"y,,n=ann,r=abcdefghijklmnopqrst");
        let answer = d.told(&format!("AUTH SCRAM-SHA-256 {first}"));
        starts(&answer, if before || after { "334 " } else { "535 " });
    }
}
