//! Memory of the control group that we run in (a unit's `MemoryMax`, a container's limit): when
//! little of it is left no new mail is taken, before the kernel ends the process (row H9-04).
//!
//! What counts is memory that the kernel cannot take back: pages of files do not, of which a busy
//! queue always has as many as it is let. Limits of the groups above count as well.

use std::path::{Path, PathBuf};

/// What there is of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Octets that cannot be taken back.
    pub used: u64,
    /// Octets that there may be.
    pub limit: u64,
}

/// A change for those who take mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// Take no more.
    Scarce(Usage),
    /// There is enough again.
    Enough(Usage),
}

/// Looks at the groups, and remembers what it said.
#[derive(Debug)]
pub struct Pressure {
    groups: Vec<Group>,
    scarce: bool,
    /// Looks that may be left out: it was far from scarce.
    calm: u32,
}

#[derive(Debug)]
struct Group {
    folder: PathBuf,
    version: &'static Version,
}

/// How a version of control groups names things.
#[derive(Debug)]
struct Version {
    limit: &'static str,
    /// Of `memory.stat`, with what is in the groups below.
    used: &'static str,
}

impl Pressure {
    /// The groups of this process; none where the system has none.
    pub fn of_this_process() -> Self {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::find(&groups, Path::new("/sys/fs/cgroup"))
    }

    /// From the text of `/proc/self/cgroup`, and where the groups are mounted.
    fn find(text: &str, mounted: &Path) -> Self {
        let mut groups = Vec::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let (top, version) = match controllers {
                "" => (mounted.to_owned(), &SECOND),
                _ if controllers.split(',').any(|c| c == "memory") => {
                    (mounted.join("memory"), &FIRST)
                }
                _ => continue,
            };
            let below = top.join(path.trim_start_matches('/'));
            // Its own, and all above; in a container the path may be one of the host's.
            let folders = below.ancestors().take_while(|f| f.starts_with(&top));
            groups.extend(folders.map(|folder| Group {
                folder: folder.to_owned(),
                version,
            }));
        }
        // A limit may also come later.
        groups.retain(|group| group.folder.join("memory.stat").exists());
        Self {
            groups,
            scarce: false,
            calm: 0,
        }
    }

    /// Looks; says so if it is another case than the last time.
    pub fn look(&mut self) -> Option<Turn> {
        if self.calm > 0 {
            self.calm -= 1;
            return None;
        }
        let usages = self.groups.iter().filter_map(Group::usage);
        let worst = usages.max_by_key(|u| u.percent());
        if worst.is_none_or(|u| u.percent() < CALM) {
            self.calm = LEFT_OUT;
        }
        let worst = worst?;
        let scarce = match self.scarce {
            false => worst.percent() >= SCARCE,
            true => worst.percent() > ENOUGH,
        };
        if scarce == self.scarce {
            return None;
        }
        self.scarce = scarce;
        Some(if scarce {
            Turn::Scarce(worst)
        } else {
            Turn::Enough(worst)
        })
    }
}

impl Usage {
    fn percent(self) -> u64 {
        self.used.saturating_mul(100) / self.limit.max(1)
    }
}

impl Group {
    /// `None` if it has no limit, or is not to be seen.
    fn usage(&self) -> Option<Usage> {
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name)).ok();
        let limit = read(self.version.limit)?.trim().parse().ok()?;
        // The first version writes "no limit" as nearly 2^63.
        if limit >= NO_LIMIT {
            return None;
        }
        let stat = read("memory.stat")?;
        let used = stat.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == self.version.used).then(|| value.parse().ok())?
        })?;
        Some(Usage { used, limit })
    }
}

const FIRST: Version = Version {
    limit: "memory.limit_in_bytes",
    used: "total_rss",
};
const SECOND: Version = Version {
    limit: "memory.max",
    used: "anon",
};
const NO_LIMIT: u64 = 1 << 62;
/// Percent of the limit from which on no mail is taken, and below which it is taken again.
const SCARCE: u64 = 90;
const ENOUGH: u64 = 80;
/// Percent below which every fifth look is enough.
const CALM: u64 = 50;
const LEFT_OUT: u32 = 4;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn h9_04_scarce_at_90_percent_and_enough_below_80() {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("system.slice/sealpost.service");
        write(&unit, "memory.max", "1000\n");
        write(&unit, "memory.stat", "anon 500\nfile 480\n");
        let mut pressure = Pressure::find("0::/system.slice/sealpost.service\n", root.path());
        assert_eq!(pressure.look(), None, "files do not count");
        write(&unit, "memory.stat", "anon 490\n");
        assert_eq!(pressure.look(), None);
        write(&unit, "memory.stat", "anon 850\n");
        for _ in 0..=LEFT_OUT {
            assert_eq!(pressure.look(), None);
        }
        let said: Vec<_> = [899, 900, 950, 810, 800, 850, 901]
            .into_iter()
            .map(|used| {
                write(&unit, "memory.stat", &format!("anon {used}\nfile 0\n"));
                pressure.look()
            })
            .collect();
        let usage = |used| Usage { used, limit: 1000 };
        assert_eq!(
            said,
            [
                None,
                Some(Turn::Scarce(usage(900))),
                None,
                None,
                Some(Turn::Enough(usage(800))),
                None,
                Some(Turn::Scarce(usage(901))),
            ]
        );
    }

    #[test]
    fn groups_above_and_the_first_version_count() {
        let root = tempfile::tempdir().unwrap();
        let memory = root.path().join("memory");
        write(&memory, "memory.limit_in_bytes", "9223372036854771712\n");
        write(&memory, "memory.stat", "total_rss 10\n");
        write(&memory.join("a"), "memory.limit_in_bytes", "100\n");
        write(&memory.join("a"), "memory.stat", "rss 0\ntotal_rss 95\n");
        write(&memory.join("a/b"), "memory.limit_in_bytes", "1000\n");
        write(&memory.join("a/b"), "memory.stat", "total_rss 95\n");
        let mut pressure = Pressure::find("3:cpu:/x\n4:memory:/a/b\n0::/\n", root.path());
        let usage = Usage {
            used: 95,
            limit: 100,
        };
        assert_eq!(pressure.look(), Some(Turn::Scarce(usage)));
    }

    #[test]
    fn without_a_limit_there_is_nothing_to_say() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "memory.max", "max\n");
        write(root.path(), "memory.stat", "anon 500\n");
        for text in ["", "0::/\n", "0::/gone\n", "nonsense"] {
            let mut pressure = Pressure::find(text, root.path());
            assert_eq!(pressure.look(), None, "{text}");
        }
    }
}
