//! `sealpost trace`.

use admin::{TraceRequest, TraceView};

use crate::cli::TraceArgs;
use crate::control_client::{ControlClient, typed};
use crate::exit::{Failure, Status};
use terminal::{Output, Table, time};

/// Begins, ends or lists traces.
pub(super) async fn run(
    client: &ControlClient,
    args: TraceArgs,
    out: &mut Output,
) -> anyhow::Result<()> {
    let answer = match args.subject {
        None if args.end => {
            return Err(Failure::new(Status::Usage, "name what is to be traced no longer").into());
        }
        None => client.get("/v1/traces", &[]).await?,
        Some(subject) => {
            let request = TraceRequest {
                subject,
                seconds: (!args.end).then_some(args.span.as_secs()),
            };
            client.post("/v1/traces", &request).await?
        }
    };
    if args.json.json {
        let traces = answer.as_array().into_iter().flatten();
        for trace in traces {
            out.json(trace)?;
        }
        return Ok(());
    }
    let traces: Vec<TraceView> = typed(&answer)?;
    if traces.is_empty() {
        out.line("nothing is traced")?;
    }
    let rows: Vec<_> = traces
        .iter()
        .map(|t| vec![t.subject.clone(), time(&t.until), t.events_left.to_string()])
        .collect();
    Table::new(&["TRACED", "UNTIL", "EVENTS LEFT"]).rows(out, &rows)?;
    Ok(())
}
