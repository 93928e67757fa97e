//! Where commands, programs and the page come in: the control socket and `admin.http`.
//!
//! They are open before mail can come, so that whoever sees the SMTP port open can ask about it, and
//! answer from then on: until the relay stands, that it is starting ([`Gate`]).

mod doors;
mod gate;
mod socket;

pub use doors::{DoorError, Doors, HttpDoor};
pub use gate::{Gate, Starting};
pub use socket::{ServeError, SocketFile, bind_socket, refusing_router, serve_socket};
