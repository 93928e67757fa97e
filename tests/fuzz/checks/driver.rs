//! Drives a session by octets alone, as a listener would, and judges what comes out of it.

use std::net::IpAddr;
use std::sync::Arc;

use mail_types::{Domain, Envelope, QueueId, Timestamp, TlsFacts, header_fields};
use smtp_proto::BareNewline;
use smtp_proto::server::{
    Action, AuthAnswer, AuthRequest, ClaimedClient, ClientCertificate, Logins, Peer, Relaying,
    Session, Settings, TlsMode, TlsRequiredNo,
};

/// How a session stands, and what came of it.
pub(super) struct Driven {
    pub(super) session: Session,
    /// Senders, recipients and contents of what was accepted.
    pub(super) messages: Vec<(Envelope, Vec<u8>)>,
    /// What XCLIENT said.
    pub(super) claims: Vec<ClaimedClient>,
    /// All replies.
    pub(super) output: Vec<u8>,
}

/// Who answers AUTH.
pub(super) type Authority<'a> = &'a mut dyn FnMut(&mut Session, AuthRequest);

/// A trusted peer: every extension is there.
pub(super) fn peer(rule: BareNewline) -> Peer {
    Peer {
        address: IpAddr::from([192, 0, 2, 1]),
        relaying: Relaying::Allowed,
        plaintext: false,
        xclient: true,
        xforward: true,
        adds_requiretls: false,
        bare_newline: rule,
    }
}

/// A session in clear, or inside TLS with a certificate that is nobody's and all mechanisms.
pub(super) fn session(peer: Peer, inside_tls: bool) -> Session {
    let mut settings = Settings::new(Domain::parse("relay.test").unwrap(), "fuzz");
    settings.dangerous_tls_required_no = TlsRequiredNo::All;
    if inside_tls {
        settings.tls = TlsMode::Implicit;
        settings.logins = Logins {
            passwords: true,
            login: true,
            certificates: true,
        };
    }
    let mut session = Session::new(Arc::new(settings), peer);
    if inside_tls {
        session.tls_started(TlsFacts {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
        });
        session.tls_client(ClientCertificate::Unknown, Some(EXPORTER));
    }
    session.greet(b"");
    session
}

/// Feeds the session, at most so many octets with each read, until it ends or wants more.
pub(super) fn drive(
    session: Session,
    input: &[u8],
    step: usize,
    authority: Authority<'_>,
) -> Driven {
    let mut driven = Driven {
        session,
        messages: Vec::new(),
        claims: Vec::new(),
        output: Vec::new(),
    };
    let (mut at, mut read, mut content) = (0, 0, Vec::new());
    loop {
        let session = &mut driven.session;
        let (used, action) = session.handle(&input[at..read], NOW);
        at += used;
        match action {
            Action::Read if read == input.len() => break,
            Action::Read => {
                driven.output.extend_from_slice(&session.output().split());
                read = (read + step).min(input.len());
            }
            Action::Admit { .. } => session.admitted(Ok(())),
            Action::CheckRecipient => session.recipient_checked(Ok(())),
            Action::Xclient(claim) => {
                driven.claims.push(*claim);
                session.impersonated(None, None);
            }
            Action::Authenticate => {
                let request = session.take_auth_request().expect("there is a question");
                authority(session, request);
            }
            Action::Begin { .. } => {
                content.clear();
                if let Some(trace) = session.begun(Ok(QueueId::from_raw(1)), NOW) {
                    trace_field(&trace);
                }
            }
            Action::Body(octets) => content.extend_from_slice(octets),
            Action::Abandon => content.clear(),
            Action::Commit(envelope) => {
                super::whole_lines(&content);
                no_end_without_nul(&content);
                wants_no_tls(&envelope, &content);
                driven
                    .messages
                    .push((*envelope, std::mem::take(&mut content)));
                session.committed(Ok(QueueId::from_raw(1)));
            }
            Action::StartTls | Action::Close => break,
        }
        session.take_notices().for_each(drop);
    }
    driven
        .output
        .extend_from_slice(&driven.session.output().split());
    replies(&driven.output);
    driven
}

/// Nobody may log in.
pub(super) fn nobody(session: &mut Session, _: AuthRequest) {
    session.authenticated(AuthAnswer::Rejected);
}

/// No line is a lone dot to those who drop NUL; a dot in front is sent twice.
fn no_end_without_nul(content: &[u8]) {
    for line in content.split(|b| *b == b'\n') {
        let left = line.iter().filter(|b| !matches!(b, 0 | b'\r'));
        let is_dot = left.eq([b'.'].iter());
        assert!(!is_dot || line.starts_with(b"."), "{}", line.escape_ascii());
    }
}

/// The session reads the header as it streams by; whoever reads it as a whole finds the same.
fn wants_no_tls(envelope: &Envelope, content: &[u8]) {
    let (fields, _) = header_fields(content);
    if fields.iter().any(|field| field.raw().len() > 4096) {
        return; // So much of a field is looked at.
    }
    let mut said = fields.iter().filter(|field| field.is("TLS-Required"));
    let only = said.next().filter(|_| said.next().is_none());
    let is_no = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"no");
    let want = only.is_some_and(|field| is_no(field.value())) && !envelope.requiretls;
    assert_eq!(envelope.tls_required_no, want, "{}", content.escape_ascii());
}

/// One header field, with nothing in it that a client could have put there to begin another.
fn trace_field(trace: &str) {
    super::whole_lines(trace.as_bytes());
    assert!(
        trace.starts_with("Received: ") && trace.ends_with("\r\n"),
        "{trace:?}"
    );
    for (n, line) in trace.split_terminator("\r\n").enumerate() {
        assert!(n == 0 || line.starts_with([' ', '\t']), "{trace:?}");
        assert!(line.len() <= 998 && !line.trim().is_empty(), "{trace:?}");
        assert!(
            !line.chars().any(|c| c.is_control() && c != '\t'),
            "{trace:?}"
        );
    }
}

/// Whole lines, each with a code, of bounded length, without control characters.
fn replies(output: &[u8]) {
    assert!(output.is_empty() || output.ends_with(b"\r\n"));
    for line in output.split_inclusive(|b| *b == b'\n') {
        let shown = line.escape_ascii();
        // RFC 5321 section 4.5.3.1.5; a challenge of SASL may be longer (RFC 4954 section 4).
        assert!(line.len() <= 512 || line.starts_with(b"334 "), "{shown}");
        assert!(line.len() >= 6 && line.ends_with(b"\r\n"), "{shown}");
        assert!(line[..3].iter().all(u8::is_ascii_digit), "{shown}");
        assert!(matches!(line[3], b' ' | b'-'), "{shown}");
        let text = &line[..line.len() - 2];
        assert!(!text.iter().any(u8::is_ascii_control), "{shown}");
    }
}

pub(super) const EXPORTER: [u8; 32] = [7; 32];
const NOW: Timestamp = Timestamp::from_secs(1_772_366_400);
