//! Events as native fields of the systemd journal (`log.format = "journald"`).
//!
//! Each event is one entry: `MESSAGE` is the line that a terminal would show, and every field of
//! the event is a field of the entry, its name in upper case: `journalctl QUEUE_ID=…`,
//! `journalctl REASON=cert-expired`. What the journal or mail headers call otherwise has another
//! name ([`NAMES`]). Lists and objects are JSON. An entry that does not fit into a datagram goes by
//! a sealed memory file, as `sd_journal_send` has it (systemd, "Native Journal Protocol").

use std::io::{self, IoSlice, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::Value;

use crate::sink::Lost;

/// A connection to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    identifier: Box<str>,
    entry: Vec<u8>,
}

impl Journal {
    /// `identifier` is `log.syslog-name`.
    pub(super) fn connect(path: &Path, identifier: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            identifier: identifier.into(),
            entry: Vec::new(),
        })
    }

    /// Events as [`attempt::Format::Journal`] writes them: a line of JSON and a line of text each.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let mut lines = lines.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        let mut lost: Option<Lost> = None;
        while let (Some(fields), Some(text)) = (lines.next(), lines.next()) {
            self.entry.clear();
            self.fill(fields, text);
            if let Err(error) = self.send() {
                let events = lost.map_or(0, |lost| lost.events) + 1;
                lost = Some(Lost { events, error });
            }
        }
        lost.map_or(Ok(()), Err)
    }

    fn fill(&mut self, fields: &[u8], text: &[u8]) {
        // Its date and time are the journal's own.
        let message = text.splitn(3, |b| *b == b' ').nth(2).unwrap_or(text);
        field(&mut self.entry, "MESSAGE", message);
        field(
            &mut self.entry,
            "SYSLOG_IDENTIFIER",
            self.identifier.as_bytes(),
        );
        field(&mut self.entry, "SYSLOG_FACILITY", MAIL_FACILITY);
        let parsed: Value = serde_json::from_slice(fields).unwrap_or_default();
        let Some(parsed) = parsed.as_object() else {
            return;
        };
        let level = parsed
            .get("level")
            .and_then(Value::as_str)
            .unwrap_or_default();
        field(&mut self.entry, "PRIORITY", priority(level));
        for (key, value) in parsed {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let own = NAMES.iter().find(|(name, _)| name == key);
            let name = own.map_or_else(|| key.to_ascii_uppercase(), |(_, own)| (*own).to_owned());
            field(&mut self.entry, &name, text.as_bytes());
        }
    }

    fn send(&self) -> io::Result<()> {
        let sent = self.socket.send(&self.entry);
        let Err(error) = sent else { return Ok(()) };
        match Errno::from_io_error(&error) {
            Some(Errno::MSGSIZE | Errno::NOBUFS) => self.send_by_file(),
            // The journal was restarted.
            Some(Errno::CONNREFUSED | Errno::NOTCONN | Errno::CONNRESET) => {
                self.socket.connect(&self.path)?;
                self.socket.send(&self.entry).map(drop)
            }
            _ => Err(error),
        }
    }

    fn send_by_file(&self) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = std::fs::File::from(rustix::fs::memfd_create("sealpost-event", flags)?);
        file.write_all(&self.entry)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let descriptors = [file.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        rustix::net::sendmsg(
            &self.socket,
            &[IoSlice::new(&[])],
            &mut control,
            SendFlags::empty(),
        )?;
        Ok(())
    }
}

/// `KEY=value`, or with its length where the value has line ends.
fn field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

fn priority(level: &str) -> &'static [u8] {
    match level {
        "error" => b"3",
        "warn" => b"4",
        "debug" => b"7",
        _ => b"6",
    }
}

/// Whether standard output leads to the journal: systemd names it in `JOURNAL_STREAM`
/// (systemd.exec(5)).
#[must_use]
pub fn is_stdout() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(io::stdout())
        .is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Fields whose names mean something else to the journal, or say too little there.
const NAMES: [(&str, &str); 4] = [
    ("message_id", "MAIL_MESSAGE_ID"),
    ("from", "MAIL_FROM"),
    ("to", "MAIL_TO"),
    ("ts", "EVENT_TIME"),
];
const MAIL_FACILITY: &[u8] = b"2";

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Read as _;
    use std::os::unix::net::UnixDatagram;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

    /// What a journal would read: the datagram, or what the file has that came with it.
    fn receive(journal: &UnixDatagram) -> Vec<u8> {
        let mut buffer = vec![0; 512 * 1024];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [io::IoSliceMut::new(&mut buffer)];
        let got =
            rustix::net::recvmsg(journal, &mut slices, &mut control, RecvFlags::empty()).unwrap();
        let length = got.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                let fd = files.into_iter().next().unwrap();
                let seals = rustix::fs::fcntl_get_seals(&fd).unwrap();
                assert!(seals.contains(SealFlags::WRITE | SealFlags::SHRINK));
                let mut file = std::fs::File::from(fd);
                io::Seek::rewind(&mut file).unwrap();
                let mut all = Vec::new();
                file.read_to_end(&mut all).unwrap();
                return all;
            }
        }
        buffer.truncate(length);
        buffer
    }

    fn pair() -> (tempfile::TempDir, UnixDatagram, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let fake = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect(&path, "sealpost").unwrap();
        (folder, fake, journal)
    }

    #[test]
    fn each_event_is_an_entry_with_its_fields() {
        let (_folder, fake, mut journal) = pair();
        let lines = b"{\"ts\":\"2026-03-01T00:00:00.000Z\",\"level\":\"warn\",\"event\":\"delivery.deferred\",\
            \"queue_id\":\"0Xw\",\"message_id\":\"<1@a>\",\"reason\":\"cert-expired\",\"attempt\":2,\"reply\":null,\
            \"policies\":[{\"source\":\"mta-sts\"}]}\n2026-03-01 00:00:00 delivery.deferred 0Xw to <b@d.test>\n";
        journal.write(lines).unwrap();
        let entry = String::from_utf8(receive(&fake)).unwrap();
        for line in [
            "MESSAGE=delivery.deferred 0Xw to <b@d.test>",
            "SYSLOG_IDENTIFIER=sealpost",
            "PRIORITY=4",
            "EVENT=delivery.deferred",
            "QUEUE_ID=0Xw",
            "REASON=cert-expired",
            "MAIL_MESSAGE_ID=<1@a>",
            "ATTEMPT=2",
            "POLICIES=[{\"source\":\"mta-sts\"}]",
        ] {
            assert!(
                entry.lines().any(|l| l == line),
                "{line} is not in\n{entry}"
            );
        }
        // MESSAGE_ID is the journal's own: a catalogue number.
        assert!(
            !entry.contains("\nMESSAGE_ID=") && !entry.contains("REPLY"),
            "{entry}"
        );
    }

    #[test]
    fn a_large_entry_goes_by_a_sealed_file() {
        let (_folder, fake, mut journal) = pair();
        let long = "x".repeat(400 * 1024);
        let lines =
            format!("{{\"level\":\"info\",\"event\":\"e\",\"detail\":\"{long}\"}}\na b e\n");
        journal.write(lines.as_bytes()).unwrap();
        let entry = String::from_utf8(receive(&fake)).unwrap();
        assert!(
            entry.contains(&format!("DETAIL={long}\n")),
            "{}",
            entry.len()
        );
    }

    #[test]
    fn a_value_with_line_ends_has_its_length_before_it() {
        let mut entry = Vec::new();
        field(&mut entry, "A", b"x\ny");
        assert_eq!(entry, b"A\n\x03\0\0\0\0\0\0\0x\ny\n");
    }
}
