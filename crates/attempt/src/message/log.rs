//! How the events of a message's life are written.

use mail_types::{OrigClient, Timestamp, TlsFacts};
use serde::Serialize;

use super::{DsnKind, DsnSent, Received, Refused, Removed, RemovedBecause};
use crate::event::{Level, LogEvent};
use crate::fields::Fields;
use crate::format::{PostfixLine, TextLine};

impl LogEvent for Received<'_> {
    fn event(&self) -> &'static str {
        "message.received"
    }

    fn level(&self) -> Level {
        Level::Info
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn fields(&self, f: &mut Fields<'_>) {
        f.display("queue_id", &self.queue_id)
            .text_option("upstream_id", self.upstream_id)
            .text_option("message_id", self.message_id)
            .add("client", &self.client)
            .add("orig_client", &self.orig_client)
            .text("helo", self.helo)
            .text("listener", self.listener)
            .text_option("identity", self.identity)
            .display("from", self.from)
            .add("nrcpt", &self.nrcpt)
            .add("size", &self.size)
            .add("tls", &self.tls.map(Tls::from));
    }

    /// The lines of `smtpd`, `cleanup` and `qmgr`. Our own mail, which came from no client, is
    /// `pickup`'s.
    fn postfix(&self, line: &mut PostfixLine<'_>) {
        match self.client {
            Some(ip) => {
                line.begin_session(self.session)
                    .id(self.queue_id)
                    .push(format_args!(": client="))
                    .host("", Some(ip));
                if let Some(identity) = self.identity {
                    line.push(format_args!(", sasl_username=")).word(&identity);
                }
                let origin = OrigClient::led_by(self.orig_client, ", orig_client=");
                line.push(format_args!("{origin}"));
            }
            None => {
                line.begin("pickup")
                    .id(self.queue_id)
                    .push(format_args!(": uid=0 "))
                    .address("from", self.from);
            }
        }
        if let Some(id) = self.message_id {
            line.begin("cleanup")
                .id(self.queue_id)
                .push(format_args!(": "))
                .address("message-id", &id.trim_matches(['<', '>', ' ']));
        }
        line.begin("qmgr")
            .id(self.queue_id)
            .push(format_args!(": "))
            .address("from", self.from)
            .push(format_args!(
                ", size={}, nrcpt={} (queue active)",
                self.size, self.nrcpt
            ));
        if let Some(upstream) = self.upstream_id {
            line.push(format_args!(" upstream-id=")).word(&upstream);
        }
    }

    fn text(&self, line: &mut TextLine<'_>) {
        line.push(format_args!("{} from <", self.queue_id))
            .clip(&self.from.to_string())
            .push(format_args!(
                ">  {} recipient{}, {} octets",
                self.nrcpt,
                if self.nrcpt == 1 { "" } else { "s" },
                self.size
            ));
        if let Some(ip) = self.client {
            let origin = OrigClient::led_by(self.orig_client, " for ");
            line.push(format_args!(", client {ip}{origin}"));
        }
        if let Some(identity) = self.identity {
            line.push(format_args!(" as ")).clip(identity);
        }
        if let Some(tls) = self.tls {
            line.push(format_args!(", {}", tls.version));
        }
    }
}

