//! Clients that are not ours prove who they are: by certificate, by EXTERNAL, by SCRAM with and
//! without channel binding; and what they may send then.

use std::path::Path;

use sealpost_tests::{RelayConfig, program};
use testkit::{Leaf, TestCa};

use crate::site::{SOON, Site, swaks};

/// A site that also knows two programs by their certificates.
struct Programs {
    site: Site,
    /// Known by the name in it.
    named: Leaf,
    /// Known by its fingerprint.
    printed: Leaf,
    /// Valid, and nobody's.
    unknown: Leaf,
}

impl Programs {
    async fn start() -> Self {
        let ca = TestCa::new();
        let leaf = |name: &str| ca.cert(&[name]).wrong_usage().issue();
        let (named, printed, unknown) = (leaf("crm.org.test"), leaf("x.test"), leaf("y.test"));
        let client_ca = format!("client-ca = \"{}\"\n", ca.root_path().display());
        let config = RelayConfig::default().append(&format!(
            "[[identity]]\nname = \"crm\"\ncertificates = [\"dns:crm.org.test\"]\n\
             senders = [\"crm@org.test\", \"*.lists.org.test\"]\n\
             [[identity]]\nname = \"printer\"\ncertificates = [\"sha256:{}\"]\n",
            fingerprint(&printed.cert_path).await
        ));
        Self {
            site: Site::start(ca, config, &client_ca).await,
            named,
            printed,
            unknown,
        }
    }

    /// The script with the authority's file and these of the client's certificate and key.
    async fn python(&self, script: &str, leaf: &Leaf) -> String {
        let files = [self.site.ca.root_path(), &leaf.cert_path, &leaf.key_path];
        self.site.python(script, &files.map(Path::as_os_str)).await
    }
}

async fn fingerprint(certificate: &Path) -> String {
    let output = tokio::process::Command::new(program("openssl", "openssl"))
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().split_once('=').unwrap().1.to_owned()
}

testkit::net_test! {
    async fn g1_09_g2_10_g3_07_swaks_is_known_by_its_certificate() {
        let programs = Programs::start().await;
        let site = &programs.site;
        let swaks = |leaf: &Leaf, more: &[&str]| {
            let mut command = swaks(&["--to", "b@d.test"]);
            command
                .args(["--tls-cert".as_ref(), leaf.cert_path.as_os_str()])
                .args(["--tls-key".as_ref(), leaf.key_path.as_os_str()])
                .args(more);
            command
        };
        let mut sent = 0;
        for (leaf, from, port, tls, want) in [
            (&programs.named, "crm@org.test", "587", "--tls", Ok("crm")),
            (&programs.named, "x@news.lists.org.test", "465", "--tlsc", Ok("crm")),
            (&programs.printed, "anybody@else.test", "465", "--tlsc", Ok("printer")),
            (&programs.named, "ceo@org.test", "587", "--tls", Err("550 5.7.1")),
            (&programs.named, "x@lists.org.test", "465", "--tlsc", Err("550 5.7.1")),
            (&programs.unknown, "crm@org.test", "587", "--tls", Err("530 5.7.0")),
        ] {
            let output = swaks(leaf, &["--from", from, "--port", port, tls]).output().await.unwrap();
            let talk = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(output.status.success(), want.is_ok(), "{from} {port}: {talk}");
            match want {
                Ok(identity) => {
                    sent += 1;
                    site.delivered(sent).await;
                    let event = site.relay.wait_event(
                        |e| e.is("message.received") && e.text("from") == from,
                        SOON,
                    );
                    assert_eq!(event.await.text("identity"), identity, "{talk}");
                }
                Err(reply) => assert!(talk.contains(reply), "{from}: {talk}"),
            }
        }
        // A certificate of an authority that the listener does not know ends the handshake.
        let strangers = TestCa::new();
        let forged = strangers.cert(&["crm.org.test"]).wrong_usage().issue();
        let args = ["--from", "crm@org.test", "--port", "465", "--tlsc"];
        let output = swaks(&forged, &args).output().await.unwrap();
        assert!(!output.status.success(), "{output:?}");
        site.relay.wait_event(|e| e.is("smtp.in.tls-failed"), SOON).await;
        assert_eq!(site.mx.messages().len(), sent);
    }

    async fn g2_10_python_says_external() {
        let programs = Programs::start().await;
        let talk = programs.python(&[SMTPLIB, EXTERNAL].concat(), &programs.named).await;
        assert_eq!(talk, "235\n535\n");
        let talk = programs.python(&[SMTPLIB, EXTERNAL].concat(), &programs.unknown).await;
        assert_eq!(talk, "535\n535\n");
    }

    async fn g2_07_python_logs_in_by_scram_and_a_downgrade_is_seen() {
        let programs = Programs::start().await;
        let talk = programs.python(&[SMTPLIB, SCRAM].concat(), &programs.unknown).await;
        assert_eq!(talk, "right 235 verified\nwrong 535\nghost 535\ndowngraded 535\nreplayed 535\n");
        programs.site.accepted("SCRAM-SHA-256").await;
    }

    async fn g2_07_scram_plus_is_bound_to_openssls_channel() {
        let programs = Programs::start().await;
        let talk = programs.python(&[SCRAM_KEYS, PLUS].concat(), &programs.unknown).await;
        assert_eq!(talk, "bound 235\nother channel 535\n", "{}", programs.site.relay.story());
        programs.site.accepted("SCRAM-SHA-256-PLUS").await;
    }
}

