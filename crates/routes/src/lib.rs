//! Where mail for a recipient goes: by MX records, or to an explicit next hop (`[[route]]`).

mod destination;
mod pattern;
mod route;
mod table;

pub use destination::{Destination, RouteKey, is_routed};
pub use pattern::DomainPattern;
pub use route::{HopTarget, NextHop, Route, RouteTls};
pub use table::RouteTable;
