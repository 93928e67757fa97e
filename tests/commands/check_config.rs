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

    async fn a_name_server_that_is_silent_is_named_with_what_to_do() {
        let _silent = tokio::net::UdpSocket::bind("127.0.0.98:53").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sealpost.toml");
        let config = RelayConfig::default().set("dns.servers", r#"["127.0.0.98:53"]"#);
        std::fs::write(&file, config.text(folder.path())).unwrap();
        let said = cli(&file, &["check-config"]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        let silent = "warning: dns.servers: no name server has answered us: 127.0.0.98";
        assert!(said.stdout.contains(silent) && said.stdout.contains("/etc/resolv.conf"), "{said:?}");
        assert!(!said.stdout.contains("not asked yet"), "{said:?}");
    }

    async fn a_data_directory_without_room_for_mail_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sealpost.toml");
        let free = rustix::fs::statvfs(folder.path()).unwrap();
        let config = RelayConfig::default().set("queue.minimum-free-space", r#""1TiB""#);
        std::fs::write(&file, config.text(folder.path())).unwrap();
        let said = cli(&file, &["check-config"]).await;
        let told = said.stdout.contains("warning: queue.minimum-free-space: the file system of ");
        assert_eq!(told, free.f_bavail.saturating_mul(free.f_frsize) < 1 << 40, "{said:?}");
    }

    async fn what_the_server_would_end_for_is_told_before() {
        let folder = tempfile::tempdir().unwrap();
        let [file, tokens] = ["sealpost.toml", "tokens"].map(|name| folder.path().join(name));
        std::fs::write(&tokens, "# people\nann:root:00\n").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&tokens, private).unwrap();
        let away = "[[listener]]\nname = \"away\"\naddress = [\"192.0.2.9:2626\", \"127.0.0.1:2626\"]\ntls = \"off\"\n";
        let config = RelayConfig::default().set("dns.dnssec", r#""off""#).append(away);
        std::fs::write(&file, config.text(folder.path())).unwrap();
        let said = cli(&file, &["check-config"]).await;
        let told = said.stdout.lines().filter(|l| l.contains("is not an address of this machine"));
        let told: Vec<&str> = told.collect();
        assert!(told.len() == 1 && told[0].contains("warning: listener[1].address: 192.0.2.9 is"), "{said:?}");
        assert_eq!(said.code, Some(0), "it may come: {said:?}");
        let config = config.set("admin.token-file", &format!("\"{}\"", tokens.display()));
        std::fs::write(&file, config.text(folder.path())).unwrap();
        let said = cli(&file, &["check-config"]).await;
        assert_eq!(said.code, Some(78), "as serve ends: {said:?}");
        assert!(said.stdout.contains("line 2: the role is neither read nor admin"), "{said:?}");
    }

    /// Every problem in the form that was asked for, those of the file itself too.
    async fn a_file_that_is_no_text_is_a_problem_with_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sealpost.toml");
        std::fs::write(&file, b"[server]\nhostname = \"r\xffl\"\n").unwrap();
        let said = cli(&file, &["check-config"]).await;
        assert_eq!(said.code, Some(78), "{said:?}");
        let place = format!("{}:2: is not UTF-8", file.display());
        assert!(said.stdout.contains(&place) && said.stdout.contains("1 errors"), "{said:?}");
        for name in ["sealpost.toml", "missing.toml"] {
            let said = cli(&folder.path().join(name), &["check-config", "--json"]).await;
            assert_eq!(said.code, Some(78), "{said:?}");
            let problem: serde_json::Value = serde_json::from_str(said.stdout.trim()).unwrap();
            assert_eq!(problem["severity"], "error", "{said:?}");
        }
    }

    /// The first use: the files that the configuration names are those that are to be made.
    async fn a_certificate_is_made_for_the_name_in_a_configuration_that_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sealpost.toml");
        let text = "[server]\nhostname = \"mx1.relay.test\"\n[[listener]]\nname = \"relay\"\naddress = [\"127.0.0.1:2526\"]\n\
                    tls = \"optional\"\ncertificate = \"mx1.pem\"\nprivate-key = \"mx1.key\"\n";
        std::fs::write(&file, text).unwrap();
        let directory = folder.path().display().to_string();
        let made = cli(&file, &["cert", "self-signed", "--directory", &directory]).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(made.stdout.contains("127.0.0.1:2526"), "{made:?}");
        assert!(folder.path().join("mx1.relay.test.pem").exists(), "{made:?}");
        std::fs::write(&file, "[server]\nhostname = 7\n").unwrap();
        let wrong = cli(&file, &["cert", "self-signed", "--directory", &directory]).await;
        assert!(wrong.code == Some(78) && wrong.stderr.contains("hostname"), "{wrong:?}");
        // For a name that is given it is made all the same, but nobody has said where the listener is.
        let missing = folder.path().join("mistyped.toml");
        for (config, name, why) in [(&file, "a.test", "hostname"), (&missing, "b.test", "cannot be read")] {
            let made = cli(config, &["cert", "self-signed", name, "--directory", &directory]).await;
            assert_eq!(made.code, Some(0), "{made:?}");
            assert!(made.stdout.contains("For the listener on 127.0.0.1:2525"), "{made:?}");
            assert_eq!(made.stderr.lines().count(), 1, "{made:?}");
            let told = made.stderr.contains("the listener is taken to be on 127.0.0.1:2525: ");
            assert!(told && made.stderr.contains(why), "{made:?}");
            assert!(made.stderr.contains(&config.display().to_string()), "{made:?}");
        }
    }

    async fn g2_08_check_config_says_who_cannot_log_in() {
        let folder = tempfile::tempdir().unwrap();
        let [file, users, word] = ["sealpost.toml", "users", "word"].map(|f| folder.path().join(f));
        let text = format!(
            "[server]\nhostname = \"mx1.relay.test\"\ndata-dir = \"{0}\"\n\
             [access]\nusers-file = \"{0}/users\"\n[dns]\ndnssec = \"off\"\n\
             [[identity]]\nname = \"ann\"\nscram-only = true\n",
            folder.path().display()
        );
        std::fs::write(&file, text).unwrap();
        std::fs::write(&word, "correct horse battery\n").unwrap();
        let word = word.display().to_string();
        std::fs::write(&users, "# nobody yet\n").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&users, private).unwrap();
        let said = cli(&file, &["check-config"]).await.stdout;
        assert!(said.contains("nobody can log in with a password"), "{said}");
        for (flag, warned) in [(Some("--no-scram"), true), (None, false)] {
            let mut add = vec!["user", "add", "ann", "--password-file", &word];
            add.extend(flag);
            let added = cli(&file, &add).await;
            assert_eq!(added.code, Some(0), "{added:?}");
            let said = cli(&file, &["check-config"]).await.stdout;
            let told = said.contains("identity[0].scram-only: \"ann\" cannot log in with a password");
            assert_eq!(told, warned, "{said}");
            assert!(!said.contains("nobody can log in"), "{said}");
        }
    }

    /// What is there is told from what is not.
    async fn files_of_the_commands_are_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sealpost.toml");
        let users = folder.path().join("users");
        std::fs::write(&file, format!("[access]\nusers-file = \"{}\"\n", users.display())).unwrap();
        let list = cli(&file, &["user", "list"]).await;
        assert_eq!(list.code, Some(65), "{list:?}");
        assert!(list.stderr.contains("the first `sealpost user add` makes it"), "{list:?}");
        let nothing = folder.path().join("nothing").display().to_string();
        let add = cli(&file, &["user", "add", "ann", "--password-file", &nothing]).await;
        assert_eq!(add.code, Some(65), "{add:?}");
        assert!(add.stderr.contains(&format!("--password-file {nothing}: ")), "{add:?}");
        std::fs::write(&nothing, "").unwrap();
        let add = cli(&file, &["user", "add", "ann", "--password-file", &nothing]).await;
        assert!(add.stderr.contains("the password is empty"), "{add:?}");
        let key = cli(&file, &["dkim", "keygen", "--domain", "org.test", "--selector", "s1", "--out", &nothing]).await;
        assert_eq!(key.code, Some(73), "{key:?}");
        assert!(key.stderr.contains("is not overwritten: remove it, or name another --out"), "{key:?}");
    }
}
