//! How a record is written.

use std::fmt;
use std::time::Duration;

use mail_types::Timestamp;
use serde::Serialize;

use super::colonless::for_adders;
use super::{Authenticated, Outcome, Record};
use crate::event::{Level, LogEvent};
use crate::fields::{Fields, seconds};
use crate::format::{Paint, PostfixLine, TextLine};
use crate::{Reason, Side};

impl LogEvent for Record<'_> {
    fn event(&self) -> &'static str {
        self.outcome.event()
    }

    fn level(&self) -> Level {
        match self.outcome {
            Outcome::Sent if self.weakened_by.is_none() => Level::Info,
            // Only we can put it right, and nothing on this route goes out until then (row H3-35).
            Outcome::Deferred if self.reason == Some(Reason::RouteAuth) => Level::Error,
            Outcome::Sent | Outcome::Deferred | Outcome::Held => Level::Warn,
            Outcome::Bounced | Outcome::Expired => Level::Error,
        }
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn fields(&self, f: &mut Fields<'_>) {
        f.display("queue_id", &self.queue_id)
            .text_option("upstream_id", self.upstream_id)
            .text_option("message_id", self.message_id)
            .display("from", self.from)
            .text("to", self.to.as_str())
            .text("domain", self.domain)
            .text_option("mx", self.mx)
            .add("ip", &self.ip)
            .add("port", &self.port)
            .add("tried", self.tried);
        // Absent on delivery.sent.
        if let Some(reason) = self.reason {
            f.add("reason", &reason);
        }
        f.display("dsn", &self.dsn)
            .text_option("reply", self.reply)
            .text("detail", self.detail)
            .add("policies", self.policies);
        // Absent where it is not so.
        if self.first_contact {
            f.add("first_contact", &true);
        }
        if let Some(none) = self.no_policy {
            f.display("no_policy", &format_args!("{}: {}", none.step, none.why));
        }
        f.add("weakened_by", &self.weakened_by)
            .add("tls", &self.tls)
            // Counts from 1.
            .add("attempt", &Some(self.attempt).filter(|number| *number > 0))
            .time_option("next_attempt", self.next_attempt)
            .time_option("gives_up", self.gives_up)
            .seconds("delay", self.delay)
            .add("delays", &DelaySeconds::from(self));
        match self.whose_move() {
            Some((side, _)) => f.display("advice", &format_args!("{side}: {}", self.advice)),
            None => f.add("advice", &()),
        };
    }

    /// What Postfix writes, and after `status=word (…)` what it does not know.
    fn postfix(&self, line: &mut PostfixLine<'_>) {
        line.begin("smtp")
            .id(self.queue_id)
            .push(format_args!(": "))
            .address("to", self.to)
            .push(format_args!(", relay="));
        match self.mx {
            Some(mx) => {
                line.host(mx, self.ip);
                if let (Some(_), Some(port)) = (self.ip, self.port) {
                    line.push(format_args!(":{port}"));
                }
            }
            None => {
                line.push(format_args!("none"));
            }
        }
        let d = &self.delays;
        line.push(format_args!(
            ", delay={}, delays={}/{}/{}/{}, dsn={}, status={} (",
            PostfixDelay(self.delay),
            PostfixDelay(d.before_queue),
            PostfixDelay(d.in_queue),
            PostfixDelay(d.connect),
            PostfixDelay(d.transmit),
            self.dsn,
            self.postfix_status(),
        ));
        self.postfix_clause(line);
        line.push(format_args!(")"));
        self.postfix_extras(line);
    }

    fn text(&self, line: &mut TextLine<'_>) {
        let paint = match self.outcome {
            Outcome::Sent => Paint::Good,
            Outcome::Deferred | Outcome::Held => Paint::Waiting,
            Outcome::Bounced | Outcome::Expired => Paint::Bad,
        };
        line.push(format_args!("{} to <{}>", self.queue_id, self.to));
        if let Some(mx) = self.mx {
            line.push(format_args!(" via {mx}"));
            if let Some(ip) = self.ip {
                line.push(format_args!("[{ip}]"));
            }
        }
        if let Some(reason) = self.reason {
            line.push(format_args!("  "));
            line.paint(paint, format_args!("{reason}"));
        }
        line.push(format_args!("  "));
        match self.reply.filter(|_| self.outcome == Outcome::Sent) {
            Some(reply) => line.clip(reply),
            None => line.clip(self.detail),
        };
        if self.outcome == Outcome::Sent {
            line.push(format_args!("  [{}]", self.protection()));
        }
        if let Some(weakened) = self.weakened_by {
            line.push(format_args!("  [policy set aside: {}]", weakened.key()));
        }
        if let Some(none) = self.no_policy {
            line.push(format_args!("  [no policy: "))
                .clip(&none.why)
                .push(format_args!("]"));
        }
        if let Some(said) = self.who_has_to_act() {
            line.push(format_args!("  {said}"));
        }
        if self.reason.is_some() {
            self.text_extras(line);
        }
        if let Some(next) = self.next_attempt {
            let wait = next.since(self.at);
            line.push(format_args!("  next attempt in {}", Rough(wait)));
            if let Some(end) = self.gives_up {
                line.push(format_args!(", gives up in {}", Rough(end.since(self.at))));
            }
        }
    }
}

