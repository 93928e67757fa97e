//! An open session that carries transactions.

use smtp_proto::{RecipientOutcome, Transaction};

use crate::{Body, PoolKey, SessionFacts, TransactionError, Transcript};

/// An open session.
pub struct Connection {
    facts: SessionFacts,
    key: PoolKey,
    transcript: Transcript,
}

impl Connection {
    /// What is known of the session.
    #[must_use]
    pub const fn facts(&self) -> &SessionFacts {
        &self.facts
    }

    /// What this connection may be reused for.
    #[must_use]
    pub const fn key(&self) -> &PoolKey {
        &self.key
    }

    /// The dialogue so far.
    #[must_use]
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Messages accepted or refused on this connection.
    #[must_use]
    pub const fn transactions(&self) -> u32 {
        0
    }

    /// Whether another transaction may be tried on it.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        false
    }

    /// Carries out one transaction. The outcomes are in the order of the recipients.
    ///
    /// # Errors
    /// It did not come to its end; after anything but [`crate::Cause::Missing`] the connection is
    /// not usable any more.
    pub async fn transact(
        &mut self,
        transaction: &Transaction<'_>,
        body: Body,
    ) -> Result<Vec<RecipientOutcome>, TransactionError> {
        let _ = (transaction, body);
        unimplemented!()
    }

    /// Says QUIT, waits a short while for the reply, closes.
    pub async fn quit(self) {
        unimplemented!()
    }
}
