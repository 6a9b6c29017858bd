//! What the command reads from and writes to, as values, so that tests take their place.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal as _, Read, Write};
use std::pin::Pin;
use std::time::SystemTime;

use console::Term;

use time::OffsetDateTime;

/// Reads a variable of the environment.
pub type Environment<'a> = dyn Fn(&str) -> Option<OsString> + Send + Sync + 'a;

/// Asks the person at the terminal.
pub trait Ask: Send {
    /// Asks for a line that may be seen.
    fn line(&mut self, question: &str) -> io::Result<String>;
    /// Asks for a line that is not shown while it is typed.
    fn secret(&mut self, question: &str) -> io::Result<String>;
}

impl Ask for Term {
    fn line(&mut self, question: &str) -> io::Result<String> {
        self.write_str(question)?;
        self.read_line()
    }

    fn secret(&mut self, question: &str) -> io::Result<String> {
        self.write_str(question)?;
        self.read_secure_line()
    }
}

/// The surroundings of one run of the command.
pub struct Io<'a> {
    /// Standard output: results, and nothing else.
    pub out: Box<dyn Write + Send + 'a>,
    /// Standard error: faults, warnings, hints.
    pub err: Box<dyn Write + Send + 'a>,
    /// Standard input: tokens, and files that are named `-`.
    pub input: Box<dyn Read + Send>,
    /// The person at the terminal; absent: nobody is there to be asked.
    pub person: Option<Box<dyn Ask + 'a>>,
    /// Resolves when the user wants the command to end (Ctrl-C). Only who polls it changes what Ctrl-C does.
    pub interrupt: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    /// Whether standard error is a terminal, where a progress bar can be drawn.
    pub lively: bool,
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
        let asked = console::user_attended() && io::stdin().is_terminal();
        let colour = coloured(terminal, environment);
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            input: Box::new(io::stdin()),
            person: asked.then(|| Box::new(Term::stderr()) as Box<dyn Ask>),
            interrupt: Box::pin(async {
                let _ = tokio::signal::ctrl_c().await;
            }),
            lively: io::stderr().is_terminal(),
            environment: Box::new(environment),
            now: now.into(),
            width: terminal
                .then(|| comfy_table::Table::new().width())
                .flatten(),
            colour,
        }
    }
}

/// Whether to use colour: `NO_COLOR` and `CLICOLOR=0` forbid it, `CLICOLOR_FORCE` demands it where no terminal is.
fn coloured(terminal: bool, environment: impl Fn(&str) -> Option<OsString>) -> bool {
    let is = |name: &str, accept: fn(&str) -> bool| {
        environment(name).is_some_and(|value| value.to_str().is_some_and(accept))
    };
    if is("NO_COLOR", |value| !value.is_empty()) {
        return false;
    }
    if is("CLICOLOR_FORCE", |value| !value.is_empty() && value != "0") {
        return true;
    }
    terminal && !is("CLICOLOR", |value| value == "0")
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
        /// What a person answers, question by question; none: nobody is there.
        pub(crate) answers: Option<Vec<&'static str>>,
        /// Interrupts the command when it resolves.
        pub(crate) interrupt: Option<tokio::sync::oneshot::Receiver<()>>,
    }

    /// A person who answers what a test has written down.
    struct Scripted(Vec<&'static str>);

    impl Ask for Scripted {
        fn line(&mut self, _: &str) -> io::Result<String> {
            Ok(self.0.remove(0).to_owned())
        }

        fn secret(&mut self, question: &str) -> io::Result<String> {
            self.line(question)
        }
    }

    impl Captured {
        /// An `Io` at 2026-01-01T00:00:00Z that is no terminal.
        pub(crate) fn io(&mut self) -> Io<'_> {
            let environment = &self.environment;
            let interrupt = self.interrupt.take();
            Io {
                out: Box::new(&mut self.out),
                err: Box::new(&mut self.err),
                input: Box::new(io::Cursor::new(self.input.clone())),
                person: self
                    .answers
                    .clone()
                    .map(|answers| Box::new(Scripted(answers)) as Box<dyn Ask>),
                interrupt: Box::pin(async {
                    if let Some(wanted) = interrupt
                        && wanted.await.is_ok()
                    {
                        return;
                    }
                    std::future::pending().await
                }),
                lively: false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_terminal_and_the_wishes_of_its_user() {
        for (terminal, set, colour) in [
            (true, None, true),
            (false, None, false),
            (true, Some(("NO_COLOR", "1")), false),
            (true, Some(("NO_COLOR", "")), true),
            (true, Some(("CLICOLOR", "0")), false),
            (true, Some(("CLICOLOR", "1")), true),
            (false, Some(("CLICOLOR", "1")), false),
            (false, Some(("CLICOLOR_FORCE", "1")), true),
            (false, Some(("CLICOLOR_FORCE", "0")), false),
        ] {
            let environment = |name: &str| {
                set.filter(|(n, _)| *n == name)
                    .map(|(_, value)| OsString::from(value))
            };
            assert_eq!(
                coloured(terminal, environment),
                colour,
                "{terminal} {set:?}"
            );
        }
        let both = |name: &str| {
            ["NO_COLOR", "CLICOLOR_FORCE"]
                .contains(&name)
                .then(|| "1".into())
        };
        assert!(!coloured(true, both));
    }
}
