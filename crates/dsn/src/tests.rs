//! Whole notifications, read by a strict little MIME parser.

mod golden;
mod injection;
mod mime;
mod rows;
