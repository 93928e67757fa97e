//! The command line, parsed.

use super::*;

use clap::CommandFactory as _;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn what_stands_behind_two_dashes_is_no_flag_of_sendmail() {
    for (line, arguments) in [
        ("sealpost sendmail -- -fx@a.test", "-- -fx@a.test"),
        ("sealpost sendmail -i -- -fx@a.test", "-i -- -fx@a.test"),
        ("sealpost sendmail -- -- x", "-- -- x"),
        ("sealpost sendmail -fx@a.test y", "-fx@a.test y"),
        ("sealpost --config c sendmail --", "--"),
        ("sealpost sendmail", ""),
    ] {
        let words = || line.split(' ').map(str::to_owned);
        let Command::Sendmail { arguments: parsed } = Cli::try_parse_from(words()).unwrap().command
        else {
            panic!("{line}")
        };
        assert_eq!(behind_name(parsed, words()).join(" "), arguments, "{line}");
    }
}

#[test]
fn filters_become_the_api_filter() {
    let line =
        "sealpost queue retry --sender <> --older 2h --attempts-over 3 --reason cert-expired";
    let cli = Cli::try_parse_from(line.split(' ')).unwrap();
    let Command::Queue(QueueCommand::Retry(selection)) = cli.command else {
        panic!("{cli:?}")
    };
    let filter = selection.filter.to_filter();
    assert_eq!(filter.sender.as_deref(), Some(""));
    assert_eq!(filter.older, Some(7200));
    assert_eq!(filter.attempts_over, Some(3));
    assert!(!filter.is_empty());
    assert!(
        FilterArgs::to_filter(&FilterArgs {
            domain: None,
            sender: None,
            recipient: None,
            reason: None,
            side: None,
            state: None,
            older: None,
            attempts_over: None
        })
        .is_empty()
    );
}

#[test]
fn ids_and_filters_are_not_said_together() {
    let id = "00000000001";
    for filter in [
        "--domain=d.test",
        "--sender=a@b.test",
        "--recipient=a@b.test",
        "--reason=connect",
        "--state=held",
        "--older=1h",
        "--attempts-over=1",
        "--all",
    ] {
        for command in ["retry", "hold", "release", "cancel", "bounce"] {
            let line = ["sealpost", "queue", command, id, filter];
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(
                error.kind(),
                clap::error::ErrorKind::ArgumentConflict,
                "{error}"
            );
            let line = ["sealpost", "queue", command, filter];
            assert!(Cli::try_parse_from(line).is_ok(), "{line:?}");
            // Nor would a filter be all.
            let line = ["sealpost", "queue", command, "--all", filter];
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}

#[test]
fn why_is_said_as_reason_or_because() {
    for line in [
        "policy exempt d.test --dangerous --until 7d",
        "policy pin d.test --mx mx.d.test",
        "queue pause d.test",
        "queue resume d.test",
        "clock accept",
        "report send",
    ] {
        for flag in ["--reason", "--because"] {
            let words = ["sealpost"].into_iter().chain(line.split(' '));
            let words = words.chain([flag, "they asked for it"]);
            assert!(Cli::try_parse_from(words).is_ok(), "{line} {flag}");
        }
    }
}

#[test]
fn a_limit_lets_something_through() {
    for command in ["list", "summary"] {
        let parse = |limit| Cli::try_parse_from(["sealpost", "queue", command, "--limit", limit]);
        assert!(parse("1").is_ok());
        for bad in ["0", "-1", "many"] {
            assert!(parse(bad).is_err(), "{command} {bad}");
        }
    }
}

#[test]
fn a_report_is_of_a_day() {
    for command in ["list", "show d.test", "send", "send d.test"] {
        let parse = |day| {
            let words = ["sealpost", "report"].into_iter().chain(command.split(' '));
            Cli::try_parse_from(words.chain(["--day", day]))
        };
        assert!(parse("2026-03-01").is_ok(), "{command}");
        for bad in ["2026-02-30", "yesterday", "1772323200"] {
            assert!(parse(bad).is_err(), "{command} {bad}");
        }
    }
}

#[test]
fn a_config_may_stand_anywhere() {
    for line in [
        "sealpost --config a.toml serve",
        "sealpost serve --config a.toml",
    ] {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(cli.config, Some("a.toml".into()), "{line}");
    }
}
