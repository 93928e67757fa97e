//! What is heard of the listeners and their clients.

use std::io;
use std::sync::atomic::Ordering;

use attempt::{
    Broken, BrokenBy, Level, LoginRejected, PlainEvent, Received, Refused, RefusedBy, SessionBegun,
    SessionEnded,
};
use mail_types::QueueId;
use metrics::{ClientIncident, ConnectionLimit};
use smtp_server::{
    Cause, Client, Ended, Event, Incident, Limit, LoginResult, SaslMechanism, Tally, TimeoutStage,
    handshake_fault,
};

use super::Observer;
use crate::daemon::events::sha256;

impl smtp_server::Observer for Observer {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Connected(client) => self.connected(client),
            Event::Disconnected {
                client,
                commands,
                ended,
                ..
            } => self.disconnected(client, commands, ended),
            Event::Received(received) => self.received(received),
            Event::Login {
                client,
                mechanism,
                user,
                result,
            } => self.login(client, mechanism, user, result),
            Event::Refused {
                client,
                stage,
                cause,
                refusal,
                sender,
                recipient,
                orig_client,
            } => {
                let cause = refused_by(cause);
                self.metrics.refused(cause);
                self.log.write(&Refused {
                    at: self.now(),
                    client: client.address.ip(),
                    orig_client,
                    helo: client.helo,
                    listener: client.listener,
                    stage: stage.key(),
                    cause,
                    code: refusal.code(),
                    dsn: refusal.status(),
                    detail: refusal.text(),
                    from: sender,
                    to: recipient,
                    session: client.session,
                });
            }
            Event::TurnedAway { client, limit } => self.turned_away(client, limit),
            Event::ProxyRefused { client, instead } => self.proxy_refused(client, instead),
            // The message's own record says that it came over TLS.
            Event::TlsEstablished { .. } => {}
            Event::TlsFailed { client, error } => self.tls_failed(client, error),
            Event::Incident { client, incident } => self.incident(client, incident),
            Event::ReplyLost {
                client,
                id,
                message_id,
            } => self.reply_lost(client, id, message_id),
            Event::TimedOut { client, stage } => self.timed_out(client, stage),
            Event::SessionPanicked { listener } => {
                let fields = [("listener", listener)];
                self.process("smtp.in.session-panicked", Level::Error, &fields);
            }
            Event::AcceptFailed { listener, error } => self.accept_failed(listener, error),
        }
    }
}

