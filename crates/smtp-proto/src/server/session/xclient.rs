//! XCLIENT: the session goes on as that of another client.

use super::{Action, Helo, Pending, Session, State};
use crate::server::{
    Claimed, ClaimedClient, ClientCertificate, Forwarded, Identity, Incident, Peer, Refusal,
};

impl Session {
    pub(super) fn xclient(&mut self, attributes: &str) -> Option<Action<'static>> {
        if !self.peer.xclient {
            self.incident(Incident::XclientDenied);
            let text = "XCLIENT is not for this client";
            self.refusal(&Refusal::permanent(550, 7, 0, text));
            return None;
        }
        if self.transaction.is_some() {
            self.out_of_order("A transaction is under way");
            return None;
        }
        match ClaimedClient::parse(attributes) {
            Ok(claim) => {
                self.state = State::Answer(Pending::Xclient(Box::new(claim.clone())));
                Some(Action::Xclient(Box::new(claim)))
            }
            Err(error) => {
                self.refusal(&Refusal::permanent(501, 5, 4, error.to_string()));
                None
            }
        }
    }

    /// Answers [`Action::Xclient`] with what the client at the claimed address may do; `None` if
    /// the address did not change. The session begins anew, with a greeting; TLS goes on, and so do
    /// the rights to say XCLIENT and XFORWARD, which are the proxy's.
    ///
    /// `login` is the identity of the name that was claimed, if one was.
    pub fn impersonated(&mut self, peer: Option<Peer>, login: Option<Identity>) {
        let State::Answer(Pending::Xclient(_)) = &self.state else {
            return;
        };
        let State::Answer(Pending::Xclient(claim)) = self.take_state() else {
            return;
        };
        if let Some(peer) = peer {
            self.peer = Peer {
                xclient: self.peer.xclient,
                xforward: self.peer.xforward,
                ..peer
            };
        }
        self.helo = match claim.helo {
            Claimed::Is(name) => Some(Helo::new(name, claim.extended)),
            Claimed::Unknown | Claimed::Unchanged => None,
        };
        self.identity = login;
        // What is the proxy's is not this client's; nor will it be of a handshake to come.
        self.certificate = ClientCertificate::None;
        self.exporter = None;
        self.impersonates = true;
        self.forwarded = Forwarded::default();
        self.greet(&[]);
    }
}
