//! "Did you mean": the known name that a wrong one is most like.

/// The candidate nearest to `name`, if any is near enough to be meant.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let (_, last) = name.rsplit_once('.').unwrap_or(("", name));
    candidates
        .map(|candidate| {
            let (_, candidate_last) = candidate.rsplit_once('.').unwrap_or(("", candidate));
            // A right name in a wrong section is nearer than a wrong name in the right one.
            let moved = distance(last, candidate_last) + 1;
            (distance(name, candidate).min(moved), candidate)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= (last.chars().count() / 3).max(2))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance with exchanged neighbours counted once.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = (get(&above, j) + usize::from(x != y))
                .min(get(&above, j + 1) + 1)
                .min(get(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(get(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["server.hostname", "server.data-dir", "queue.lifetime"];
        for (wrong, right) in [
            ("server.hostnmae", Some("server.hostname")), // letters exchanged
            ("server.data_dir", Some("server.data-dir")), // the habit of other programs
            ("hostname", Some("server.hostname")),        // no section
            ("server.lifetime", Some("queue.lifetime")),  // wrong section
            ("server.colour", None),                      // nothing like it
        ] {
            assert_eq!(nearest(wrong, known.into_iter()), right, "{wrong}");
        }
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
