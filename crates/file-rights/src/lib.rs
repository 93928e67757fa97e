//! Why a file cannot be read or made, by this user or the server's, and what mends it: the words that
//! start, reload, `check-config` and the commands that make files say it in.

mod new_file;
mod readable;
mod server_user;
mod unit;

pub use new_file::cannot_create;
pub use readable::{Fault, read_failed, readable};
pub use server_user::{ServerUser, Trouble};
