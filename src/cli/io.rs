//! What the command reads from and writes to, as values, so that tests take their place.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal as _, Read, Write};
use std::time::SystemTime;

use time::OffsetDateTime;

/// Reads a variable of the environment.
pub type Environment<'a> = dyn Fn(&str) -> Option<OsString> + Send + Sync + 'a;

/// The surroundings of one run of the command.
pub struct Io<'a> {
    /// Standard output: results, and nothing else.
    pub out: Box<dyn Write + Send + 'a>,
    /// Standard error: faults, warnings, hints.
    pub err: Box<dyn Write + Send + 'a>,
    /// Standard input: tokens.
    pub input: Box<dyn Read + Send + 'a>,
    /// Reads a variable of the environment.
    pub environment: Box<Environment<'a>>,
    /// The moment the command started.
    pub now: OffsetDateTime,
    /// Columns of the terminal; absent: output is no terminal, and rows are never wrapped.
    pub width: Option<u16>,
    /// Whether to use colour.
    pub colour: bool,
}

impl Io<'static> {
    /// Those of the process.
    pub fn standard() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "here the command takes clock and environment from the process; all else has them from here"
        )]
        let (now, environment) = (SystemTime::now(), |name: &str| std::env::var_os(name));
        let terminal = io::stdout().is_terminal();
        let no_colour = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            input: Box::new(io::stdin()),
            environment: Box::new(environment),
            now: now.into(),
            width: terminal
                .then(|| comfy_table::Table::new().width())
                .flatten(),
            colour: terminal && !no_colour,
        }
    }
}

impl Io<'_> {
    /// Writes a line of result.
    pub fn print(&mut self, line: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Writes a line for people beside the result. That nobody reads it is no fault.
    pub fn note(&mut self, line: impl fmt::Display) {
        let _unread = writeln!(self.err, "{line}");
    }
}

impl fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("now", &self.now)
            .field("width", &self.width)
            .field("colour", &self.colour)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! An [`Io`] that tests can look into.

    use super::*;

    /// What a test hears and says.
    #[derive(Default)]
    pub(crate) struct Captured {
        pub(crate) out: Vec<u8>,
        pub(crate) err: Vec<u8>,
        pub(crate) input: Vec<u8>,
        pub(crate) environment: Vec<(&'static str, String)>,
    }

    impl Captured {
        /// An `Io` at 2026-01-01T00:00:00Z that is no terminal.
        pub(crate) fn io(&mut self) -> Io<'_> {
            let environment = &self.environment;
            Io {
                out: Box::new(&mut self.out),
                err: Box::new(&mut self.err),
                input: Box::new(self.input.as_slice()),
                environment: Box::new(move |name| {
                    environment
                        .iter()
                        .find(|(n, _)| *n == name)
                        .map(|(_, value)| value.into())
                }),
                now: OffsetDateTime::from_unix_timestamp(1_767_225_600).unwrap(),
                width: None,
                colour: false,
            }
        }

        pub(crate) fn out(&self) -> String {
            String::from_utf8(self.out.clone()).unwrap()
        }

        pub(crate) fn err(&self) -> String {
            String::from_utf8(self.err.clone()).unwrap()
        }
    }
}
