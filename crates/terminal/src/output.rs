//! What the commands print: aligned tables, plain lines, JSON.

use mail_types::harmless;
use std::io::{self, IsTerminal, Write};

/// Standard output; no escape sequences unless it is a terminal, and never any of others.
pub struct Output {
    to: Box<dyn Write>,
    terminal: bool,
    bold: bool,
}

/// A table whose columns are as wide as their widest cell so far: pages of a long list go out as
/// they come.
pub struct Table {
    head: &'static [&'static str],
    widths: Vec<usize>,
    begun: bool,
}

/// The word in front of a line, in its colour on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Worth a look.
    Warning,
    /// Broken.
    Error,
    /// None: the line goes on from the one before.
    Nothing,
}

impl Output {
    /// Of this process.
    #[must_use]
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        // https://no-color.org: present and not empty.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            to: Box::new(io::BufWriter::new(stdout)),
            terminal,
            bold: terminal && !plain,
        }
    }

    /// Something else, for tests.
    #[must_use]
    pub fn to(to: Box<dyn Write>) -> Self {
        Self {
            to,
            terminal: false,
            bold: false,
        }
    }

    /// What somebody reads on a screen: there no cell of a list is wider than this. A program that reads on
    /// gets all of it.
    pub fn cut(&self, text: &str, width: usize) -> String {
        match text.char_indices().nth(width) {
            Some(_) if self.terminal => {
                let kept = text.chars().take(width.saturating_sub(1));
                kept.chain(std::iter::once('…')).collect()
            }
            _ => text.to_owned(),
        }
    }

    /// Columns of the terminal, if it is one and tells.
    pub fn columns(&self) -> Option<usize> {
        let size = self
            .terminal
            .then(|| rustix::termios::tcgetwinsize(io::stdout()));
        let columns = usize::from(size?.ok()?.ws_col);
        (columns > 0).then_some(columns)
    }

    /// One line of text.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.to, "{}", printable(text))
    }

    /// `name: value`, aligned for names of up to 14 characters; nothing if there is no value.
    pub fn field(&mut self, name: &str, value: Option<&str>) -> io::Result<()> {
        match value {
            Some(value) => writeln!(self.to, "{name:<15} {}", printable(value)),
            None => Ok(()),
        }
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = printable(text);
        match self.bold {
            true => writeln!(self.to, "\u{1b}[1m{text}\u{1b}[0m"),
            false => writeln!(self.to, "{text}"),
        }
    }

    /// A mark and a text behind it, folded to lines that begin in the same column.
    pub fn marked(&mut self, mark: Mark, text: &str) -> io::Result<()> {
        let (word, colour) = mark.word_and_colour();
        for (n, line) in fold(&printable(text), TEXT_WIDTH).iter().enumerate() {
            match (n, self.bold) {
                (0, true) => writeln!(self.to, "  \u{1b}[{colour}m{word:<8}\u{1b}[0m {line}")?,
                (0, false) => writeln!(self.to, "  {word:<8} {line}")?,
                _ => writeln!(self.to, "           {line}")?,
            }
        }
        Ok(())
    }

    /// A text under a heading: indented, folded on a terminal, whole for a program that reads on.
    pub fn paragraph(&mut self, text: &str) -> io::Result<()> {
        let text = printable(text);
        let width = if self.terminal {
            TEXT_WIDTH
        } else {
            usize::MAX
        };
        for line in fold(&text, width) {
            writeln!(self.to, "  {line}")?;
        }
        Ok(())
    }

    /// One JSON value on one line.
    pub fn json(&mut self, value: &serde_json::Value) -> io::Result<()> {
        writeln!(self.to, "{value}")
    }

    /// Everything is written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Table {
    /// With the names of its columns.
    #[must_use]
    pub fn new(head: &'static [&'static str]) -> Self {
        Self {
            head,
            widths: head.iter().map(|name| name.chars().count()).collect(),
            begun: false,
        }
    }

    /// Prints more rows, after the head if they are the first.
    pub fn rows(&mut self, out: &mut Output, rows: &[Vec<String>]) -> io::Result<()> {
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| printable(cell)).collect())
            .collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        if !self.begun && !rows.is_empty() {
            self.begun = true;
            let head: Vec<String> = self.head.iter().map(|&name| name.to_owned()).collect();
            let line = self.aligned(&head);
            match out.bold {
                true => writeln!(out.to, "\u{1b}[1m{line}\u{1b}[0m")?,
                false => writeln!(out.to, "{line}")?,
            }
        }
        for row in &rows {
            writeln!(out.to, "{}", self.aligned(row))?;
        }
        Ok(())
    }

    fn aligned(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (n, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            if n > 0 {
                line.push_str("  ");
            }
            line.push_str(cell);
            let padding = width.saturating_sub(cell.chars().count());
            line.extend(std::iter::repeat_n(' ', padding));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl Mark {
    const fn word_and_colour(self) -> (&'static str, u8) {
        match self {
            Self::Good => ("ok", 32),
            Self::Note => ("note", 36),
            Self::Warning => ("warning", 33),
            Self::Error => ("ERROR", 31),
            Self::Nothing => ("", 0),
        }
    }
}

/// Lines of at most `width` characters, broken at blanks; a longer word has a line of its own.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        let fits = line.chars().count() + 1 + word.chars().count() <= width;
        if line.is_empty() {
            line.push_str(word);
        } else if fits {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A time without its fraction: `2026-03-01T12:00:00Z`.
pub fn time(text: &str) -> String {
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text.to_owned(),
    }
}

/// `45s`, `12m`, `4h 10m`, `3d 2h`.
#[must_use]
pub fn age(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match (hours / 24, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h {}m", minutes % 60),
        (days, hours, _) => format!("{days}d {}h", hours % 24),
    }
}

/// `1 message`, `2 messages`.
pub fn messages(count: u64) -> String {
    match count {
        1 => "1 message".to_owned(),
        n => format!("{n} messages"),
    }
}

/// A value, or a dash.
pub fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// Peers' replies and senders' addresses steer no terminal.
fn printable(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// Of marked text; with the mark a line has 100 characters at most.
const TEXT_WIDTH: usize = 89;

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn columns_are_aligned_and_control_characters_are_not_printed() {
        let written = Shared::default();
        let mut out = Output::to(Box::new(written.clone()));
        let mut table = Table::new(&["ID", "TO"]);
        let row = |id: &str, to: &str| vec![id.to_owned(), to.to_owned()];
        table.rows(&mut out, &[]).unwrap();
        table
            .rows(
                &mut out,
                &[row("1", "ä@example"), row("22222", "\u{1b}[2J")],
            )
            .unwrap();
        table.rows(&mut out, &[row("3", "-")]).unwrap();
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "ID     TO\n1      ä@example\n22222  ?[2J\n3      -\n");
    }

    #[test]
    fn long_lines_are_folded_under_their_mark() {
        assert_eq!(fold("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(fold("longer-than-that x", 5), ["longer-than-that", "x"]);
        let written = Shared::default();
        let mut out = Output::to(Box::new(written.clone()));
        out.heading("Record").unwrap();
        let long = "word ".repeat(20);
        out.marked(Mark::Warning, long.trim_end()).unwrap();
        out.marked(Mark::Nothing, "so").unwrap();
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "Record");
        assert!(lines[1].starts_with("  warning  word"), "{text}");
        assert!(lines[2].starts_with("           word"), "{text}");
        assert_eq!(lines[3], "           so");
    }

    #[test]
    fn long_cells_are_cut_on_a_terminal_only() {
        let mut out = Output::to(Box::new(Shared::default()));
        assert_eq!(out.cut("abcdef", 5), "abcdef");
        out.terminal = true;
        assert_eq!(out.cut("abcdef", 5), "abcd…");
        assert_eq!(out.cut("äbcde", 5), "äbcde");
    }

    #[test]
    fn ages_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (15_000, "4h 10m"),
            (86_400, "1d 0h"),
            (266_400, "3d 2h"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn times_lose_their_fraction() {
        assert_eq!(time("2026-03-01T12:00:00.250Z"), "2026-03-01T12:00:00Z");
        assert_eq!(time("2026-03-01T12:00:00Z"), "2026-03-01T12:00:00Z");
    }
}
