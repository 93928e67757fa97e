//! Who is there: an address of its own, or that which a trusted proxy names.

use std::net::SocketAddr;

use proxy_protocol::ProxySource;
use smtp_proto::server::Peer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Context, Phase};
use crate::limits::Slot;
use crate::{Access, Client, Event, Observer, turn_away};

/// The client's address and what it may do; `None`: it was turned away, and that was told.
pub(super) async fn arrive<I, O: Observer>(
    context: &Context<I, O>,
    stream: &mut TcpStream,
    address: SocketAddr,
    phase: &mut watch::Receiver<Phase>,
    slot: &mut Slot,
) -> Option<(SocketAddr, Peer)> {
    if slot.is_assigned() {
        let access = context.access.load();
        return Some((address, access.peer(address.ip(), context.bare_newline())));
    }
    let header = tokio::select! {
        header = proxy_protocol::read(stream, context.timeouts().proxy) => header,
        _ = phase.wait_for(|p| *p != Phase::Open) => return None,
    };
    let source = match header {
        Ok(source) => source,
        Err(instead) => {
            context.observer.event(Event::ProxyRefused {
                client: Client {
                    listener: &context.settings().listener,
                    address,
                    helo: "",
                    session: 0,
                },
                instead: &instead,
            });
            return None;
        }
    };
    let ProxySource::Client(client) = source else {
        return Some((
            address,
            Access::stranger(address.ip(), context.bare_newline()),
        ));
    };
    if let Err(limit) = slot.assign(client.ip(), Instant::now()) {
        let observer = &*context.observer;
        turn_away::turn_away(stream, client, context.settings(), observer, limit);
        return None;
    }
    let access = context.access.load();
    Some((client, access.peer(client.ip(), context.bare_newline())))
}
