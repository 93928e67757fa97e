//! The octets of a session: one socket, in clear or inside TLS, with time limits.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use smtp_proto::{Reply, ReplyLimits, ReplyParser, WireQueue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use crate::error::ProtocolFault;
use crate::handshake::alert;
use crate::timer::Timer;
use crate::{Cause, HandshakeFault, SocketFault, Transcript};

/// One socket with what was read and what is to be written.
pub(crate) struct Wire {
    io: Io,
    inbox: BytesMut,
    parser: ReplyParser,
    outbox: WireQueue,
    transcript: Transcript,
    /// Nothing takes longer than this.
    deadline: Option<Instant>,
    /// What the timer grants once more after the deadline: until then for all that comes, and not for each step.
    moment: Option<Instant>,
    /// `None` while something is waited for.
    timer: Option<Timer>,
    /// Inside TLS, and nothing was heard there yet.
    fresh: bool,
    /// The peer ended the TLS session with this.
    alert: Option<HandshakeFault>,
}

/// A limit for one step, or what is left of that for all.
struct Limit {
    within: Duration,
    until: Instant,
    is_deadline: bool,
    moment: Option<Instant>,
    timer: Timer,
}

impl Limit {
    /// What comes of the work, if that is in time.
    async fn hold<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        self.timer.shared(self.until, &mut self.moment, work).await
    }
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What came though nothing was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// Nothing: as it should be.
    Nothing,
    /// Octets.
    Octets,
    /// The end of the connection.
    End,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream, limits: ReplyLimits, transcript: Transcript) -> Self {
        Self {
            io: Io::Plain(tcp),
            inbox: BytesMut::with_capacity(READ),
            parser: ReplyParser::new(limits),
            outbox: WireQueue::new(),
            transcript,
            deadline: None,
            moment: None,
            timer: None,
            fresh: false,
            alert: None,
        }
    }

    /// The bare socket, to shake hands on; what was read in clear must be empty by now.
    pub(crate) fn into_tcp(self) -> Option<(TcpStream, Transcript)> {
        match self.io {
            Io::Plain(tcp) => Some((tcp, self.transcript)),
            Io::Tls(_) => None,
        }
    }

    pub(crate) fn over_tls(
        stream: TlsStream<TcpStream>,
        limits: ReplyLimits,
        transcript: Transcript,
    ) -> Self {
        Self {
            io: Io::Tls(Box::new(stream)),
            inbox: BytesMut::with_capacity(READ),
            parser: ReplyParser::new(limits),
            outbox: WireQueue::new(),
            transcript,
            deadline: None,
            moment: None,
            timer: None,
            fresh: true,
            alert: None,
        }
    }

    pub(crate) const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    pub(crate) const fn transcript_mut(&mut self) -> &mut Transcript {
        &mut self.transcript
    }

    pub(crate) const fn outbox(&mut self) -> &mut WireQueue {
        &mut self.outbox
    }

    /// Queues commands and notes them in the transcript.
    pub(crate) fn command(&mut self, lines: &[u8]) {
        self.transcript.sent_lines(lines);
        self.outbox.extend_from_slice(lines);
    }

    /// Writes what no transcript may show, and reads the reply, which is not shown either.
    pub(crate) async fn confide(
        &mut self,
        octets: &[u8],
        shown: &str,
        limit: Duration,
    ) -> Result<Reply, Cause> {
        match self.unasked() {
            Unasked::Nothing => {}
            Unasked::Octets => return Err(self.explain_unasked()),
            Unasked::End => return Err(self.ended()),
        }
        self.transcript.sent(shown);
        self.outbox.extend_from_slice(octets);
        self.flush(limit).await?;
        let mut limit = self.limit(limit);
        let reply = limit.hold(self.parse_reply()).await;
        let within = self.take_back(limit);
        reply.unwrap_or(Err(Cause::Timeout(within)))
    }

    /// A limit for everything from now on; `None` lifts it.
    pub(crate) const fn set_deadline(&mut self, deadline: Option<Instant>) {
        (self.deadline, self.moment) = (deadline, None);
    }

    /// More or less of an EHLO reply is kept than of others.
    pub(crate) const fn set_kept(&mut self, octets: usize) {
        self.parser.set_kept(octets);
    }

    /// Reads one reply. `limit` is for all of it, however it trickles in.
    pub(crate) async fn read_reply(&mut self, limit: Duration) -> Result<Reply, Cause> {
        let mut limit = self.limit(limit);
        let reply = limit.hold(self.next_reply()).await;
        let within = self.take_back(limit);
        reply.unwrap_or(Err(Cause::Timeout(within)))
    }

    async fn next_reply(&mut self) -> Result<Reply, Cause> {
        let reply = self.parse_reply().await?;
        self.transcript.received(&reply);
        Ok(reply)
    }

    async fn parse_reply(&mut self) -> Result<Reply, Cause> {
        loop {
            let parsed = self.parser.next(&mut self.inbox);
            if let Some(reply) = parsed.map_err(|e| Cause::Protocol(e.into()))? {
                return Ok(reply);
            }
            match poll_fn(|cx| self.poll_fill(cx)).await {
                Ok(0) => return Err(self.ended()),
                Ok(_) => {}
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// Writes all that is queued; `limit` is for each block of 64 KiB (row E2-17), which is the
    /// floor under a peer's speed. Replies that come meanwhile are taken in, so that a peer that
    /// stops reading until it is heard cannot block both sides (row E2-26).
    pub(crate) async fn flush(&mut self, limit: Duration) -> Result<(), Cause> {
        loop {
            let mut limit = self.limit(limit);
            let enough = self.outbox.remaining().saturating_sub(BLOCK);
            let flushed = poll_fn(|cx| self.poll_flush(cx, enough));
            let written = limit.hold(flushed).await;
            let within = self.take_back(limit);
            match written {
                Some(Ok(())) if self.outbox.has_remaining() => {}
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => {
                    if self.fresh {
                        // Writing may fail before the alert that explains it was read.
                        let heard = poll_fn(|cx| self.poll_fill(cx));
                        let _ = timeout_at(Instant::now() + LAST_WORDS, heard).await;
                    }
                    return Err(self.lost(error));
                }
                None => return Err(Cause::Timeout(within)),
            }
        }
    }

    /// What came though nothing was asked; does not wait. Octets that are there stay unread.
    pub(crate) fn unasked(&mut self) -> Unasked {
        if !self.inbox.is_empty() || self.parser.is_midway() {
            return Unasked::Octets;
        }
        let mut cx = Context::from_waker(Waker::noop());
        match self.poll_fill(&mut cx) {
            Poll::Pending => Unasked::Nothing,
            Poll::Ready(Ok(0) | Err(_)) => Unasked::End,
            Poll::Ready(Ok(_)) => Unasked::Octets,
        }
    }

    /// What octets that nothing asked for mean: a 421 says that the peer goes away.
    pub(crate) fn explain_unasked(&mut self) -> Cause {
        match self.parser.next(&mut self.inbox) {
            Ok(Some(reply)) if reply.code() == 421 => {
                self.transcript.received(&reply);
                Cause::Remote(reply)
            }
            Ok(_) => Cause::Protocol(ProtocolFault::Desync),
            Err(error) => Cause::Protocol(error.into()),
        }
    }

    /// QUIT, and a short wait for its reply; then close, with close_notify inside TLS.
    pub(crate) async fn quit(&mut self, limit: Duration) {
        self.set_deadline(None);
        self.outbox.clear();
        self.command(b"QUIT\r\n");
        let until = Instant::now() + limit;
        // Nothing depends on how this goes (row E2-14).
        let polite = async {
            self.flush(limit).await?;
            self.read_reply(limit).await
        };
        let _ = timeout_at(until, polite).await;
        self.close(limit).await;
    }

    /// Closes without a word; inside TLS with close_notify.
    pub(crate) async fn close(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        let _ = timeout_at(
            until,
            poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)),
        )
        .await;
    }

    /// How long something may take, with the timer for it.
    fn limit(&mut self, limit: Duration) -> Limit {
        let now = Instant::now();
        let left = self.deadline.map(|end| end.saturating_duration_since(now));
        let of_deadline = left.filter(|left| *left < limit);
        let within = of_deadline.unwrap_or(limit);
        Limit {
            within,
            until: now + within,
            is_deadline: of_deadline.is_some(),
            moment: self.moment.filter(|_| of_deadline.is_some()),
            timer: self.timer.take().unwrap_or_default(),
        }
    }

    /// Keeps the timer for what comes next; answers how long that took at most.
    fn take_back(&mut self, limit: Limit) -> Duration {
        self.moment = limit.moment.filter(|_| limit.is_deadline).or(self.moment);
        self.timer = Some(limit.timer);
        limit.within
    }

    /// The peer has closed the connection.
    pub(crate) fn ended(&mut self) -> Cause {
        self.lost(closed())
    }

    /// An alert as the first thing inside TLS belongs to the handshake: in TLS 1.3 it is over for us before
    /// the host has looked at what it wants of us (RFC 8446 section 4.4.2.4, `certificate_required`).
    fn lost(&mut self, error: io::Error) -> Cause {
        match self.alert.take() {
            Some(fault) if self.fresh => Cause::Handshake(fault),
            Some(fault) => Cause::Lost(SocketFault {
                kind: error.kind(),
                text: fault.to_string().into(),
            }),
            None => Cause::Lost(error.into()),
        }
    }

    /// Ready when at most `enough` octets are left; if that is none, when they are flushed too.
    fn poll_flush(&mut self, cx: &mut Context<'_>, enough: usize) -> Poll<io::Result<()>> {
        loop {
            if !self.outbox.has_remaining() {
                return match Pin::new(&mut self.io).poll_flush(cx) {
                    Poll::Pending => self.poll_listen(cx),
                    done @ Poll::Ready(_) => done,
                };
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => {
                    let left = self.outbox.remaining();
                    if left > 0 && left <= enough {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_listen(cx),
            }
        }
    }

    /// Takes in what comes while we wait to write; ready only if the peer is gone.
    fn poll_listen(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.inbox.len() < INBOX_WHILE_WRITING {
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(closed()));
            }
        }
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let n = self.outbox.chunks_vectored(&mut slices);
        let slices = slices.get(..n).unwrap_or_default();
        match ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            n => {
                self.outbox.advance(n);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inbox.reserve(READ);
        let mut room = (&mut self.inbox).limit(READ);
        // Holds nothing between polls.
        let read = ready!(pin!(self.io.read_buf(&mut room)).poll(cx));
        match &read {
            Ok(0) => {}
            Ok(_) => self.fresh = false,
            Err(error) => self.alert = alert(error),
        }
        Poll::Ready(read)
    }
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the host closed the connection",
    )
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

const READ: usize = 4_096;
const BLOCK: usize = 64 * 1024;
/// Replies that are taken in while we write: more than this and the peer is not answering us.
const INBOX_WHILE_WRITING: usize = 1 << 20;
const SLICES: usize = 16;
const LAST_WORDS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn e2_17_after_the_deadline_no_step_has_more_time_than_the_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap());
        let (tcp, _peer) = (tcp.await.unwrap(), listener.accept().await.unwrap());
        let mut wire = Wire::new(tcp, ReplyLimits::default(), Transcript::default());
        wire.set_deadline(Some(Instant::now()));
        let limit = Duration::from_secs(300);
        let mut took = Vec::new();
        for _ in 0..3 {
            let began = Instant::now();
            let reply = wire.read_reply(limit).await;
            assert!(matches!(reply, Err(Cause::Timeout(_))), "{reply:?}");
            took.push(began.elapsed().as_secs());
        }
        assert_eq!(took, [1, 0, 0]);
        // The next deadline has its own.
        wire.set_deadline(Some(Instant::now()));
        let began = Instant::now();
        assert!(wire.read_reply(limit).await.is_err());
        assert_eq!(began.elapsed().as_secs(), 1);
    }
}
