//! How far something long is: a bar on a terminal, else a line every ten seconds.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::cli::io::Io;

/// How often a line is written where no bar can be drawn.
const PERIOD: Duration = Duration::from_secs(10);

/// How far it is.
pub(in crate::cli) struct Progress {
    /// What is counted.
    noun: &'static str,
    bar: Option<ProgressBar>,
    size: Option<u64>,
    started: Instant,
    told: Instant,
}

impl Progress {
    /// Of `noun`s in a file of this many bytes, or in whatever else the work is measured. On a terminal a bar is drawn, on
    /// standard error.
    pub(in crate::cli) fn new(noun: &'static str, size: Option<u64>, lively: bool) -> Self {
        let now = Instant::now();
        let bar = lively.then(|| {
            let template = match size {
                Some(_) => "{bar:30} {percent:>3}%  {msg}  {eta} left",
                None => "{spinner}  {msg}  {elapsed}",
            };
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(Some(size.unwrap_or(0)), target);
            match ProgressStyle::with_template(template) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            noun,
            bar,
            size,
            started: now,
            told: now,
        }
    }

    /// Tells how far it is: so many items, so many bytes of the file.
    pub(in crate::cli) fn tell(&mut self, items: u64, bytes: u64, io: &mut Io<'_>) {
        let elapsed = self.started.elapsed();
        let message = format!(
            "{} {} ({}/s)",
            grouped(items),
            self.noun,
            grouped(rate(items, elapsed))
        );
        if let Some(bar) = &self.bar {
            bar.set_message(message);
            match self.size {
                Some(_) => bar.set_position(bytes),
                None => bar.tick(),
            }
        } else if self.told.elapsed() >= PERIOD {
            self.told = Instant::now();
            match left(bytes, self.size, elapsed) {
                Some((percent, left)) => {
                    let left = humantime::format_duration(left);
                    io.note(format_args!("{message}, {percent}%, {left} left"));
                }
                None => io.note(message),
            }
        }
    }

    /// Writes a line beside the bar.
    pub(super) fn note(&self, line: &str, io: &mut Io<'_>) {
        match &self.bar {
            Some(bar) => bar.suspend(|| io.note(line)),
            None => io.note(line),
        }
    }

    /// Takes the bar away; returns how long it took.
    pub(in crate::cli) fn end(&self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.started.elapsed()
    }
}

/// Items a second.
pub(super) fn rate(items: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    items.saturating_mul(1_000) / millis
}

/// The part that is done, in percent, and the time that is left at this pace.
fn left(bytes: u64, size: Option<u64>, elapsed: Duration) -> Option<(u64, Duration)> {
    let size = size.filter(|size| *size > 0)?;
    let done = bytes.min(size).max(1);
    let seconds = elapsed.as_secs().saturating_mul(size - bytes.min(size)) / done;
    Some((
        done.saturating_mul(100) / size,
        Duration::from_secs(seconds),
    ))
}

/// A number in groups of three digits.
pub(in crate::cli) fn grouped(number: impl Into<i128>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        for (number, text) in [
            (0_u64, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        let second = Duration::from_secs(1);
        assert_eq!(rate(500, second / 2), 1_000);
        assert_eq!(left(25, Some(100), second * 10), Some((25, second * 30)));
        assert_eq!(left(25, None, second), None);
    }
}
