//! XCLIENT: whose rights a session has after it.

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
