//! Sessions driven without sockets: `Driver` is the smallest loop that obeys the actions.

mod commands;
mod content;
mod login;
mod offered;
mod splits;
mod tally;
mod xclient;

use std::net::IpAddr;

use mail_types::Domain;

use super::*;
use crate::server::{Claimed, Relaying};

pub(super) const EHLO: &str = "EHLO client.test\r\n";

/// A session with an imaginary queue.
pub(super) struct Driver {
    pub(super) session: Session,
    pub(super) replies: String,
    pub(super) accepted: Vec<(Envelope, Vec<u8>)>,
    pub(super) notices: Vec<Notice>,
    pub(super) closed: bool,
    pub(super) admit: Result<(), Refusal>,
    pub(super) begin: Result<(), Refusal>,
    pub(super) store: Result<(), Refusal>,
    pub(super) commit: Result<(), Refusal>,
    open: Option<Vec<u8>>,
    input: Vec<u8>,
    next_id: u64,
    /// What [`Action::Begin`] said of the size.
    pub(super) announced: Vec<Option<u64>>,
}

pub(super) fn settings() -> Settings {
    Settings::new(Domain::parse("relay.test").unwrap(), "main")
}

pub(super) fn peer() -> Peer {
    Peer {
        address: IpAddr::from([192, 0, 2, 1]),
        relaying: Relaying::Allowed,
        plaintext: false,
        xclient: false,
        xforward: false,
        adds_requiretls: false,
        bare_newline: BareNewline::Reject,
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_secs(1_772_366_400)
}

pub(super) fn tls() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
    }
}

impl Driver {
    pub(super) fn new(settings: Settings, peer: Peer) -> Self {
        let mut session = Session::new(Arc::new(settings), peer);
        session.greet(&[]);
        let mut driver = Self {
            session,
            replies: String::new(),
            accepted: Vec::new(),
            notices: Vec::new(),
            closed: false,
            admit: Ok(()),
            begin: Ok(()),
            store: Ok(()),
            commit: Ok(()),
            open: None,
            input: Vec::new(),
            next_id: 1,
            announced: Vec::new(),
        };
        driver.send(b"");
        driver.replies.clear();
        driver
    }

    pub(super) fn plain() -> Self {
        Self::new(settings(), peer())
    }

    pub(super) fn inside_tls() -> Self {
        let mut settings = settings();
        settings.tls = TlsMode::Optional;
        let mut driver = Self::new(settings, peer());
        driver.send(b"STARTTLS\r\n");
        driver.replies.clear();
        driver
    }

    /// Sends octets; what came back since the last call of `told` adds up in `replies`.
    pub(super) fn send(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        let input = std::mem::take(&mut self.input);
        let mut start = 0;
        while !self.closed {
            let (used, action) = self.session.handle(&input[start..], now());
            start += used;
            match action {
                Action::Read => break,
                Action::Admit { .. } => self.session.admitted(self.admit.clone()),
                Action::CheckRecipient => {
                    assert!(self.session.candidate().is_some());
                    self.session.recipient_checked(Ok(()));
                }
                Action::Authenticate => self.authenticate(),
                Action::Begin { size } => {
                    self.announced.push(size);
                    let id = QueueId::from_raw(self.next_id);
                    let answer = self.begin.clone().map(|()| id);
                    if let Some(trace) = self.session.begun(answer, now()) {
                        assert!(self.open.is_none());
                        self.open = Some(trace.into_bytes());
                    }
                }
                Action::Body(octets) => {
                    let open = self.open.as_mut().expect("a body after begin");
                    match &self.store {
                        Ok(()) => open.extend_from_slice(octets),
                        Err(refusal) => {
                            self.open = None;
                            self.session.body_refused(refusal.clone());
                        }
                    }
                }
                Action::Xclient(claim) => {
                    let login = match claim.login {
                        Claimed::Is(name) => Some(Identity {
                            name,
                            senders: mail_types::Senders::Any,
                            max_message_size: None,
                            names_submitters: false,
                        }),
                        Claimed::Unknown | Claimed::Unchanged => None,
                    };
                    self.session.impersonated(None, login);
                }
                Action::Abandon => assert!(self.open.take().is_some()),
                Action::Commit(envelope) => {
                    let content = self.open.take().expect("a commit after begin");
                    assert_eq!(envelope.size, content.len() as u64);
                    let id = QueueId::from_raw(self.next_id);
                    self.next_id += 1;
                    if self.commit.is_ok() {
                        self.accepted.push((*envelope, content));
                    }
                    self.session.committed(self.commit.clone().map(|()| id));
                }
                Action::StartTls => {
                    assert_eq!(start, input.len(), "plaintext behind STARTTLS");
                    self.session.tls_started(tls());
                }
                Action::Close => {
                    self.closed = true;
                    self.open = None;
                }
            }
        }
        self.input = input[start..].to_vec();
        self.replies += std::str::from_utf8(&self.session.output().split()).unwrap();
        self.notices.extend(self.session.take_notices());
    }

    /// What one command is answered.
    pub(super) fn told(&mut self, command: &str) -> String {
        self.replies.clear();
        self.send(command.as_bytes());
        self.send(b"\r\n");
        std::mem::take(&mut self.replies)
    }

    /// Codes of all replies of a whole batch; a multi-line reply counts once.
    pub(super) fn codes(&mut self, batch: &[u8]) -> Vec<u16> {
        self.replies.clear();
        self.send(batch);
        codes(&self.replies)
    }

    pub(super) fn only_message(&self) -> (&Envelope, &str) {
        let [(envelope, content)] = self.accepted.as_slice() else {
            panic!("{} messages", self.accepted.len());
        };
        (envelope, std::str::from_utf8(content).unwrap())
    }

    /// The content behind our trace header.
    pub(super) fn content(&self) -> &str {
        let (_, content) = self.only_message();
        let end = content.find("+0000\r\n").expect("our date") + 7;
        &content[end..]
    }
}

pub(super) fn codes(replies: &str) -> Vec<u16> {
    assert!(replies.is_empty() || replies.ends_with("\r\n"));
    let lines = replies.split_terminator("\r\n");
    let last = lines.filter(|l| l.as_bytes()[3] == b' ');
    last.map(|l| l[..3].parse().unwrap()).collect()
}