/// What clients do, and what they, the network or the system do wrong.
impl Observer {
    fn client(
        &self,
        event: &'static str,
        level: Level,
        client: Client<'_>,
        more: &[(&'static str, &str)],
    ) {
        Self::with_client(client, more, |fields| self.process(event, level, fields));
    }

    /// The fields that every event about a client begins with, and those of this one.
    fn with_client(
        client: Client<'_>,
        more: &[(&'static str, &str)],
        write: impl FnOnce(&[(&'static str, &str)]),
    ) {
        let address = client.address.ip().to_string();
        let mut fields = vec![
            ("listener", client.listener),
            ("client", address.as_str()),
            ("helo", client.helo),
        ];
        fields.extend_from_slice(more);
        write(&fields);
    }

    fn connected(&self, client: Client<'_>) {
        self.counts.clients.fetch_add(1, Ordering::Relaxed);
        self.log.write_postfix(&SessionBegun {
            at: self.now(),
            session: client.session,
            client: client.address.ip(),
        });
    }

    fn disconnected(&self, client: Client<'_>, commands: &Tally, ended: Ended) {
        self.counts.clients.fetch_sub(1, Ordering::Relaxed);
        let broken = |by, octets| Broken {
            by,
            after: commands.last(),
            octets,
        };
        self.log.write_postfix(&SessionEnded {
            at: self.now(),
            session: client.session,
            client: client.address.ip(),
            broken: match ended {
                Ended::Orderly => None,
                Ended::Lost(octets) => Some(broken(BrokenBy::Loss, octets)),
                Ended::TimedOut(octets) => Some(broken(BrokenBy::Timeout, octets)),
                Ended::TooManyErrors => Some(broken(BrokenBy::Errors, None)),
            },
            commands: || commands.commands(),
        });
    }

    fn proxy_refused(&self, client: Client<'_>, instead: &str) {
        self.metrics.turned_away(ConnectionLimit::Proxy);
        let fields = [("cause", instead), ("remedy", NO_PROXY)];
        self.sparingly("smtp.in.proxy-header-missing", client, &fields);
    }

    fn tls_failed(&self, client: Client<'_>, error: &io::Error) {
        self.metrics.incident(ClientIncident::TlsFailed);
        let fields = [("cause", &*handshake_fault(error))];
        self.client("smtp.in.tls-failed", Level::Warn, client, &fields);
    }

    fn incident(&self, client: Client<'_>, incident: Incident) {
        if incident == Incident::ProxyUntrusted {
            self.metrics.turned_away(ConnectionLimit::Proxy);
        }
        self.metrics.incident(counted(incident));
        let fields = [("incident", incident.key())];
        self.client("smtp.in.incident", Level::Warn, client, &fields);
    }

    fn reply_lost(&self, client: Client<'_>, id: QueueId, message_id: Option<&str>) {
        // Row H5-11: a second copy has the same Message-ID.
        let hash = message_id.map(sha256).unwrap_or_default();
        let fields = [
            ("queue_id", &*id.to_string()),
            ("message_id_sha256", &*hash),
        ];
        self.client("smtp.in.reply-lost", Level::Warn, client, &fields);
    }

    fn timed_out(&self, client: Client<'_>, stage: TimeoutStage) {
        self.metrics.incident(too_slow(stage));
        let fields = [("stage", stage.key())];
        self.client("smtp.in.timeout", Level::Info, client, &fields);
    }

    fn accept_failed(&self, listener: &str, error: &io::Error) {
        let event = "smtp.in.accept-failed";
        if let Some(left_out) = self.sparing.note(event, self.clock.monotonic()) {
            let (cause, left_out) = (error.to_string(), left_out.to_string());
            let fields = [
                ("listener", listener),
                ("cause", cause.as_str()),
                ("left_out", left_out.as_str()),
            ];
            self.process(event, Level::Error, &fields);
        }
    }

    fn turned_away(&self, client: Client<'_>, limit: Limit) {
        let (metric, key) = match limit {
            Limit::Connections => (ConnectionLimit::Connections, "access.connections"),
            Limit::PerAddress => (ConnectionLimit::PerClient, "access.connections-per-client"),
            Limit::Memory => (ConnectionLimit::Memory, "memory"),
            Limit::Rate { .. } => (ConnectionLimit::Rate, "access.connection-rate-per-client"),
        };
        self.metrics.turned_away(metric);
        self.sparingly("smtp.in.turned-away", client, &[("limit", key)]);
    }

    /// What a flood repeats is written now and then, with how often it was left out.
    fn sparingly(&self, event: &'static str, client: Client<'_>, more: &[(&'static str, &str)]) {
        let Some(left_out) = self.sparing.note(event, self.clock.monotonic()) else {
            return;
        };
        let left_out = left_out.to_string();
        let mut fields = more.to_vec();
        fields.push(("left_out", left_out.as_str()));
        self.client(event, Level::Warn, client, &fields);
    }

    /// Never with a password; the name is the client's word, in which people do type one.
    fn login(&self, client: Client<'_>, mechanism: SaslMechanism, user: &str, result: LoginResult) {
        let (login, event, level) = match result {
            LoginResult::Accepted => (metrics::LoginResult::Accepted, "smtp.in.login", Level::Info),
            LoginResult::Rejected => (metrics::LoginResult::Rejected, LOGIN_FAILED, Level::Warn),
            LoginResult::TooWeak => (metrics::LoginResult::TooWeak, LOGIN_FAILED, Level::Warn),
            LoginResult::NotNow => (metrics::LoginResult::NotNow, LOGIN_FAILED, Level::Warn),
        };
        self.metrics.login(login);
        let fields = [
            ("mechanism", mechanism.name()),
            ("user", user),
            ("result", result.key()),
        ];
        if result != LoginResult::Rejected {
            return self.client(event, level, client, &fields);
        }
        // Whoever bans those that guess reads Postfix's line.
        Self::with_client(client, &fields, |fields| {
            self.log.write(&LoginRejected {
                event: &PlainEvent {
                    at: self.now(),
                    event,
                    level,
                    fields,
                },
                session: client.session,
                client: client.address.ip(),
                mechanism: mechanism.name(),
                user,
                helo: client.helo,
                listener: client.listener,
            });
        });
    }

    fn received(&self, r: smtp_server::Received<'_>) {
        self.metrics.accepted();
        self.log.write(&Received {
            at: self.now(),
            queue_id: r.id,
            upstream_id: r.upstream_id,
            message_id: r.message_id,
            client: Some(r.client),
            orig_client: r.orig_client,
            helo: r.helo,
            listener: r.listener,
            identity: r.identity,
            from: r.sender,
            nrcpt: r.recipients,
            size: r.size,
            tls: r.tls,
            session: r.session,
        });
    }
}

const NO_PROXY: &str = "let this host begin with a PROXY header of version 1 or 2 (HAProxy: \
                        send-proxy), or, if it is no proxy, take it out of access.proxy-hosts";
const LOGIN_FAILED: &str = "smtp.in.login-failed";

/// What happened as it is counted, one to one.
const fn counted(incident: Incident) -> ClientIncident {
    match incident {
        Incident::BareNewline => ClientIncident::BareNewline,
        Incident::BareNewlineNormalized { .. } => ClientIncident::BareNewlineNormalized,
        Incident::LongLines { .. } => ClientIncident::LongLines,
        Incident::NulDot => ClientIncident::NulDot,
        Incident::StartTlsInjection => ClientIncident::StartTlsInjection,
        Incident::CrossProtocol => ClientIncident::CrossProtocol,
        Incident::TlsOnPlainPort => ClientIncident::TlsOnPlainPort,
        Incident::EarlyTalker => ClientIncident::EarlyTalker,
        Incident::XforwardDenied => ClientIncident::XforwardDenied,
        Incident::XclientDenied => ClientIncident::XclientDenied,
        Incident::ProxyUntrusted => ClientIncident::ProxyUntrusted,
        Incident::TooManyErrors => ClientIncident::TooManyErrors,
        Incident::TooManyMessages => ClientIncident::TooManyMessages,
        Incident::AlpnMismatch => ClientIncident::AlpnMismatch,
    }
}

const fn too_slow(stage: TimeoutStage) -> ClientIncident {
    match stage {
        TimeoutStage::Command => ClientIncident::TimeoutCommand,
        TimeoutStage::Data => ClientIncident::TimeoutData,
        TimeoutStage::Handshake => ClientIncident::TimeoutHandshake,
        TimeoutStage::Write => ClientIncident::TimeoutWrite,
    }
}

/// The session's causes as the record's, one to one.
const fn refused_by(cause: Cause) -> RefusedBy {
    match cause {
        Cause::RelayDenied => RefusedBy::RelayDenied,
        Cause::TlsRequired => RefusedBy::TlsRequired,
        Cause::TooLarge => RefusedBy::TooLarge,
        Cause::TooManyRecipients => RefusedBy::TooManyRecipients,
        Cause::BareNewline => RefusedBy::BareNewline,
        Cause::Loop => RefusedBy::Loop,
        Cause::LineTooLong => RefusedBy::LineTooLong,
        Cause::Syntax => RefusedBy::Syntax,
        Cause::Parameter => RefusedBy::Parameter,
        Cause::Utf8Address => RefusedBy::Utf8Address,
        Cause::Queue => RefusedBy::Queue,
        Cause::DiskFull => RefusedBy::DiskFull,
        Cause::Limit => RefusedBy::Limit,
        Cause::Recipient => RefusedBy::Recipient,
        Cause::SenderDomain => RefusedBy::SenderDomain,
        Cause::AuthRequired => RefusedBy::AuthRequired,
        Cause::SenderDenied => RefusedBy::SenderDenied,
        Cause::Content => RefusedBy::Content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_counted_as_what_it_is() {
        for cause in [
            Cause::RelayDenied,
            Cause::TlsRequired,
            Cause::TooLarge,
            Cause::TooManyRecipients,
            Cause::BareNewline,
            Cause::Loop,
            Cause::LineTooLong,
            Cause::Syntax,
            Cause::Parameter,
            Cause::Utf8Address,
            Cause::Queue,
            Cause::DiskFull,
            Cause::Limit,
            Cause::Recipient,
            Cause::SenderDomain,
            Cause::Content,
            Cause::AuthRequired,
            Cause::SenderDenied,
        ] {
            assert_eq!(refused_by(cause).key(), cause.key());
        }
    }
}