impl Record<'_> {
    /// The words that pflogsumm counts: an expired message has come back to its sender, a held
    /// one is still here.
    const fn postfix_status(&self) -> &'static str {
        match self.outcome {
            Outcome::Sent => "sent",
            Outcome::Deferred | Outcome::Held => "deferred",
            Outcome::Bounced | Outcome::Expired => "bounced",
        }
    }

    /// How a message went out.
    fn protection(&self) -> &'static str {
        match self.tls {
            None => "no TLS",
            Some(tls) if tls.authenticated == Authenticated::None => "TLS, unverified",
            Some(_) => "TLS, verified",
        }
    }

    /// Whose move it is, where something is to be done or waited for.
    fn whose_move(&self) -> Option<(Side, Reason)> {
        let reason = self.reason.filter(|_| !self.advice.is_empty())?;
        Some((self.side.unwrap_or_else(|| reason.side()), reason))
    }

    /// The same as a sentence, in the words of `sealpost explain`.
    fn who_has_to_act(&self) -> Option<&'static str> {
        let (side, _) = self.whose_move()?;
        let over = matches!(self.outcome, Outcome::Bounced | Outcome::Expired);
        Some(match side {
            Side::Us if self.for_sender => "The sender has to act.",
            Side::Us => "Our side has to act.",
            Side::RecipientAdmin => "The recipient's side has to act.",
            Side::Wait if over => "Nobody has to act.",
            Side::Wait => "Nobody has to act yet.",
        })
    }

    /// What a failure is looked into with, in the words of the Postfix format.
    fn text_extras(&self, line: &mut TextLine<'_>) {
        line.push(format_args!("  dsn={}", self.dsn));
        if self.attempt > 0 {
            line.push(format_args!(" attempt={}", self.attempt));
        }
        for (i, p) in self.policies.iter().enumerate() {
            let start = if i == 0 { " policy=" } else { "," };
            line.push(format_args!(
                "{start}{}:{}:{}",
                p.source.key(),
                p.mode,
                p.result.key()
            ));
        }
        // One host stands at the beginning of the line.
        if self.tried.len() < 2 {
            return;
        }
        for (i, t) in self.tried.iter().take(MAX_TRIED).enumerate() {
            let start = if i == 0 { " mx-tried=" } else { "," };
            line.push(format_args!(
                "{start}{}:{}",
                t.mx,
                t.reason.map_or("ok", Reason::key)
            ));
        }
        if self.tried.len() > MAX_TRIED {
            line.push(format_args!(",+{}", self.tried.len() - MAX_TRIED));
        }
    }

    fn postfix_clause(&self, line: &mut PostfixLine<'_>) {
        match (self.outcome, self.reply) {
            // "forwarded as" in a peer's reply would make pflogsumm count a forward.
            (Outcome::Sent, Some(reply)) => {
                line.clause(&reply.replace("forwarded as ", "forwarded-as "));
            }
            (_, Some(reply)) => {
                line.push(format_args!("host "))
                    .host(self.mx.unwrap_or_default(), self.ip)
                    .push(format_args!(" said: "))
                    .clause(reply);
                // Postfix's round brackets would be the first ones within the clause, which readers take for its end.
                if let Some(command) = self.in_reply_to {
                    line.push(format_args!(" [in reply to {command}]"));
                }
            }
            (Outcome::Expired, None) => {
                line.push(format_args!("given up, "))
                    .clause(&for_adders(self.detail));
            }
            (_, None) => {
                line.clause(&for_adders(self.detail));
            }
        }
    }

    fn postfix_extras(&self, line: &mut PostfixLine<'_>) {
        if let Some(reason) = self.reason {
            line.push(format_args!(" reason={reason}"));
        }
        if let Some((side, _)) = self.whose_move() {
            line.push(format_args!(" side={side}"));
        }
        if !self.policies.is_empty() {
            line.push(format_args!(" policy="));
            for (i, p) in self.policies.iter().enumerate() {
                line.push(format_args!("{}{}:", comma(i), p.source.key()))
                    .word(&p.mode);
                if let Some(id) = &p.id {
                    line.push(format_args!(":")).word(id);
                }
                line.push(format_args!(":{}", p.result.key()));
            }
        }
        // RFC 7672 section 2.2.1: not to be taken for a secure delivery to the domain (row C2-05).
        for dane in self.policies.iter().filter_map(|p| p.dane.as_ref()) {
            line.push(format_args!(" target=")).word(&dane.target);
            if !dane.mx_secure {
                line.push(format_args!(" dane-mx=insecure"));
            }
            if dane.unusable.is_some() {
                line.push(format_args!(" dane-records=unusable"));
            }
        }
        if let Some(none) = self.no_policy {
            line.push(format_args!(" no-policy={}", none.step));
        }
        if let Some(weakened) = self.weakened_by {
            line.push(format_args!(" weakened-by={}", weakened.key()));
        }
        if let Some(tls) = self.tls {
            line.push(format_args!(" tls="))
                .word(&tls.version)
                .push(format_args!(":{}", tls.authenticated.key()));
        } else if self.outcome == Outcome::Sent {
            line.push(format_args!(" tls=none"));
        }
        if self.reason.is_some() && !self.tried.is_empty() {
            line.push(format_args!(" mx-tried="));
            for (i, t) in self.tried.iter().take(MAX_TRIED).enumerate() {
                line.push(format_args!("{}", comma(i))).host(&t.mx, t.ip);
                match t.reason {
                    Some(reason) => line.push(format_args!(":{reason}")),
                    None => line.push(format_args!(":ok")),
                };
            }
            if self.tried.len() > MAX_TRIED {
                line.push(format_args!(",+{}", self.tried.len() - MAX_TRIED));
            }
        }
        if self.attempt > 0 {
            line.push(format_args!(" attempt={}", self.attempt));
        }
        if let Some(next) = self.next_attempt {
            line.push(format_args!(" next-attempt={next}"));
        }
        if let Some(upstream) = self.upstream_id {
            line.push(format_args!(" upstream-id=")).word(&upstream);
        }
    }
}

