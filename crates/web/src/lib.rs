//! The web page, and the API over HTTP.
//!
//! What is served is one router: the API of the crate `admin` with what is added here ([`api_routes`]:
//! history, live events, domain checks, reasons), the same for the control socket and for
//! `admin.http`. Over HTTP it stands behind [`Access`], which answers in this order:
//!
//! 1. Does `Host` name this server? (Else a page elsewhere could have pointed its own name here.)
//! 2. Does a request that acts come from our own page, or from a program? (`Origin`, CSRF secret)
//! 3. Who is it? A token in `Authorization`, or a session made with a token or with the link that
//!    [`Access::link`] makes once. Failures are throttled by address.
//! 4. May they? That is decided in `admin`, for the socket too.
//!
//! The page is a few embedded files without a build step; its Content-Security-Policy allows nothing
//! but those files and, by its digest, the script that stands in the first page. Trusted Types forbid
//! making markup from text, so that a peer's words can only ever be shown as text.

mod access;
mod api;
mod check;
mod feed;
mod guard;
mod headers;
mod history;
mod openapi;
mod page;
mod places;
mod reasons;
mod router;
mod secret;
mod serve;
mod session;
mod sessions;
mod throttle;
mod tls;
mod tokens;

pub use access::{Access, Asked, Tell};
pub use api::{Api, api_routes};
pub use check::{Checker, MakeAuditor};
pub use feed::Feed;
pub use history::{History, HistoryView, Sample};
pub use openapi::document;
pub use reasons::ReasonView;
pub use router::{guarded, http_router};
pub use secret::Random;
pub use serve::{HttpError, bind, serve};
pub use tls::Tls;
pub use tokens::{TokenError, Tokens};
