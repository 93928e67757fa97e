use std::path::Path;

use rcgen::generate_simple_self_signed;

use super::*;

fn write_pair(dir: &Path, name: &str, names: &[&str]) -> KeyPairFiles {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let made = generate_simple_self_signed(names).unwrap();
    let files = KeyPairFiles {
        certificate: dir.join(format!("{name}.crt")),
        private_key: dir.join(format!("{name}.key")),
    };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.private_key, made.signing_key.serialize_pem()).unwrap();
    files
}

#[test]
fn errors_name_the_file_and_the_fault() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    write_pair(dir.path(), "one", &["a.test"]);
    write_pair(dir.path(), "two", &["b.test"]);
    write("junk", "junk");
    write(
        "bad.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    write(
        "bad.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    assert!(ServerTls::load(&TlsFiles::new(path("one.crt"), path("one.key"))).is_ok());
    for (crt, key, want) in [
        (
            "none",
            "one.key",
            "none does not exist: put the certificate",
        ),
        (
            "one.crt",
            "none",
            "none does not exist: put the private key",
        ),
        ("junk", "one.key", "junk holds no certificate"),
        ("one.crt", "junk", "junk holds no private key"),
        ("one.crt", "one.crt", "one.crt holds no private key"),
        ("one.crt", "two.key", "does not match the first certificate"),
        ("bad.crt", "one.key", "bad.crt cannot be used"),
        ("one.crt", "bad.key", "bad.key cannot be used"),
    ] {
        let error = ServerTls::load(&TlsFiles::new(path(crt), path(key)))
            .unwrap_err()
            .to_string();
        assert!(error.contains(want), "{crt} {key}: {error}");
    }
    let mut files = TlsFiles::new(path("one.crt"), path("one.key"));
    files.client_roots = Some(path("bad.crt"));
    let error = ServerTls::load(&files).unwrap_err().to_string();
    assert!(
        error.contains("authorities of client certificates in"),
        "{error}"
    );
    files.client_roots = None;
    files.by_name = vec![NamedKeyPair {
        server_names: Vec::new(),
        key_pair: write_pair(dir.path(), "nameless", &[]),
    }];
    let error = ServerTls::load(&files).unwrap_err().to_string();
    assert!(error.contains("nameless.crt names no server"), "{error}");
}

#[test]
fn g1_06_a_bad_reload_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let pair = write_pair(dir.path(), "one", &["a.test"]);
    let files = TlsFiles::new(&pair.certificate, &pair.private_key);
    let tls = ServerTls::load(&files).unwrap();
    let before = tls.config();
    let key = std::fs::read(&pair.private_key).unwrap();
    std::fs::write(&pair.private_key, "").unwrap();
    assert!(ServerTls::read(&files).is_err());
    assert!(Arc::ptr_eq(&before, &tls.config()));
    std::fs::write(&pair.private_key, key).unwrap();
    tls.replace(ServerTls::read(&files).unwrap());
    assert!(!Arc::ptr_eq(&before, &tls.config()));
}

#[test]
fn g1_06_the_end_of_a_chain_is_its_earliest() {
    let dir = tempfile::tempdir().unwrap();
    let authority = |year| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key)
    };
    let ((own, key), (intermediate, _)) = (authority(2030), authority(2028));
    let (crt, path) = (dir.path().join("crt"), dir.path().join("key"));
    std::fs::write(&crt, format!("{own}{intermediate}")).unwrap();
    std::fs::write(&path, key.serialize_pem()).unwrap();
    let tls = ServerTls::load(&TlsFiles::new(&crt, &path)).unwrap();
    let want = CertificateDates {
        file: crt,
        not_after: Timestamp::from_secs(1_830_297_600), // 2028-01-01
    };
    assert_eq!(tls.current().certificates(), [want]);
}

/// It would count as an authority: what the holder of a listed client's key signs would be taken.
#[test]
fn g1_09_a_client_certificate_that_cannot_say_whether_it_may_sign_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pair = write_pair(dir.path(), "one", &["a.test"]);
    let mut files = TlsFiles::new(&pair.certificate, &pair.private_key);
    let listed = dir.path().join("clients.pem");
    std::fs::write(&listed, VERSION_1).unwrap();
    files.client_roots = Some(listed);
    let error = ServerTls::load(&files).unwrap_err().to_string();
    assert!(
        error.contains("clients.pem cannot be used: CN=old is of an X.509 version before 3"),
        "{error}"
    );
}

/// Self-signed, of X.509 version 1.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBGTCBvwIUSb7xBVMZi41bYbTFyuvQsDJu9bswCgYIKoZIzj0EAwIwDjEMMAoG\n\
A1UEAwwDb2xkMCAXDTI2MTEyMzA3MTk1MloYDzIwODEwODI2MDcxOTUyWjAOMQww\n\
CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASc07zuLt0TtF3w\n\
XupWhxJ7JyRCWF/BQTs9feKjif3+wglfNLeGuFEIJ4EUwQUNY4O04+asF5Ww5BDR\n\
z9GSeU0uMAoGCCqGSM49BAMCA0kAMEYCIQCGwmyCpvR576Bd35pXWk6z7j6uWfq5\n\
C0nb3Z3R3ChOWQIhAIZa2P1Z+D4xaSizAPHgHDxWs0X5T46H0Yu4egw7xtl8\n\
-----END CERTIFICATE-----\n\
";
