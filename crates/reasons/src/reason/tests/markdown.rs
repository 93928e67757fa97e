//! The documentation of all reasons, made from the table that the code uses.

use std::fmt::Write;

use crate::reason::{Facts, Reason, ReportCondition, Side};

/// The text of `docs/reasons.md`.
pub(super) fn reasons_markdown() -> String {
    let mut out = String::with_capacity(32 * 1024);
    out.push_str(HEAD);
    for reason in Reason::ALL {
        let _ = writeln!(
            out,
            "| [`{key}`](#{key}) | {} | {} | {} |",
            statuses(reason),
            whose(reason.side()),
            report(reason.report()),
            key = reason.key()
        );
    }
    for reason in Reason::ALL {
        let facts = Facts {
            domain: "example.org",
            mx: Some("mx1.example.org"),
            ..Facts::default()
        };
        let _ = write!(
            out,
            "\n## {}\n\n**{}**\n",
            reason.key(),
            reason.sentence(&facts)
        );
        for paragraph in reason.explanation() {
            let _ = write!(out, "\n{paragraph}\n");
        }
        let _ = write!(
            out,
            "\n- What to do ({}): {}\n- Enhanced status: {}\n- In TLS reports: {}\n- Source: {}\n",
            whose(reason.side()),
            reason.advice(&facts),
            statuses(reason),
            report(reason.report()),
            reason.clause()
        );
        if let Some(request) = reason.request(&facts) {
            let _ = writeln!(out, "- To the recipient's administrator: \"{request}\"");
        }
        for case in reason.cases() {
            in_case(reason, &Facts { case, ..facts }, &mut out);
        }
    }
    out
}

/// What is said instead in one of its cases.
fn in_case(reason: Reason, facts: &Facts<'_>, out: &mut String) {
    let advice = reason.advice(facts);
    let todo = match &*advice {
        "" => "nothing to do".to_owned(),
        advice => format!("{}: {advice}", whose(reason.side_in(facts.case, facts.by))),
    };
    let _ = writeln!(
        out,
        "- `{}`: {} ({todo})",
        facts.case.key(),
        reason.sentence(facts)
    );
}

fn statuses(reason: Reason) -> String {
    match reason {
        Reason::Remote4xx | Reason::Remote5xx => {
            format!("the peer's, else {}", reason.status())
        }
        Reason::DestinationSuspended => format!("the cause's, else {}", reason.status()),
        _ => {
            let all: Vec<_> = reason.statuses().iter().map(ToString::to_string).collect();
            all.join(", ")
        }
    }
}

const fn whose(side: Side) -> &'static str {
    match side {
        Side::RecipientAdmin => "the recipient's administrator",
        Side::Us => "us or our sender",
        Side::Wait => "nobody: wait",
    }
}

fn report(condition: ReportCondition) -> String {
    match condition {
        ReportCondition::Never => "not reported".into(),
        ReportCondition::WithPolicy(t) => format!("`{t}`"),
        ReportCondition::WithDane(t) => format!("`{t}`, where DANE applies"),
    }
}

const HEAD: &str = "\
# Why mail waits or comes back

Every attempt that does not deliver has one of these reasons, in the [log](events.md) (`reason`), in `sealpost queue`, in
`sealpost explain` and in the metrics. A status that begins with 4 means: the mail waits and is tried again. One that
begins with 5 means: it goes back to its sender.

<!-- Made from crates/reasons/src by its tests: UPDATE=1 cargo test -p reasons -->

| reason | status | who has to act | in TLS reports (RFC 8460) |
|---|---|---|---|
";
