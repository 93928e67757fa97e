//! Programs that read Postfix's log by patterns read ours: the usual Prometheus exporters, Grok.

use std::process::Command;

use sealpost_tests::{Event, Relay, program};

use crate::recipient::{Recipient, front_setup, message};

const SOON: std::time::Duration = std::time::Duration::from_secs(30);

testkit::net_test! {
    async fn exporters_and_grok_find_what_they_look_for_in_a_real_log() {
        let d = Recipient::without_policy().await;
        let _mx = d
            .mx()
            .set("virtual_mailbox_maps", "inline:{b@d.test=inbox/,c@d.test=inbox/}")
            .start()
            .await;
        let front = front_setup("mail.org.test").mailbox(&["org.test"]).start().await;
        let config = d
            .relay()
            .set("log.format", r#""postfix""#)
            .set("log.syslog-name", r#""postfix""#)
            .set("queue.retry", r#"["1h"]"#)
            .append(
                "[[route]]\nrecipient-domain = \"org.test\"\nrelay = \"[127.0.0.1]:25\"\n\
                 tls = \"dangerous-off\"\n\
                 [[route]]\nrecipient-domain = \"down.test\"\nrelay = \"[127.0.0.99]:25\"\n\
                 tls = \"dangerous-off\"\n",
            );
        let relay = Relay::start(config).await;
        let id = relay.send("a@org.test", &["b@d.test", "c@d.test"], &message("two")).await;
        relay.send("a@org.test", &["nobody@d.test"], &message("unknown")).await;
        relay.send("a@org.test", &["x@down.test"], &message("waits")).await;
        front.wait_for_mail(1, SOON).await;
        for words in ["status=deferred (", "status=bounced (", "to=<a@org.test>, "] {
            relay.wait_event(|e: &Event| e.text("line").contains(words), SOON).await;
        }
        let removed = format!("{id}: removed");
        relay.wait_event(|e: &Event| e.text("line").ends_with(&removed), SOON).await;
        let work = tempfile::tempdir().unwrap();
        let script = work.path().join("read.py");
        std::fs::write(&script, READER).unwrap();
        let output = Command::new(program("python3", "python3"))
            .arg(&script)
            .arg(relay.folder().join("events.log"))
            // Three messages and the notification for the one that bounced; the last one waits.
            .arg(r#"{"smtpd": 3, "cleanup": 3, "taken": 4, "sent": 3, "bounced": 1, "deferred": 1, "bounce": 1}"#)
            .output()
            .unwrap();
        let log = std::fs::read_to_string(relay.folder().join("events.log")).unwrap();
        assert!(output.status.success(), "{}\n{log}", String::from_utf8_lossy(&output.stdout));
        // The id of the log is one that the commands take.
        let line = log.lines().find(|l| l.contains("status=deferred (")).unwrap();
        let logged = line.split("]: ").nth(1).unwrap().split(':').next().unwrap();
        let shown = relay.cli(&["queue", "show", logged]).await;
        assert_eq!(shown.code, Some(0), "{shown:?}");
    }
}

/// What such programs do with a line, in our own words: first program and process, then what each
/// daemon's lines hold.
pub(crate) const READER: &str = r##"
import json, re, sys

prefix = re.compile(r' ?(postfix)(?:/([a-z]+))?\[\d+\]: (.*)$')
delivery = re.compile(
    r', relay=(?P<relay>\S+), .*, delays=([0-9.]+)/([0-9.]+)/([0-9.]+)/([0-9.]+), ')
status = re.compile(r', status=(\w+) ')
taken = re.compile(r':.*, size=(\d+), nrcpt=(\d+) ')
accepted = re.compile(r': client=\S+\[[0-9a-f.:]+\]')
# Grok: an id is six hexadecimal digits or twelve letters and digits at least.
queue_id = r'(?:[0-9A-F]{6,}|[0-9a-zA-Z]{12,}|NOQUEUE)'
keys = r'[\w-]+=[^;]*'
client = r'\S+\[[0-9a-f.:]+\]'
grok = {
    'smtp': re.compile(rf'^{queue_id}: {keys} status=[\w-]+( \(.*\))?'),
    'smtpd': re.compile(rf'^{queue_id}: {keys}|^connect from {client}$|^lost connection after [A-Z-]+'
                        rf'(?: \(\d+ bytes\))? from {client}$|^disconnect from {client}(?: [a-z]+=\d+(?:/\d+)?)+$'),
    'cleanup': re.compile(rf'^{queue_id}: message-id=<?[^<>]*>?'),
    'qmgr': re.compile(rf'^{queue_id}: (removed|{keys} \(queue active\))'),
    'bounce': re.compile(rf'^{queue_id}: (sender|postmaster) (non-delivery|delivery status|delay) '
                         rf'notification: {queue_id}$'),
}
faults, count, relays = [], {}, set()
for line in open(sys.argv[1], encoding='utf-8'):
    line = line.rstrip('\n')
    found = prefix.search(line)
    if not found:
        faults.append(f'no program: {line}')
        continue
    daemon, text = found.group(2), found.group(3)
    if daemon not in grok:
        continue
    if not grok[daemon].search(text):
        faults.append(f'Grok does not know this of {daemon}: {text}')
    key = daemon
    if daemon == 'smtp':
        found = delivery.search(text)
        if not found:
            faults.append(f'no relay and delays: {text}')
        else:
            relays.add(found.group('relay'))
            [float(found.group(n)) for n in range(2, 6)]
        found = status.search(text)
        key = found.group(1) if found else 'no status'
    elif daemon == 'qmgr':
        key = 'removed' if text.endswith(': removed') else 'taken'
        if key == 'taken' and not taken.search(text):
            faults.append(f'no size and number of recipients: {text}')
    elif daemon == 'smtpd' and not accepted.search(text):
        key = text.split(' ')[0]
        if key not in ('connect', 'disconnect', 'lost'):
            faults.append(f'no client: {text}')
    count[key] = count.get(key, 0) + 1
for key, number in json.loads(sys.argv[2]).items():
    if count.get(key, 0) != number:
        faults.append(f'{key}: {count.get(key, 0)} instead of {number}')
if not any(re.fullmatch(r'\S+\[127\.0\.0\.99\]:25', relay) or relay == 'none' for relay in relays):
    faults.append(f'relays: {sorted(relays)}')
print('\n'.join(faults))
sys.exit(1 if faults else 0)
"##;
