//! Lines for people: aligned, wrapped, in colour on a terminal only.

use std::io::{IsTerminal, Write as _};

/// Standard output.
pub(crate) struct Screen {
    colour: bool,
}

/// How a word is shown on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none();
        Self {
            colour: wanted && std::io::stdout().is_terminal(),
        }
    }

    /// One line.
    pub(crate) fn line(&self, ink: Ink, text: &str) {
        self.put(&format!("{}\n", self.paint(ink, text)));
    }

    /// Text in lines of at most [`WIDTH`], each indented.
    pub(crate) fn wrapped(&self, ink: Ink, indent: usize, text: &str) {
        for line in wrap(text, WIDTH.saturating_sub(indent)) {
            let line = format!("{:indent$}{line}", "");
            self.line(ink, line.trim_end());
        }
    }

    /// What a command printed: tables as they are, sentences wrapped.
    pub(crate) fn block(&self, text: &str) {
        for line in text.trim_end().lines() {
            if line.contains("  ") {
                self.put(&format!("    {line}\n"));
            } else {
                self.wrapped(Ink::Plain, 4, line);
            }
        }
    }

    /// Text with colour, if there is any.
    pub(crate) fn paint(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Plain => return text.to_owned(),
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Green => "32",
            Ink::Yellow => "33",
            Ink::Red => "31",
        };
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A reader who has gone away (`| head`) is no failure.
    pub(crate) fn put(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else {
            continue;
        };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

const WIDTH: usize = 104;

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrap("aa bb  cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("a-very-long-word b", 5), ["a-very-long-word", "b"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
