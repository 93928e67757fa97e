//! Listeners that the configuration closes, as probes are told of them.

use std::collections::BTreeMap;

use admin::{ListenerView, Ready};

/// All of them closed: nobody can hand in mail, whatever else is well. Some: worth a note.
pub(super) fn tell(listeners: &[ListenerView], ready: &mut Ready) {
    // One listener may have several addresses.
    let closed: BTreeMap<&str, &str> = listeners
        .iter()
        .filter_map(|l| Some((l.name.as_str(), l.closed.as_deref()?)))
        .collect();
    if closed.is_empty() {
        return;
    }
    if listeners.iter().any(|l| l.closed.is_none()) {
        let notes = closed.iter();
        let notes = notes.map(|(name, text)| format!("listener {name} is closed: {text}"));
        ready.notes.extend(notes);
        return;
    }
    let mut texts: Vec<&str> = closed.into_values().collect();
    texts.dedup();
    let text = format!("every listener is closed: {}", texts.join("; "));
    ready.accepting.push(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(listeners: &[(&str, Option<&str>)]) -> Ready {
        let views: Vec<_> = listeners
            .iter()
            .map(|(name, closed)| ListenerView {
                name: (*name).to_owned(),
                address: String::new(),
                clients: 0,
                closed: closed.map(str::to_owned),
            })
            .collect();
        let mut ready = Ready::default();
        tell(&views, &mut ready);
        ready
    }

    #[test]
    fn closed_listeners_keep_from_accepting_only_if_there_is_no_other() {
        assert_eq!(told(&[("a", None), ("b", None)]), Ready::default());
        assert_eq!(told(&[]), Ready::default());
        let some = told(&[("a", Some("moving")), ("a", Some("moving")), ("b", None)]);
        assert!(some.is_ready());
        assert_eq!(some.notes, ["listener a is closed: moving"]);
        for (listeners, want) in [
            (
                &[("a", Some("moving")), ("b", Some("moving"))],
                "every listener is closed: moving",
            ),
            (
                &[("a", Some("moving")), ("b", Some("later"))],
                "every listener is closed: moving; later",
            ),
        ] {
            let all = told(listeners);
            assert_eq!(all.accepting, [want]);
            assert!(all.delivering.is_empty() && all.notes.is_empty());
        }
    }
}
