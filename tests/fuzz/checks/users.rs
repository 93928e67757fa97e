//! Any text is a users file or a refusal with its line; what is read is written as it was read,
//! and nothing of a line's secrets is in the refusal.

use users::UsersFile;

pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match UsersFile::parse(text) {
        Ok(file) => {
            let written: String = file.users().map(|user| format!("{user}\n")).collect();
            let again = UsersFile::parse(&written).expect("what we wrote");
            let names = |file: &UsersFile| -> Vec<String> {
                file.users()
                    .map(|u| format!("{} {}", u.name.as_str(), u.has_scram()))
                    .collect()
            };
            assert_eq!(names(&again), names(&file));
            let twice: String = again.users().map(|user| format!("{user}\n")).collect();
            assert_eq!(twice, written);
        }
        Err((line, problem)) => {
            assert!(line >= 1 && line <= text.lines().count(), "{line}");
            assert!(!problem.chars().any(char::is_control), "{problem:?}");
        }
    }
}
