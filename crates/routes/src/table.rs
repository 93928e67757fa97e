//! All routes, and which of them a recipient's mail takes.

use std::sync::Arc;

use mail_types::{Domain, Host, Mailbox, ReversePath};

use crate::destination::{Destination, RouteKey};
use crate::route::Route;

/// The routes in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// With their keys, which are asked for several times a message.
    routes: Vec<(RouteKey, Arc<Route>)>,
}

impl RouteTable {
    /// From the configuration, in its order.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Self {
        Self {
            routes: routes
                .into_iter()
                .map(|route| (route.key(), Arc::new(route)))
                .collect(),
        }
    }

    /// The destination of one recipient. Routes that name a sender come before routes that do
    /// not, routes that name an exact recipient domain before patterns, and otherwise the first
    /// in the file wins (row E1-23).
    #[must_use]
    pub fn destination(&self, sender: &ReversePath, recipient: &Mailbox) -> Destination {
        let mut best: Option<((u8, u8), usize)> = None;
        for (index, (_, route)) in self.routes.iter().enumerate() {
            if let Some(rank) = route.rank(sender, recipient.host())
                && best.is_none_or(|(b, _)| rank > b)
            {
                best = Some((rank, index));
            }
        }
        let route = best.and_then(|(_, index)| self.routes.get(index));
        Destination {
            host: recipient.host().clone(),
            route: route.map(|(key, _)| *key),
        }
    }

    /// The route of a destination; `None` where MX records decide, or where the route has gone.
    #[must_use]
    pub fn get(&self, destination: &Destination) -> Option<&Arc<Route>> {
        self.routes
            .get(self.position(destination)?)
            .map(|(_, route)| route)
    }

    /// As people name a destination: its recipients' host, and the next hop of its route. A route that
    /// is no longer configured is called that.
    #[must_use]
    pub fn in_words(&self, destination: &Destination) -> (String, Option<String>) {
        let hop = self.get(destination).map(|route| route.hop.to_string());
        let gone = || "a route that is no longer configured".to_owned();
        let via = destination.route.map(|_| hop.unwrap_or_else(gone));
        (destination.host.to_string(), via)
    }

    /// Where in the file that route stands.
    #[must_use]
    pub fn position(&self, destination: &Destination) -> Option<usize> {
        let key = destination.route?;
        self.routes.iter().position(|(k, _)| *k == key)
    }

    /// Whether a route for this recipient domain exists, whoever the sender is.
    #[must_use]
    pub fn covers(&self, domain: &Domain) -> bool {
        let host = Host::Domain(domain.clone());
        self.routes
            .iter()
            .any(|(_, r)| r.sender_domain.is_none() && r.rank(&ReversePath::Null, &host).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DomainPattern;
    use crate::route::{HopTarget, NextHop, RouteTls};

    fn route(recipient: Option<&str>, sender: Option<&str>) -> Route {
        Route {
            recipient_domain: recipient.map(|p| DomainPattern::parse(p).unwrap()),
            sender_domain: sender.map(|p| DomainPattern::parse(p).unwrap()),
            hop: NextHop {
                target: HopTarget::Domain(Domain::parse("relay.test").unwrap()),
                port: 25,
            },
            tls: RouteTls::Verified,
            tls_name: None,
            roots: Vec::new(),
        }
    }

    fn pick(table: &RouteTable, from: &str, to: &str) -> Option<usize> {
        let sender = Mailbox::parse(from).map_or(ReversePath::Null, ReversePath::Mailbox);
        table.position(&table.destination(&sender, &Mailbox::parse(to).unwrap()))
    }

    #[test]
    fn e1_23_sender_routes_come_before_recipient_routes() {
        let table = RouteTable::new(vec![
            route(Some("*"), None),
            route(Some("d.test"), None),
            route(Some("*.d.test"), None),
            route(None, Some("ours.test")),
        ]);
        assert_eq!(pick(&table, "", "a@x.test"), Some(0));
        assert_eq!(pick(&table, "", "a@d.test"), Some(1));
        assert_eq!(pick(&table, "", "a@b.d.test"), Some(2));
        assert_eq!(pick(&table, "", "a@xd.test"), Some(0));
        assert_eq!(pick(&table, "u@ours.test", "a@d.test"), Some(3));
        assert_eq!(pick(&RouteTable::default(), "", "a@d.test"), None);
    }
}
