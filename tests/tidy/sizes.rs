//! How long files and crates may be: what is longer has a second idea in it.

use std::collections::BTreeMap;

use crate::repository::{is_test, read, sources, without_tests};

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for path in sources() {
        let lines = read(&path).lines().count();
        if lines > LONGEST_FILE {
            long.push(format!("{lines} {path}"));
        }
    }
    assert!(
        long.is_empty(),
        "over {LONGEST_FILE} lines:\n{}",
        long.join("\n")
    );
}

#[test]
fn the_middle_file_is_about_a_screen_or_three() {
    let mut lengths: Vec<usize> = production()
        .map(|(_, text)| without_tests(&text).lines().count())
        .collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    assert!(median <= 170, "the median file has {median} lines");
}

#[test]
fn crates_hold_one_subject() {
    let mut crates: BTreeMap<String, usize> = BTreeMap::new();
    for (path, text) in production() {
        if let Some(name) = path.split('/').nth(1) {
            *crates.entry(name.to_owned()).or_default() += without_tests(&text).lines().count();
        }
    }
    assert!(crates.len() > 10, "{crates:?}");
    let mut long = Vec::new();
    for (name, lines) in crates {
        let exception = LARGER_CRATES.iter().find(|(larger, _)| *larger == name);
        let limit = exception.map_or(LARGEST_CRATE, |(_, lines)| *lines);
        if lines > limit {
            long.push(format!("{lines} {name} (at most {limit})"));
        }
    }
    assert!(
        long.is_empty(),
        "crates grow too large:\n{}",
        long.join("\n")
    );
}

#[test]
fn lib_files_declare_and_do_nothing() {
    for path in sources() {
        if !(path.starts_with("crates/") && path.ends_with("/src/lib.rs")) {
            continue;
        }
        let text = read(&path);
        for line in without_tests(&text).lines() {
            let words = line
                .trim_start_matches("pub ")
                .trim_start_matches("pub(crate) ");
            let starts = |word: &&&str| words.starts_with(**word);
            if let Some(word) = ITEMS.iter().find(starts) {
                panic!("{path}: {word:?} belongs in a module of its own");
            }
        }
    }
}

/// Sources of crates that are not tests as a whole.
fn production() -> impl Iterator<Item = (String, String)> {
    sources()
        .into_iter()
        .filter(|path| path.starts_with("crates/") && !is_test(path))
        .map(|path| {
            let text = read(&path);
            (path, text)
        })
}

/// Tests included.
const LONGEST_FILE: usize = 600;

/// "About 2,500", comments included and test modules not.
const LARGEST_CRATE: usize = 2750;

/// Larger ones and what they may have at most: these numbers go down, or a crate is split.
const LARGER_CRATES: [(&str, usize); 12] = [
    // With what is said in plain words of a message or a domain, and the API's description at its
    // handlers.
    // Pauses and the clock have routes of their own.
    // And the table of caps.
    // Readiness in two forms, pages of the summary.
    // What clients do wrong is counted by kind. Whose move it is, in all views.
    // What acts runs to its end. Refusals quote, filters are read strictly, and suspensions are told in words.
    // Each recipient and each host with what became of it.
    // What is kept back with its destination, what an exemption would change, every host and cause in a letter.
    // Metrics in two formats, and when mail is tried that is looked at before.
    ("admin", 4850),
    ("audit", 2830),
    // With what parks, pauses and limits, and what spares a busy worker work; it wants to be split.
    // And who is to blame. What earlier attempts found is told of mail that has no other.
    // Who stands aside for other hosts' mail, who takes no more sessions, which message was ordered.
    // Resolvers that are doubted, and outcomes that come too late.
    ("delivery", 11_450),
    // An owner may have its order kept where a full disk refuses.
    // What the disk does not give keeps nobody from the rest.
    // Directories are kept open for a process without descriptors.
    ("journal", 5450),
    // Some 700 lines of it are the suite that every store has to pass.
    // With the suite that other stores run (feature `conformance`).
    // The schedule, which knows all counts, would be a crate of its own.
    // What a full disk refuses is kept in order, whatever it is, and compaction keeps to that order.
    // The history knows recipients and hosts. What is returned comes before all others.
    // The index is written anew; what only it knows of is named and kept.
    // Whose move it is, for one message and in all counts.
    // What it cannot write is told by what is wanting: space, descriptors, room before the writer.
    // What it keeps by keys is values in memory.
    ("outbound-queue", 11_070),
    // With the index, the second copy of the store, since the design asks for it.
    // What only our own limits keep from being fetched, and what was forgotten while it was fetched.
    // Doubted clocks, and looks that outlive an order to forget.
    // With the end of a doubt, and what is waited for then.
    ("policy-cache", 5700),
    // Also the listeners' certificates, sockets, checks and limits are put together here.
    // With clocks and watchdog. Traces would be a crate of their own.
    // With what a reload changes of the listeners, and memory of the control group.
    // With terms of each listener's own, and identities held against the users.
    // What clients do wrong is counted by kind. OTLP's own client.
    // And who notices that no name server answers.
    // Certificates that come with a reload whatever else waits for a restart, and who cannot log in.
    // What of a retry is not tried.
    // Names and files of the commands are looked at before anything is written.
    // What the log lost, and what only the page told.
    // A reload that was refused, and what waits for a restart.
    ("sealpost", 10_150),
    // Maintenance and greeting of listeners.
    // And which networks are too wide to be anybody's own, alone or together.
    // Names that are nobody's, files that users may not read, directories that nobody makes.
    // What is wrong in the environment with its variable, all at once; limits below the RFC's.
    ("settings", 6340),
    ("smtp-client", 4500),
    // Both halves of SASL; the server's session wants splitting from the client's.
    // The header of the PROXY protocol is parsed here too.
    // And what clients say that they may not.
    // What is plain passes a shorter way.
    ("smtp-proto", 7600),
    // With the ports for mail and for logins, and what identities may do.
    // With what a reload changes.
    // One timer a session.
    // Client certificates that are listed themselves, and what failed handshakes mean.
    ("smtp-server", 3_620),
    ("testkit", 3250),
];

const ITEMS: [&str; 8] = [
    "fn ",
    "async fn ",
    "const fn ",
    "struct ",
    "enum ",
    "impl ",
    "impl<",
    "trait ",
];