/// A connection inside TLS as `server()`, with the client's certificate.
const SMTPLIB: &str = r#"
import base64, smtplib, ssl, sys
password = sys.stdin.readline().rstrip("\n")
def server(cert=True):
    context = ssl.create_default_context(cafile=sys.argv[1])
    context.check_hostname = False
    if cert:
        context.load_cert_chain(sys.argv[2], sys.argv[3])
    s = smtplib.SMTP_SSL("127.0.0.1", 465, context=context)
    s.ehlo("py.test")
    return s
def b64(octets):
    return base64.b64encode(octets).decode()
def unb64(text):
    return base64.b64decode(text)
"#;

const EXTERNAL: &str = r#"
s = server()
assert "EXTERNAL" in s.esmtp_features["auth"].split(), s.esmtp_features
print(s.docmd("AUTH", "EXTERNAL =")[0])
s = server()
print(s.docmd("AUTH", "EXTERNAL " + b64(b"somebody-else"))[0])
s = server(cert=False)
assert "EXTERNAL" not in s.esmtp_features["auth"].split(), s.esmtp_features
assert s.docmd("AUTH", "EXTERNAL =")[0] == 504
"#;

/// RFC 5802 section 3, by the book.
const SCRAM: &str = r#"
import hashlib, hmac
def keys(first_bare, challenge, binding, password):
    parts = dict(p.split("=", 1) for p in challenge.split(","))
    without = "c=" + b64(binding) + ",r=" + parts["r"]
    message = ",".join([first_bare, challenge, without]).encode()
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), unb64(parts["s"]), int(parts["i"]))
    sign = lambda key, text: hmac.new(key, text, "sha256").digest()
    client = sign(salted, b"Client Key")
    signature = sign(hashlib.sha256(client).digest(), message)
    proof = bytes(a ^ b for a, b in zip(client, signature))
    return without + ",p=" + b64(proof), b64(sign(sign(salted, b"Server Key"), message))
last = None
def login(user, password, gs2="n,,"):
    global last
    s = server()
    bare = "n=" + user.replace("=", "=3D").replace(",", "=2C") + ",r=fyko+d2lbbFgONRv9qkxdawL"
    code, challenge = s.docmd("AUTH", "SCRAM-SHA-256 " + b64((gs2 + bare).encode()))
    if code != 334:
        return str(code)
    challenge = unb64(challenge).decode()
    assert challenge.startswith("r=fyko+d2lbbFgONRv9qkxdawL"), challenge
    final, signature = keys(bare, challenge, gs2.encode(), password)
    last = final
    code, answer = s.docmd(b64(final.encode()))
    if code != 334:
        return str(code)
    verified = unb64(answer).decode() == "v=" + signature
    return str(s.docmd("")[0]) + (" verified" if verified else " NOT VERIFIED")
print("right", login("ann@org.test", password))
right = last
print("wrong", login("ann@org.test", "guess"))
print("ghost", login("nobody@org.test", password))
print("downgraded", login("ann@org.test", password, "y,,"))
s = server()
s.docmd("AUTH", "SCRAM-SHA-256 " + b64(b"n,,n=ann@org.test,r=fyko+d2lbbFgONRv9qkxdawL"))
print("replayed", s.docmd(b64(right.encode()))[0])
"#;

const SCRAM_KEYS: &str = r#"
import base64, hashlib, hmac, re, subprocess, sys
password = sys.stdin.readline().rstrip("\n")
b64 = lambda octets: base64.b64encode(octets).decode()
unb64 = base64.b64decode
def final(first_bare, challenge, binding, password):
    parts = dict(p.split("=", 1) for p in challenge.split(","))
    without = "c=" + b64(binding) + ",r=" + parts["r"]
    message = ",".join([first_bare, challenge, without]).encode()
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), unb64(parts["s"]), int(parts["i"]))
    sign = lambda key, text: hmac.new(key, text, "sha256").digest()
    client = sign(salted, b"Client Key")
    signature = sign(hashlib.sha256(client).digest(), message)
    return without + ",p=" + b64(bytes(a ^ b for a, b in zip(client, signature)))
"#;

/// The keying material as OpenSSL computes it for its end of the connection (RFC 9266).
const PLUS: &str = r#"
def login(spoil):
    s = subprocess.Popen(
        ["openssl", "s_client", "-connect", "127.0.0.1:465", "-nocommands", "-CAfile", sys.argv[1],
         "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32", "-crlf", "-ign_eof"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)
    def until(pattern):
        while True:
            line = s.stdout.readline()
            if not line:
                raise SystemExit("openssl ended before " + pattern)
            found = re.match(pattern, line.strip())
            if found:
                return found
    def say(line, pattern):
        s.stdin.write(line + "\n")
        s.stdin.flush()
        return until(pattern)
    material = bytes.fromhex(until(r"Keying material: ([0-9A-F]+)")[1])
    if spoil:
        material = bytes([material[0] ^ 1]) + material[1:]
    until(r"220 ")
    say("EHLO py.test", r"250 ")
    bare = "n=ann@org.test,r=rOprNGfwEbeRWgbNEkqO"
    gs2 = "p=tls-exporter,,"
    challenge = unb64(say("AUTH SCRAM-SHA-256-PLUS " + b64((gs2 + bare).encode()), r"334 (.+)")[1]).decode()
    said = final(bare, challenge, gs2.encode() + material, password)
    code = say(b64(said.encode()), r"(334|535)")[1]
    if code == "334":
        code = say("", r"(\d\d\d)")[1]
    s.kill()
    return code
print("bound", login(False))
print("other channel", login(True))
"#;
