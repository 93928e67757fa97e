//! A forwarder that takes DNSSEC away on request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Passes questions on over UDP, without the DO bit while it strips: so come no signatures back.
pub struct Stripper {
    strips: Arc<AtomicBool>,
    dropped: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Stripper {
    /// Listens at `address`, asks `upstream`, and strips nothing yet.
    ///
    /// # Panics
    /// If it cannot listen there.
    pub async fn start(address: &str, upstream: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).await.expect("a free port");
        let strips = Arc::new(AtomicBool::new(false));
        let dropped = Arc::new(AtomicU16::new(0));
        let (told, unanswered) = (Arc::clone(&strips), Arc::clone(&dropped));
        let task = tokio::spawn(async move {
            let socket = Arc::new(socket);
            let mut buffer = vec![0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let mut question = buffer[..length].to_vec();
                if told.load(Ordering::SeqCst) {
                    clear_do(&mut question);
                }
                if kind(&question) == unanswered.load(Ordering::SeqCst) {
                    continue;
                }
                let home = Arc::clone(&socket);
                tokio::spawn(async move {
                    let _ = pass_on(&question, upstream, &home, client).await;
                });
            }
        });
        Self {
            strips,
            dropped,
            task,
        }
    }

    /// Gives no answer to questions of this type any more; 0 ends that.
    pub fn drop_type(&self, kind: u16) {
        self.dropped.store(kind, Ordering::SeqCst);
    }

    /// Begins or ends to strip.
    pub fn strip(&self, on: bool) {
        self.strips.store(on, Ordering::SeqCst);
    }
}

impl Drop for Stripper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(
    question: &[u8],
    upstream: SocketAddr,
    home: &UdpSocket,
    client: SocketAddr,
) -> std::io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(upstream).await?;
    socket.send(question).await?;
    let mut reply = vec![0; 4096];
    let length = socket.recv(&mut reply).await?;
    home.send_to(&reply[..length], client).await?;
    Ok(())
}

/// The type that is asked for; 0 if it is no question.
fn kind(question: &[u8]) -> u16 {
    let end = end_of_name(question);
    match question.get(end..end + 2) {
        Some(kind) => u16::from_be_bytes([kind[0], kind[1]]),
        None => 0,
    }
}

/// Behind type and class stands the OPT record: name 0, type 41, size, then extended code, version
/// and flags, of which DO is the first (RFC 6891 section 6.1.2).
fn clear_do(question: &mut [u8]) {
    let opt = end_of_name(question) + 4;
    if question.get(opt..opt + 3) == Some(&[0, 0, 41]) {
        question[opt + 7] &= 0x7f;
    }
}

fn end_of_name(question: &[u8]) -> usize {
    let mut at = 12;
    while let Some(length) = question.get(at) {
        at += 1 + usize::from(*length);
        if *length == 0 {
            break;
        }
    }
    at
}
