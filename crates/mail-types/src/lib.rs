//! The words that all crates share: domain names, mailboxes, envelopes, queue ids, DNS answers, times of
//! attempts.
//!
//! Each type is parsed once and then keeps its promise: a [`Domain`] is always in A-label normal
//! form, a [`Mailbox`] always has a valid local part and host. Nothing here does I/O or reads a
//! clock; the [`Resolver`] trait is the port through which names are looked up.

mod addresses;
mod clean;
mod dns;
mod domain;
mod envelope;
mod header;
mod lack;
mod mailbox;
mod orig_client;
mod queue_id;
mod retry;
mod senders;
mod special_use;
mod status;
mod timestamp;
pub mod xtext;

pub use addresses::Addresses;
pub use clean::{Clean, harmless, is_plain_text, write_clean};
pub use dns::{Answer, BoxFuture, DnsError, MxRecord, Resolver, Security, TlsaRecord};
pub use domain::{Domain, DomainError, HostName};
pub use envelope::{
    Arrival, BodyType, Envelope, MessageClass, Notify, Recipient, Ret, ReversePath, Submitter,
    TlsFacts,
};
pub use header::{Field, header_fields};
pub use lack::socket_lack;
pub use mailbox::{Host, Mailbox, MailboxError};
pub use orig_client::OrigClient;
pub use queue_id::{QueueId, QueueIdError};
pub use retry::RetrySchedule;
pub use senders::{SenderPattern, Senders};
pub use special_use::{AddressClass, unwrapped};
pub use status::{EnhancedStatus, StatusClass, StatusError};
pub use timestamp::Timestamp;
