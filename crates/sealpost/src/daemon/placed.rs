//! Where the queue files mail and when it gives it up, by the settings in force.

use arc_swap::ArcSwap;
use mail_types::{Envelope, Recipient, Timestamp};
use outbound_queue::{Destination, Placement};

/// The settings of delivery as the queue sees them; replaced by a reload.
pub(crate) struct Placed(ArcSwap<delivery::Settings>);

impl Placed {
    pub(crate) fn new(settings: delivery::Settings) -> Self {
        Self(ArcSwap::from_pointee(settings))
    }

    pub(crate) fn replace(&self, settings: delivery::Settings) {
        self.0.store(settings.into());
    }
}

impl Placement for Placed {
    fn destination(&self, envelope: &Envelope, recipient: &Recipient) -> Destination {
        self.0.load().destination(envelope, recipient)
    }

    fn expires(&self, envelope: &Envelope) -> Timestamp {
        Placement::expires(&**self.0.load(), envelope)
    }
}
