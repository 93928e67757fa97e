//! Reports by mail: signed, and put into our own queue.

use std::sync::Arc;

use arc_swap::ArcSwap;
use dkim::{BodyHash, SignError, Signer};
use mail_types::{
    Arrival, BoxFuture, Envelope, Mailbox, MessageClass, Notify, Recipient, ReversePath, Timestamp,
    header_fields,
};
use outbound_queue::{Incoming as _, Now, QueueStore};
use tls_reports::{BoxError, Mail};

/// Who signs reports; a reload replaces them.
pub type Signers = Arc<ArcSwap<Vec<Signer>>>;

/// The queue, for reports.
pub struct QueueMail<S> {
    /// Our own queue.
    pub queue: Arc<S>,
    /// Each of them signs (row B4-11).
    pub signers: Signers,
    /// The time that queue and engine have.
    pub now: Arc<dyn Fn() -> Now + Send + Sync>,
}

impl<S: QueueStore> Mail for QueueMail<S> {
    fn submit<'a>(
        &'a self,
        from: &'a Mailbox,
        to: &'a Mailbox,
        message: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let now = (self.now)();
            let signers = self.signers.load_full();
            if signers.is_empty() {
                // Unsigned reports never leave (row B4-14).
                return Err("there is no key to sign it with".into());
            }
            let envelope = envelope(from, to, &message, now.wall);
            let message = signed(&signers, message, now.wall)?;
            let size = message.len() as u64;
            let mut incoming = self.queue.begin(Some(size), now)?;
            incoming.write(&message).await?;
            let envelope = Envelope { size, ..envelope };
            incoming.commit(envelope, false, now).await?;
            Ok(())
        })
    }
}

/// Nobody is told what becomes of a report but this relay (rows B4-18, B4-19): bounces of others go to the contact.
fn envelope(from: &Mailbox, to: &Mailbox, message: &[u8], now: Timestamp) -> Envelope {
    let (fields, _) = header_fields(message);
    let id = fields.iter().find(|field| field.is("Message-ID"));
    let id = id.map(|id| String::from_utf8_lossy(id.value()).trim().to_owned());
    Envelope {
        reverse_path: ReversePath::Mailbox(from.clone()),
        recipients: vec![Recipient {
            mailbox: to.clone(),
            notify: Notify::Never,
            orcpt: None,
        }],
        class: MessageClass::Report,
        arrival: Arrival {
            at: now,
            began: now,
            message_id: id.map(String::into_boxed_str),
            ..Arrival::default()
        },
        ..Envelope::default()
    }
}

fn signed(signers: &[Signer], message: Vec<u8>, now: Timestamp) -> Result<Vec<u8>, SignError> {
    let (fields, rest) = header_fields(&message);
    let mut signed = Vec::new();
    for signer in signers {
        let mut hash = BodyHash::new();
        hash.update(rest.strip_prefix(b"\r\n").unwrap_or(rest));
        let field = signer.begin(&fields, now).finish(hash.finish())?;
        signed.extend_from_slice(field.as_bytes());
    }
    signed.extend_from_slice(&message);
    Ok(signed)
}
