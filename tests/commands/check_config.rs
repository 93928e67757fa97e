//! `sealpost check-config` looks at the network too.

use sealpost_tests::{RelayConfig, cli, sealpost_binary};
use testkit::Zone;

testkit::net_test! {
    async fn check_config_warns_when_our_own_mx_is_this_machine_and_no_route_leads_on() {
        let zone = Zone::start().await;
        zone.mail_domain("org.test", "mail.org.test", "127.0.0.1");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sealpost.toml");
        let config = RelayConfig::default()
            .set("server.hostname", r#""mail.org.test""#)
            .set("dns.dnssec", r#""off""#)
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

    async fn g5_09_check_config_finds_what_would_fail_later() {
        // A zone that nobody signed.
        let _zone = Zone::start().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sealpost.toml");
        let check = async |config: RelayConfig, roots: &str| {
            std::fs::write(&file, config.text(folder.path())).unwrap();
            let output = tokio::process::Command::new(sealpost_binary())
                .args(["check-config", "--config"])
                .arg(&file)
                .env("SSL_CERT_FILE", roots)
                .env("SSL_CERT_DIR", roots)
                .output()
                .await
                .unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (code, said) = check(RelayConfig::default(), "/nowhere").await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("DNSSEC does not get here, so that there is no DANE"), "{said}");
        let off = RelayConfig::default().set("dns.dnssec", r#""off""#);
        let (_, said) = check(off.clone(), "/nowhere").await;
        assert!(!said.contains("DNSSEC"), "{said}");
        let (code, said) = check(off.clone().set("tls.roots", r#"["system"]"#), "/nowhere").await;
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("tls.roots"), "{said}");
        let (code, said) = check(off.set("server.hostname", r#""localhost""#), "/nowhere").await;
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("is not fully qualified"), "{said}");
    }
}
