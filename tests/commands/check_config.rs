//! `sealpost check-config` looks at the network too.

use sealpost_tests::{RelayConfig, cli};
use testkit::Zone;

testkit::net_test! {
    async fn check_config_warns_when_our_own_mx_is_this_machine_and_no_route_leads_on() {
        let zone = Zone::start().await;
        zone.mail_domain("org.test", "mail.org.test", "127.0.0.1");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sealpost.toml");
        let config = RelayConfig::default()
            .set("server.hostname", r#""mail.org.test""#)
            .set("server.postmaster", r#""postmaster@org.test""#);

        std::fs::write(&file, config.text(folder.path())).unwrap();
        let warned = cli(&file, &["check-config"]).await;
        assert_eq!(warned.code, Some(0), "a warning is no error: {warned:?}");
        assert!(warned.stdout.contains("the mail exchanger of org.test is this machine"), "{warned:?}");
        assert!(warned.stdout.contains("recipient-domain = \"org.test\""), "{warned:?}");
        assert!(warned.stdout.ends_with("0 errors, 1 warnings\n"), "{warned:?}");

        let routed = config.append(
            "[[route]]\nrecipient-domain = \"org.test\"\nrelay = \"[127.0.0.1]:25\"\n\
             tls = \"dangerous-off\"\n",
        );
        std::fs::write(&file, routed.text(folder.path())).unwrap();
        let quiet = cli(&file, &["check-config"]).await;
        assert_eq!(quiet.code, Some(0), "{quiet:?}");
        assert!(!quiet.stdout.contains("mail exchanger"), "{quiet:?}");
    }
}
