//! The refusal of a connection for which there is no place: what is too much and when to come back.

use std::net::SocketAddr;

use smtp_proto::server::{Settings, TlsMode};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::{Client, Event, Limit, Observer};

/// Says 421 (RFC 5321 section 4.2.3) and tells of it. Where TLS comes first nothing can be said.
pub(crate) fn turn_away<O: Observer>(
    stream: &TcpStream,
    address: SocketAddr,
    settings: &Settings,
    observer: &O,
    limit: Limit,
) {
    if settings.tls != TlsMode::Implicit {
        // RFC 3463: X.7.0 for a rule of ours, X.3.2 for what we cannot do at the moment.
        let status = match limit {
            Limit::Memory => "4.3.2",
            Limit::Connections | Limit::PerAddress | Limit::Rate { .. } => "4.7.0",
        };
        let text = format!("421 {status} {} {}\r\n", settings.hostname, why(limit));
        // The socket is new and never blocks; if the reply cannot be sent it is not.
        let _ = SockRef::from(stream).send(text.as_bytes());
    }
    observer.event(Event::TurnedAway {
        client: Client {
            listener: &settings.listener,
            address,
            helo: "",
            session: 0,
        },
        limit,
    });
}

fn why(limit: Limit) -> String {
    match limit {
        Limit::Connections => "Too many connections; try again in a minute".to_owned(),
        Limit::PerAddress => {
            "Too many connections from your address; close one, or try again in a minute".to_owned()
        }
        Limit::Memory => "Short of memory; try again in a minute".to_owned(),
        Limit::Rate { retry_after } => format!(
            "Too many new connections from your address; try again in {} seconds",
            retry_after.as_secs() + 1
        ),
    }
}
