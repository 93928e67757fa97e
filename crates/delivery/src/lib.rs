//! Delivery: from a due message to its outcome. Joins queue, policies, resolver and client.
//!
//! What is decided stands in pure modules: what demands add up to ([`demand`]), what DNS says about
//! a domain ([`plan`]), where mail is routed (crate `routes`), what failures amount to ([`failure`]), when
//! a destination is left alone ([`destination`]). The rest carries it out: [`Delivery::offer`] takes
//! fresh mail straight from the listener, [`Delivery::run`] takes what becomes due, a worker per
//! session walks the hosts, and the books of each attempt are kept in one place.
//!
//! **Invariant:** the requirement of each message is held against host and session again before
//! every `MAIL FROM`; neither the pool nor the client decides what is secure enough.

mod at_work;
mod blame;
mod books;
mod concession;
mod content;
pub mod demand;
pub mod destination;
mod dice;
mod ending;
mod engine;
pub mod failure;
mod findings;
mod in_hand;
mod lane;
mod lanes;
mod learn;
mod lingering;
mod noted;
mod notify;
mod orcpt;
mod orders;
pub mod plan;
mod planner;
mod poison;
mod policy;
mod ports;
mod recalled;
mod replies;
mod seal;
mod sessions;
mod settings;
mod silent;
pub mod standing;
mod steps;
mod suspended;
mod tools;
mod traced;
mod transcripts;
mod undeliverable;
mod unknown;
mod upkeep;
mod verdict;
mod views;
mod work;
mod worker;

pub use dice::Dice;
pub use dsn::{NoticeSettings, NoticeSummary, Rate, Withheld};
pub use engine::{Delivery, Parts, Which};
pub use in_hand::InHand;
pub use pauses::{DamagedPause, Pause, PauseError, Paused};
pub use planner::{Hosts, Plan};
pub use ports::{NoticeWithheld, Observer, PossibleDuplicate, SessionEvent, TracedPart};
pub use seal::Seal;
pub use settings::{DomainRule, Settings};
pub use steps::{Look, Steps, Story, Visit};
pub use transcripts::Dialogue;
pub use views::LaneView;
