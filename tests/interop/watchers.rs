//! Programs that watch clients in Postfix's log watch ours: fail2ban's filter, pflogsumm's report on smtpd.

use std::process::Command;

use sealpost_tests::{Event, Relay, RelayConfig, SmtpClient, program};
use testkit::TestCa;

use crate::postfix_log::total;
use crate::recipient::message;
use crate::site::{PASSWORD, SOON, STARTTLS, Site, USER};

testkit::net_test! {
    async fn who_guesses_breaks_off_or_wants_to_relay_is_found_by_fail2ban() {
        let config = RelayConfig::default().set("log.format", r#""postfix""#);
        let site = Site::start(TestCa::new(), config, "").await;
        let address = STARTTLS.parse().unwrap();
        // One that is in order, beside which the others come and go.
        let mut good = SmtpClient::connect(address).await;
        good.ehlo("good.test").await;
        good.starttls(&site.ca, "relay.test").await;
        good.ehlo("good.test").await;
        let mut guesser = SmtpClient::connect(address).await;
        guesser.ehlo("guesser.test").await;
        guesser.starttls(&site.ca, "relay.test").await;
        guesser.ehlo("guesser.test").await;
        guesser.auth_plain(USER, "guess").await.demand(535);
        drop(guesser);
        told(&site.relay, "commands=").await;
        drop(SmtpClient::connect(site.relay.address()).await);
        told(&site.relay, "commands=0/0").await;
        let mut sender = site.relay.client().await;
        sender.command("NONSENSE").await;
        sender.ehlo("sender.test").await;
        sender.send("a@org.test", &["b@d.test"], &message("one")).await;
        sender.command("QUIT").await.demand(221);
        drop(sender);
        told(&site.relay, " unknown=0/1 commands=").await;
        good.auth_plain(USER, PASSWORD).await.demand(235);
        good.command("QUIT").await.demand(221);
        drop(good);
        told(&site.relay, " auth=1 quit=1 commands=5").await;

        // Of a session that is not looked at here the end may still come.
        let text = std::fs::read_to_string(site.relay.folder().join("events.log")).unwrap();
        let work = tempfile::tempdir().unwrap();
        let (log, script) = (work.path().join("log"), work.path().join("watch.py"));
        std::fs::write(&log, &text).unwrap();
        std::fs::write(&script, FAIL2BAN).unwrap();
        let wanted = r#"{"auth": 1, "ddos": 3}"#;
        let output = Command::new(program("python3", "python3"))
            .arg(&script)
            .args([log.as_os_str(), wanted.as_ref()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
        let output = Command::new(program("pflogsumm", "pflogsumm"))
            .args(["--syslog-name", "sealpost", "--smtpd-stats"])
            .arg(&log)
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}\n{text}");
        // Each, though they overlap.
        let ends = text.matches(": disconnect from unknown[127.0.0.1]").count();
        assert!(ends >= 4, "{text}");
        assert_eq!(total(&report, "connections"), Some(ends as u64), "{report}\n{text}");
    }
}

async fn told(relay: &Relay, words: &str) {
    let wanted = |e: &Event| {
        let line = e.text("line");
        line.contains(": disconnect from ") && line.contains(words)
    };
    relay.wait_event(wanted, SOON).await;
}

/// What a client that may not relay is told is what fail2ban looks for, of a client that we can only make here
/// from a line.
#[test]
fn what_strangers_are_refused_with_is_known_to_fail2ban() {
    let work = tempfile::tempdir().unwrap();
    let (log, script) = (work.path().join("log"), work.path().join("watch.py"));
    let start = "Mar  1 12:00:00 relay.test sealpost/smtpd[23]: ";
    let refused = format!(
        "{start}NOQUEUE: reject: RCPT from unknown[192.0.2.9]: 550 5.7.1 <b@d.test>: Relay access denied: \
         [192.0.2.9] may not send mail through here; from=<a@s.test> to=<b@d.test> proto=ESMTP helo=<c.test> \
         cause=relay-denied\n{start}too many errors after RCPT from unknown[192.0.2.9]\n"
    );
    std::fs::write(&log, refused).unwrap();
    std::fs::write(&script, FAIL2BAN).unwrap();
    let output = Command::new(program("python3", "python3"))
        .arg(&script)
        .args([log.as_os_str(), r#"{"normal": 2, "errors": 1}"#.as_ref()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// What `filter.d/postfix.conf` of fail2ban 1.0 looks for in its modes, of which `normal`, `auth` and `ddos` together are
/// `aggressive`. With `_daemon` set to our name, as deploy/README.md says.
const FAIL2BAN: &str = r##"
import json, re, sys

prefix = r'\s*(?:\S+\s+)?(?:sealpost(-\w+)?/\w+(?:/smtp[ds])?(?:\[\d+\])?:?\s+)'
host = r'[^[]*\[(?P<host>[0-9a-f.:]+)\](?::\d+)?'
modes = {
    'normal': (r'(?:\w+: (?:milter-)?reject:|(?:improper command pipelining|too many errors) after \S+)', [
        rf'^[A-Z]{{4}} from {host}: [45][50][04] [45]\.\d\.\d+ (?:(?:<[^>]*>)?: )?'
        r'(?:Service unavailable|Relay access denied|(?:Host|Domain) not found|[Uu]ser unknown)\b',
        rf'^from {host}:?']),
    'auth': (r'warning:', [
        rf'^{host}: SASL ((?i:LOGIN|PLAIN)|(?:CRAM|DIGEST)-MD5) authentication failed:'
        r'(?! Connection lost to authentication server| Invalid authentication mechanism)']),
    'ddos': (r'(?:lost connection after(?! DATA) [A-Z]+|disconnect(?= from \S+(?: \S+=\d+)* auth=0/(?:[1-9]|\d\d+)))',
        [rf'^from {host}:?']),
    'errors': (r'too many errors after \S+', [rf'^from {host}$']),
}
found = dict.fromkeys(modes, 0)
for line in open(sys.argv[1], encoding='utf-8'):
    line = re.sub(r'^\w{3} [ \d]\d \d\d:\d\d:\d\d', '', line.rstrip('\n'))
    for mode, (before, patterns) in modes.items():
        content = re.match(rf'{prefix}{before} (?P<content>.+)$', line)
        if content and any(re.search(p, content.group('content')) for p in patterns):
            found[mode] += 1
wanted = dict.fromkeys(modes, 0) | json.loads(sys.argv[2])
# Whoever looks whether the relay listens breaks off too.
more = wanted['ddos'] and found['ddos'] > wanted['ddos']
if found != (wanted | {'ddos': found['ddos']} if more else wanted):
    print(f'{found} instead of {wanted}')
    sys.exit(1)
"##;
