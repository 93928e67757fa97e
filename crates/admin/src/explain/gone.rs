//! A message that has left the queue: how it ended, or where that is written.

use mail_types::QueueId;
use outbound_queue::QueueStore;

use super::Sections;
use crate::{Control, Explanation};
use api_routes::Problem;

/// # Errors
/// Nothing is remembered of it.
pub(super) fn of_gone<S: QueueStore>(
    control: &Control<S>,
    id: QueueId,
    subject: String,
) -> Result<Explanation, Problem> {
    let ends = control.daemon.ends_of(id);
    let search = control.daemon.log_search(id);
    if ends.is_empty() {
        return Err(Problem::not_found(format!(
            "message {id} is not in the queue, and the relay does not remember how it ended (only the last \
             few thousand ends since its start). If it was here, the log has its whole life: {search}"
        )));
    }
    let mut sections = Sections::default();
    let mut told = vec![format!("Message {id} has left the queue.")];
    told.extend(ends);
    sections.add("What became of it", told);
    let more = format!("The log has every attempt on it: {search}");
    sections.add("Where there is more", vec![more]);
    Ok(sections.finish(subject, None))
}
