//! Threads that do not get on: strace keeps them at their next system call, as a hung disk or a lock
//! that nobody gives back would.

use std::process::Command;
use std::time::Duration;

use sealpost_tests::{Daemon, eventually, program};

use crate::load::Session;
use crate::mounts::own_processes;
use crate::peers::Peers;
use crate::site::{Site, Started};

testkit::net_test! {
    async fn h7_09_a_relay_that_stands_still_says_so_and_ends_and_nothing_is_lost() {
        own_processes();
        let peers = Peers::start().await;
        let site = Site::new(&Peers::config());
        let Started::Serving(mut daemon) = site.settled(site.spawn(&[])).await else {
            panic!("no start:\n{}", site.story());
        };
        let mut session = Session::open().await.unwrap();
        assert_eq!(session.message("a@org.test", "before@d.test", BODY).await.unwrap().0, 250);
        let held = hold(daemon.id(), &site.path().join("strace.log"));
        // It stands still, and would do so for ever. What has ended waits for its threads, which strace
        // has in its hands.
        let stat = format!("/proc/{}/stat", daemon.id());
        let ended = eventually(Duration::from_secs(150), async || {
            let stat = std::fs::read_to_string(&stat).ok()?;
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')).then_some(())
        });
        assert_eq!(ended.await, Some(()), "{}", site.story());
        drop(held);
        let status = daemon.wait(Duration::from_secs(20)).await;
        assert_eq!(status.code(), Some(70), "{}", site.story());
        let told = site.events().into_iter().find(|e| {
            e.is("process.stalled") && e.text("part") == "scheduler"
        });
        let told = told.unwrap_or_else(|| panic!("{}", site.story()));
        assert_eq!(told.text("level"), "error", "{told}");
        let mut again = site.start().await;
        let taken = || peers.taken.messages().iter().any(|m| m.to[0].0 == "before@d.test");
        site.retried(Duration::from_secs(60), taken).await;
        again.kill();
    }
}

/// Keeps the threads of the runtime at their next call; the watch and the log are threads of their own.
fn hold(pid: u32, log: &std::path::Path) -> Vec<Daemon> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let workers: Vec<String> = tasks
        .filter_map(|task| {
            let path = task.ok()?.path();
            let name = std::fs::read_to_string(path.join("comm")).ok()?;
            let thread = path.file_name()?.to_str()?.to_owned();
            name.starts_with("tokio").then_some(thread)
        })
        .collect();
    assert!(!workers.is_empty());
    let strace = |thread: &String| {
        let mut command = Command::new(program("strace", "strace"));
        command.args([
            "-qq",
            "-e",
            "trace=all",
            "-e",
            "inject=all:delay_enter=600000000",
        ]);
        command.args(["-p", thread]);
        Daemon::start("strace", &mut command, log)
    };
    workers.iter().map(strace).collect()
}

const BODY: &[u8] = b"Subject: x\r\n\r\nHello.\r\n";
