//! `sealpost man`: the manual pages, from the definition of the command line.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::exit::{Failure, Status};

/// The main page to standard output, or every page into a directory.
pub(super) fn run(directory: Option<&Path>) -> anyhow::Result<Status> {
    let mut command = Cli::command();
    command.build();
    let Some(directory) = directory else {
        std::io::stdout().write_all(&page(&command, "sealpost")?)?;
        return Ok(Status::Ok);
    };
    let mut pages = Vec::new();
    collect(&command, "sealpost", &mut pages)?;
    let refuse = |e: std::io::Error| {
        let message = format!("{} cannot be written to: {e}", directory.display());
        Failure::new(Status::CannotCreate, message)
    };
    fs::create_dir_all(directory).map_err(refuse)?;
    for (name, text) in &pages {
        fs::write(directory.join(format!("{name}.1")), text).map_err(refuse)?;
    }
    println!("{} pages in {}", pages.len(), directory.display());
    Ok(Status::Ok)
}

/// `sealpost-queue-list` and the like, depth first.
fn collect(
    command: &clap::Command,
    name: &str,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    pages.push((name.to_owned(), page(command, name)?));
    for below in command.get_subcommands().filter(|c| c.get_name() != "help") {
        collect(below, &format!("{name}-{}", below.get_name()), pages)?;
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str) -> std::io::Result<Vec<u8>> {
    // The list of built-in roots would fill the page's last line.
    let has_commands = command.has_subcommands();
    let command = command
        .clone()
        .display_name(name.to_owned())
        .version(env!("CARGO_PKG_VERSION"))
        .long_version(None)
        .max_term_width(0);
    let man = Man::new(command)
        .title(name.to_uppercase())
        .manual("Sealpost")
        .source(concat!("sealpost ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_commands {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend_from_slice(if name == "sealpost" { TAIL } else { SEE_ALSO }.as_bytes());
    Ok(text)
}

const TAIL: &str = r#".SH "EXIT STATUS"
As in sysexits(3).
.TP
0
It worked.
.TP
1
\fBcheck\fR has found something broken.
.TP
64, 65
The command line is wrong, or the value of an option is none that it can have; what the command names is wrong or is not there.
.TP
69
The relay is not reachable at its control socket, or this version does not do that.
.TP
71
\fBserve\fR cannot have a port: somebody else listens on it, or it needs a privilege.
.TP
73, 74
A file cannot be made, or the disk fails.
.TP
75
Not now, for instance while the relay is still starting: try again later.
.TP
78
The configuration is wrong.
.SH FILES
.TP
\fI/etc/sealpost/sealpost.toml\fR
The configuration; \fBsealpost check\-config\fR checks it.
.TP
\fI/var/lib/sealpost\fR
Queue and policies (\fIserver.data\-dir\fR).
.TP
\fI/run/sealpost/control.sock\fR
Where the commands reach the relay (\fIadmin.socket\fR).
.SH ENVIRONMENT
.TP
\fBSEALPOST__SECTION__KEY\fR
Takes the place of \fIsection.key\fR in the configuration.
.TP
\fBNO_COLOR\fR
No colours on terminals.
.SH "SEE ALSO"
sendmail(1), systemd.service(5)
"#;

const SEE_ALSO: &str = ".SH \"SEE ALSO\"\nsealpost(1)\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_names_itself() {
        let mut command = Cli::command();
        command.build();
        let mut pages = Vec::new();
        collect(&command, "sealpost", &mut pages).unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["sealpost", "sealpost-queue", "sealpost-queue-list"] {
            assert!(names.contains(&name), "{names:?}");
        }
        for (name, text) in &pages {
            let text = String::from_utf8(text.clone()).unwrap();
            let first = text.lines().find(|l| l.starts_with(".TH")).unwrap();
            assert!(first.contains(&name.to_uppercase()), "{first}");
            // What a page begins with: its name, a dash, what it does.
            let about = text.split(".SH NAME\n").nth(1).unwrap();
            let about = about.lines().next().unwrap().replace('\\', "");
            assert!(about.starts_with(&format!("{name} - ")), "{about}");
        }
    }
}
