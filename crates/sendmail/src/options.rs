//! The flags of sendmail(1), read as Postfix reads them.

use mail_types::{BodyType, Ret};

use crate::Failure;

/// What the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-b`.
    pub mode: Mode,
    /// `-t`: recipients are in the header.
    pub recipients_in_header: bool,
    /// `-i`: a line with only a dot does not end the message.
    pub ignore_dots: bool,
    /// `-f`, `-r`: the envelope sender.
    pub sender: Option<String>,
    /// `-F`.
    pub full_name: Option<String>,
    /// `-B`.
    pub body: Option<BodyType>,
    /// `-N`.
    pub notify: Option<Notify>,
    /// `-R`.
    pub ret: Option<Ret>,
    /// `-V`.
    pub envid: Option<String>,
    /// `-v`: prints what the listener answered.
    pub verbose: bool,
    /// `--server`: the listener's address and port.
    pub server: Option<String>,
    /// `--config`.
    pub config: Option<String>,
    /// What stands behind the flags.
    pub recipients: Vec<String>,
}

/// What is on standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `-bm`: a message.
    #[default]
    Message,
    /// `-bs`: SMTP.
    Smtp,
}

/// `-N`, as RFC 3461 section 4.1 writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify(pub(crate) String);

impl Options {
    /// Reads what stands behind the program's name.
    ///
    /// # Errors
    /// A flag that nobody knows, one that is not for this program, or a value that is wrong.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                options.recipients.extend(arguments);
                return Ok(options);
            }
            if let Some(name) = argument.strip_prefix("--") {
                options.long(name, &mut arguments)?;
                continue;
            }
            match argument.strip_prefix('-') {
                Some(flags) if !flags.is_empty() => options.short(flags, &mut arguments)?,
                _ => options.recipients.push(argument),
            }
        }
        Ok(options)
    }

    fn long(&mut self, name: &str, rest: &mut dyn Iterator<Item = String>) -> Result<(), Failure> {
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let value = value.or_else(|| rest.next());
        let value = value.ok_or_else(|| Failure::usage(format!("--{name} needs a value")));
        match name {
            "server" => self.server = Some(value?),
            "config" => self.config = Some(value?),
            _ => return Err(unknown(&format!("--{name}"))),
        }
        Ok(())
    }

    /// One argument of flags, of which the last may have a value.
    fn short(
        &mut self,
        flags: &str,
        rest: &mut dyn Iterator<Item = String>,
    ) -> Result<(), Failure> {
        let mut chars = flags.chars();
        while let Some(flag) = chars.next() {
            if !WITH_VALUE.contains(flag) {
                self.plain(flag, chars.as_str())?;
                if OPTIONAL_VALUE.contains(flag) {
                    return Ok(());
                }
                continue;
            }
            let value = match chars.as_str() {
                "" => rest.next(),
                value => Some(value.to_owned()),
            };
            let value = value.ok_or_else(|| Failure::usage(format!("-{flag} needs a value")))?;
            return self.with_value(flag, value);
        }
        Ok(())
    }

    fn plain(&mut self, flag: char, behind: &str) -> Result<(), Failure> {
        match flag {
            't' => self.recipients_in_header = true,
            'i' => self.ignore_dots = true,
            'v' => self.verbose = true,
            'I' => return Err(other_program("-I", "there is no alias database")),
            'q' if behind.is_empty() => {
                return Err(other_program(
                    "-q",
                    "`sealpost queue retry --all` tries all mail now",
                ));
            }
            // What other mailers do with them is done anyway, or is nobody's business here.
            'q' | 'd' | 'G' | 'U' | 'm' | 'n' | 'c' | 's' | 'w' | 'x' => {}
            _ => return Err(unknown(&format!("-{flag}"))),
        }
        Ok(())
    }

    fn with_value(&mut self, flag: char, value: String) -> Result<(), Failure> {
        match flag {
            'f' | 'r' => self.sender = Some(value),
            'F' => self.full_name = Some(value),
            'V' => self.envid = Some(value),
            'B' => {
                self.body = Some(match value.to_ascii_lowercase().as_str() {
                    "7bit" => BodyType::SevenBit,
                    "8bitmime" => BodyType::EightBit,
                    _ => return Err(wrong("-B", &value, "7BIT or 8BITMIME")),
                });
            }
            'R' => {
                self.ret = Some(match value.to_ascii_lowercase().as_str() {
                    "full" => Ret::Full,
                    "hdrs" => Ret::Headers,
                    _ => return Err(wrong("-R", &value, "full or hdrs")),
                });
            }
            'N' => self.notify = Some(Notify::parse(&value)?),
            'b' => {
                self.mode = match value.as_str() {
                    "m" => Mode::Message,
                    "s" => Mode::Smtp,
                    "p" => return Err(other_program("-bp", "see `sealpost queue list`")),
                    "i" => return Err(other_program("-bi", "there is no alias database")),
                    "d" | "D" | "l" => {
                        return Err(other_program("-bd", "`sealpost serve` is the daemon"));
                    }
                    _ => return Err(unknown(&format!("-b{value}"))),
                };
            }
            'o' => match value.as_str() {
                "i" => self.ignore_dots = true,
                "7" => self.body = Some(BodyType::SevenBit),
                "8" => self.body = Some(BodyType::EightBit),
                // Error modes, alias files and the like: as Postfix does.
                _ => {}
            },
            // -A -C -D -e -h -L -M -O -p -X: accepted for the programs that give them.
            _ => {}
        }
        Ok(())
    }
}