impl LogEvent for Refused<'_> {
    fn event(&self) -> &'static str {
        "message.refused"
    }

    fn level(&self) -> Level {
        Level::Warn
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn fields(&self, f: &mut Fields<'_>) {
        f.add("client", &self.client)
            .add("orig_client", &self.orig_client)
            .add("helo", self.helo)
            .add("listener", self.listener)
            .add("stage", self.stage)
            .add("cause", self.cause.key())
            .add("code", &self.code)
            .display("dsn", &self.dsn)
            .add("detail", self.detail)
            .add("from", &self.from)
            .add("to", &self.to);
    }

    /// `NOQUEUE: reject: RCPT from host[ip]: 554 5.7.1 …; from=<…> to=<…> proto=ESMTP helo=<…>`
    fn postfix(&self, line: &mut PostfixLine<'_>) {
        // Postfix names the command.
        let command = match self.stage {
            "begin" => "DATA".to_owned(),
            "content" => "END-OF-MESSAGE".to_owned(),
            other => other.to_ascii_uppercase(),
        };
        line.begin_session(self.session)
            .push(format_args!("NOQUEUE: reject: "))
            .word(&command)
            .push(format_args!(" from "))
            .host("", Some(self.client))
            .push(format_args!(": {} {} ", self.code, self.dsn));
        if let Some(to) = self.to {
            line.address("", &to).push(format_args!(": "));
        }
        line.clause(self.detail).push(format_args!("; "));
        if let Some(from) = self.from {
            line.address("from", &from).push(format_args!(" "));
        }
        if let Some(to) = self.to {
            line.address("to", &to).push(format_args!(" "));
        }
        let origin = OrigClient::led_by(self.orig_client, " orig_client=");
        line.push(format_args!("proto=ESMTP "))
            .address("helo", &self.helo)
            .push(format_args!("{origin} cause={}", self.cause.key()));
    }

    fn text(&self, line: &mut TextLine<'_>) {
        let origin = OrigClient::led_by(self.orig_client, " for ");
        line.push(format_args!(
            "{} from {}{origin}  ",
            self.stage, self.client
        ))
        .push(format_args!("{} {} ", self.code, self.dsn))
        .clip(self.detail);
        for (lead, address) in [("  from <", self.from), ("  to <", self.to)] {
            if let Some(address) = address {
                line.push(format_args!("{lead}")).clip(address);
                line.push(format_args!(">"));
            }
        }
    }
}

impl LogEvent for Removed<'_> {
    fn event(&self) -> &'static str {
        "message.removed"
    }

    fn level(&self) -> Level {
        match self.because {
            RemovedBecause::Done => Level::Info,
            RemovedBecause::Cancelled => Level::Warn,
        }
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn fields(&self, f: &mut Fields<'_>) {
        f.display("queue_id", &self.queue_id)
            .text_option("upstream_id", self.upstream_id)
            .text("because", self.because.key());
    }

    fn postfix(&self, line: &mut PostfixLine<'_>) {
        line.begin("qmgr")
            .id(self.queue_id)
            .push(format_args!(": removed"));
    }

    fn text(&self, line: &mut TextLine<'_>) {
        line.push(format_args!("{}  {}", self.queue_id, self.because.key()));
    }
}

impl LogEvent for DsnSent<'_> {
    fn event(&self) -> &'static str {
        "dsn.sent"
    }

    fn level(&self) -> Level {
        Level::Info
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn fields(&self, f: &mut Fields<'_>) {
        f.display("queue_id", &self.queue_id)
            .display("dsn_id", &self.dsn_id)
            .add("to", self.to.as_str())
            .add("kind", self.kind.key())
            .add("nrcpt", &self.nrcpt)
            .add("size", &self.size);
    }

    fn postfix(&self, line: &mut PostfixLine<'_>) {
        let what = match self.kind {
            DsnKind::Failed => "sender non-delivery notification",
            DsnKind::Delayed => "sender delay notification",
            DsnKind::Relayed => "sender delivery status notification",
        };
        line.begin("bounce")
            .id(self.queue_id)
            .push(format_args!(": {what}: "))
            .id(self.dsn_id);
        line.begin("qmgr").id(self.dsn_id).push(format_args!(
            ": from=<>, size={}, nrcpt=1 (queue active)",
            self.size
        ));
    }

    fn text(&self, line: &mut TextLine<'_>) {
        line.push(format_args!(
            "{}  {} notice to <{}> as {}",
            self.queue_id,
            self.kind.key(),
            self.to,
            self.dsn_id
        ));
    }
}

#[derive(Serialize)]
struct Tls<'a> {
    version: &'a str,
    cipher: &'a str,
}

impl<'a> From<&'a TlsFacts> for Tls<'a> {
    fn from(t: &'a TlsFacts) -> Self {
        Self {
            version: &t.version,
            cipher: &t.cipher,
        }
    }
}
