//! Delivery: from a due message to its outcome. Joins queue, policies, resolver and client.
//!
//! The folders:
//!
//! | folder | holds |
//! |---|---|
//! | [`decide`] | what is decided, as values of values: what demands add up to ([`decide::demand`]), what DNS says about a domain ([`decide::hosts`]), what failures amount to ([`decide::failure`]), when a destination is left alone ([`decide::destination`]) |
//! | `planner` | the look-ups of a destination's plan |
//! | `engine` | what each destination has in memory, what is due to whom, and what attempts mean for the next ones; [`Delivery::offer`] takes fresh mail straight from the listener, [`Delivery::run`] takes what becomes due |
//! | `worker` | one session's worth of deliveries: walks the hosts of a plan, and says what was found |
//! | `books` | what is told of an attempt: record, history, notifications, whom to blame |
//!
//! Where mail is routed is the crate `routes`.
//!
//! **Invariant:** the requirement of each message is held against host and session again before
//! every `MAIL FROM`; neither the pool nor the client decides what is secure enough.

mod books;
pub mod decide;
mod engine;
mod planner;
mod ports;
mod settings;
mod worker;

pub use books::seal::Seal;
pub use decide::plan::{Hosts, Plan};
pub use dsn::{NoticeSettings, NoticeSummary, Rate, Withheld};
pub use engine::dice::Dice;
pub use engine::in_hand::InHand;
pub use engine::views::LaneView;
pub use engine::{Delivery, Parts, Which};
pub use pauses::{DamagedPause, Pause, PauseError, Paused};

pub use ports::{NoticeWithheld, Observer, PossibleDuplicate, SessionEvent, TracedPart};
pub use settings::{DomainRule, Settings};
pub use worker::steps::{Look, Steps, Story, Visit};
pub use worker::transcripts::Dialogue;