impl Notify {
    fn parse(value: &str) -> Result<Self, Failure> {
        let words: Vec<String> = value
            .split(',')
            .map(|w| w.trim().to_ascii_uppercase())
            .collect();
        let known = |w: &String| matches!(w.as_str(), "SUCCESS" | "FAILURE" | "DELAY");
        let never = matches!(words.as_slice(), [one] if one == "NEVER");
        if never || words.iter().all(known) {
            return Ok(Self(words.join(",")));
        }
        Err(wrong(
            "-N",
            value,
            "never, or some of success, failure and delay",
        ))
    }
}

fn unknown(flag: &str) -> Failure {
    Failure::usage(format!("{flag} is not a flag of this sendmail"))
}

fn wrong(flag: &str, value: &str, want: &str) -> Failure {
    Failure::usage(format!("{flag} {value:?}: give {want}"))
}

fn other_program(flag: &str, instead: &str) -> Failure {
    Failure::usage(format!("{flag} is not done here: {instead}"))
}

const WITH_VALUE: &str = "ABCDFLMNORVXbefhopr";
/// The rest of the argument is their value, if they have one.
const OPTIONAL_VALUE: &str = "dq";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;

    fn parse(line: &str) -> Result<Options, Failure> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_usual_calls() {
        let options = parse("-t -oi").unwrap();
        assert!(options.recipients_in_header && options.ignore_dots);
        let options = parse("-ti -fme@d.test a@d.test b@d.test").unwrap();
        assert!(options.recipients_in_header && options.ignore_dots);
        assert_eq!(options.sender.as_deref(), Some("me@d.test"));
        assert_eq!(options.recipients, ["a@d.test", "b@d.test"]);
        let options = parse("-i -FCronDaemon -B8BITMIME -oem -r me -- -odd@d.test").unwrap();
        assert_eq!(options.full_name.as_deref(), Some("CronDaemon"));
        assert_eq!(options.body, Some(BodyType::EightBit));
        assert_eq!(
            (options.sender.as_deref(), options.recipients[0].as_str()),
            (Some("me"), "-odd@d.test")
        );
        let options = parse("-N success,Failure -R hdrs -V env+1 -bs").unwrap();
        assert_eq!(options.notify, Some(Notify("SUCCESS,FAILURE".into())));
        assert_eq!(
            (options.ret, options.mode),
            (Some(Ret::Headers), Mode::Smtp)
        );
        assert_eq!(options.envid.as_deref(), Some("env+1"));
        let options = parse("--server 127.0.0.1:25 --config=x.toml -v a@d.test").unwrap();
        assert_eq!(options.server.as_deref(), Some("127.0.0.1:25"));
        assert!(options.verbose && options.config.as_deref() == Some("x.toml"));
    }

    #[test]
    fn flags_of_old_are_ignored() {
        let line = "-A c -C /etc/x -G -h 3 -L label -m -n -O a=b -o7 -oA/x -p proto -U -X log -x -q30m -d0.1 -e m";
        let options = parse(&format!("{line} a@d.test")).unwrap();
        assert_eq!(options.recipients, ["a@d.test"]);
        assert_eq!(options.body, Some(BodyType::SevenBit));
    }

    #[test]
    fn what_is_wrong_is_a_usage_error() {
        for line in [
            "-Z",
            "-f",
            "-N sometimes",
            "-R half",
            "-B 9bit",
            "-bp",
            "-bd",
            "-bv",
            "-I",
            "-q",
            "--what x",
            "--server",
        ] {
            assert_eq!(parse(line).unwrap_err().exit, Exit::Usage, "{line}");
        }
    }
}
