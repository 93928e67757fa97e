//! The last thing done to a notification before it is queued: a signature, for instance.

use std::fmt;
use std::sync::Arc;

use mail_types::Timestamp;

/// Gives a message of our own its final form. The default leaves it as it is.
#[derive(Clone, Default)]
pub struct Seal(Option<Arc<Make>>);

type Make = dyn Fn(Vec<u8>, Timestamp) -> Vec<u8> + Send + Sync;

impl Seal {
    /// By this function: the message and the time, to the message as it is sent.
    pub fn new(make: impl Fn(Vec<u8>, Timestamp) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(make)))
    }

    pub(crate) fn apply(&self, message: Vec<u8>, now: Timestamp) -> Vec<u8> {
        match &self.0 {
            Some(make) => make(message, now),
            None => message,
        }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seal").field(&self.0.is_some()).finish()
    }
}
