//! The users of the listeners: their file, the judging of passwords, and what holds off those who
//! guess.
//!
//! On disk there is `access.users-file`, one line for each user ([`UsersFile`]), with an Argon2id
//! hash and the keys of SCRAM-SHA-256; never a password. `sealpost user` changes it ([`add`], [`remove`]),
//! the daemon reads it at its start and at each reload. [`Directory`] answers logins: Argon2 runs
//! on threads of its own, few at a time, with a short queue; failures are counted by address, by
//! user and by both ([`Throttle`]), in bounded memory. Whether a user exists shows neither in a
//! reply nor in its time: an unknown one costs the same work, and has a SCRAM salt that stays the
//! same.
//!
//! Deliberately absent: plain passwords on disk, a user's password in any log, accounts that are
//! locked for everybody because somebody guesses.

mod blocks;
mod directory;
mod edit;
mod file;
mod judging;
mod known;
mod prepared;
mod recent;
mod secret;
mod throttle;
mod verifier;

pub use directory::{Attempt, Directory, Verdict};
pub use edit::{EditError, add, remove};
pub use file::{FileError, User, UsersFile};
pub use prepared::{Name, NameError, Password, PasswordError};
pub use secret::{SECRET, Secret, SecretError};
pub use throttle::{Admission, Throttle};
pub use verifier::Verifier;
