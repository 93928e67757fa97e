//! The form in which a message is stored: as it came, or mended and signed on its way in.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mail_types::Envelope;
use outbound_queue::Incoming;
use settings::Settings;
use smtp_server::{Origin, Refusal, Role};
use submission::{Composed, Composer, Fixups, Rejection};

use super::intake::refusal;
use super::signing::Signing;

/// What the listeners do to messages.
pub(crate) struct Forms {
    pub(crate) signing: Signing,
    /// By the names of the submission listeners.
    fixups: HashMap<Box<str>, Arc<Fixups>>,
}

/// What is done to one message.
pub(crate) enum Form {
    /// Nothing: the relay listener's promise (row G4-05).
    AsItCame,
    /// The trace header is still to come.
    Awaiting(Box<(Option<Arc<Fixups>>, Signing, submission::Origin)>),
    /// Mended, signed, or both.
    Composed(Box<Composer>),
}

impl Forms {
    pub(crate) fn new(s: &Settings, signing: Signing) -> Self {
        let fixups = s.listeners.iter().map(|l| {
            let fixups = Fixups {
                hostname: s.server.hostname.clone(),
                require_from: l.content.require_from,
                add_sender: l.content.add_sender,
            };
            (l.name.as_str().into(), Arc::new(fixups))
        });
        Self {
            signing,
            fixups: fixups.collect(),
        }
    }

    pub(crate) fn of(&self, origin: &Origin<'_>, id: mail_types::QueueId) -> Form {
        let fixups = match origin.role {
            Role::Relay => None,
            Role::Submission => self.fixups.get(origin.listener).cloned(),
        };
        let submitted = fixups.is_some();
        if !submitted && !self.signing.load().concern(false, origin.client) {
            return Form::AsItCame;
        }
        let origin = submission::Origin {
            submitted,
            client: origin.client,
            identity: origin.identity.map(Into::into),
            senders: origin.senders.cloned().unwrap_or_default(),
            sender: origin.sender.clone(),
            id,
            at: origin.at,
        };
        Form::Awaiting(Box::new((fixups, Arc::clone(&self.signing), origin)))
    }
}

impl Form {
    /// Octets that came and are not with the queue yet.
    pub(crate) fn held(&self) -> u64 {
        match self {
            Self::AsItCame | Self::Awaiting(_) => 0,
            Self::Composed(composer) => composer.held() as u64,
        }
    }

    /// The next octets, the trace header first.
    pub(crate) async fn write<I: Incoming>(
        &mut self,
        chunk: &[u8],
        to: &mut I,
    ) -> Result<(), Refusal> {
        match self {
            Self::AsItCame => to.write(chunk).await.map_err(|e| refusal(&e)),
            Self::Awaiting(intended) => {
                let (fixups, signing, origin) = &**intended;
                let composer =
                    Composer::new(fixups.clone(), signing.load_full(), origin.clone(), chunk);
                match composer {
                    Some(composer) => *self = Self::Composed(Box::new(composer)),
                    // The rules changed a moment ago.
                    None => {
                        *self = Self::AsItCame;
                        to.write(chunk).await.map_err(|e| refusal(&e))?;
                    }
                }
                Ok(())
            }
            Self::Composed(composer) => {
                let composed = composer.feed(chunk).map_err(rejected)?;
                store(composed, to).await
            }
        }
    }

    /// All octets came: makes the signatures and says in the envelope what changed.
    pub(crate) async fn seal<I: Incoming>(
        &mut self,
        envelope: &mut Envelope,
        to: &mut I,
    ) -> Result<(), Refusal> {
        let Self::Composed(mut composer) = std::mem::replace(self, Self::AsItCame) else {
            return Ok(());
        };
        store(composer.end().map_err(rejected)?, to).await?;
        if let Some(message_id) = composer.take_message_id() {
            envelope.arrival.message_id = Some(message_id);
        }
        if composer.signs() {
            // An RSA signature takes a millisecond and more: not on the reactor's threads.
            let made = tokio::task::spawn_blocking(move || composer.sign()).await;
            match made {
                Ok(Ok(top)) => to.fill(Bytes::from(top)),
                Ok(Err(error)) => return Err(unsigned(&error)),
                Err(error) => return Err(unsigned(&error)),
            }
        }
        envelope.size = to.size();
        Ok(())
    }
}

async fn store<I: Incoming>(composed: Composed<'_>, to: &mut I) -> Result<(), Refusal> {
    match composed {
        Composed::Nothing => Ok(()),
        Composed::Start { reserve, octets } => {
            if reserve > 0 {
                to.reserve(reserve);
            }
            to.write(&octets).await.map_err(|e| refusal(&e))
        }
        Composed::Body(octets) => to.write(octets).await.map_err(|e| refusal(&e)),
    }
}

/// What is to be signed is never sent unsigned: the client keeps the mail.
fn unsigned(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "mail that is to be signed could not be");
    Refusal::local_error()
}

fn rejected(rejection: Rejection) -> Refusal {
    let text = rejection.to_string();
    match rejection {
        // Row G4-04.
        Rejection::NoFrom | Rejection::SeveralFrom | Rejection::EmptyFrom => {
            Refusal::permanent(550, 6, 0, text)
        }
        Rejection::SignedSender | Rejection::OtherAuthor => Refusal::permanent(550, 7, 1, text),
        Rejection::HeaderTooLarge => Refusal::permanent(552, 3, 4, text),
    }
}