const fn comma(i: usize) -> &'static str {
    if i == 0 { "" } else { "," }
}

/// `delays` in JSON.
#[derive(Serialize)]
struct DelaySeconds {
    before_queue: f64,
    in_queue: f64,
    connect: f64,
    transmit: f64,
}

impl DelaySeconds {
    const fn from(record: &Record<'_>) -> Self {
        let d = &record.delays;
        Self {
            before_queue: seconds(d.before_queue),
            in_queue: seconds(d.in_queue),
            connect: seconds(d.connect),
            transmit: seconds(d.transmit),
        }
    }
}

/// Seconds with two significant digits below 100, as Postfix prints delays.
struct PostfixDelay(Duration);

impl fmt::Display for PostfixDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let centis = self.0.as_millis() / 10;
        let (whole, part) = (centis / 100, centis % 100);
        match (whole, part) {
            (10.., _) | (_, 0) => write!(f, "{whole}"),
            (1..10, _) => match part / 10 {
                0 => write!(f, "{whole}"),
                tenth => write!(f, "{whole}.{tenth}"),
            },
            (0, _) if part % 10 == 0 => write!(f, "0.{}", part / 10),
            (0, _) => write!(f, "0.{part:02}"),
        }
    }
}

/// A length of time as people say it, to the nearest.
struct Rough(Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            s @ 0..120 => write!(f, "{s} s"),
            s @ 120..7200 => write!(f, "{} min", (s + 30) / 60),
            s @ 7200..172_800 => write!(f, "{} h", (s + 1800) / 3600),
            s => write!(f, "{} days", (s + 43_200) / 86_400),
        }
    }
}

/// Candidates named on one line; the rest are counted.
const MAX_TRIED: usize = 16;
