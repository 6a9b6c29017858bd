//! Lists, a page at a time.

use clap::Args;
use serde_json::Value;
use tonic::Status;

use super::connect::Output;
use super::failure::Failure;
use super::io::Io;
use super::table::{Look, Widths};

/// Which page.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Paging")]
pub(super) struct PageArgs {
    /// All pages
    #[arg(long)]
    pub(super) all: bool,
    /// How many on a page, at most 1000 [default: 50]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1000), value_name = "COUNT")]
    pub(super) page_size: Option<i32>,
    /// The page that the page before named
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TOKEN"
    )]
    pub(super) page_token: String,
}

/// How a list is written: its name in JSON, and its items in both forms.
pub(super) struct Listing<'a, T> {
    pub(super) name: &'static str,
    pub(super) json: fn(&T) -> Value,
    pub(super) table: fn(&[T], Look<'_>) -> String,
    /// What the JSON says beside the items and the token of the next page.
    pub(super) beside: &'a dyn Fn() -> Option<(&'static str, Value)>,
}

impl PageArgs {
    /// Fetches and writes the page, or with `--all` this one and those after it, each as it comes: however long the list is,
    /// one page of it is in memory.
    pub(super) async fn show<T>(
        &self,
        mut page: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Status>,
        listing: &Listing<'_, T>,
        output: Output,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        // Fewer calls where all pages are wanted anyway.
        let size = self.page_size.unwrap_or(if self.all { 1_000 } else { 0 });
        let widths = Widths::default();
        let mut writing = false;
        let mut token = self.page_token.clone();
        loop {
            let (items, next) = page(size, token).await?;
            let more = self.all && !next.is_empty();
            match output {
                Output::Json => listing.write_json(&items, writing, io)?,
                Output::Table if items.is_empty() => {}
                Output::Table => {
                    let look = Look::of(io).in_pages(&widths);
                    let text = (listing.table)(&items, look);
                    io.print(text)?;
                }
            }
            writing |= !items.is_empty();
            io.out.flush()?;
            if !more {
                return listing.end(&next, writing, output, io);
            }
            token = next;
        }
    }
}

impl<T> Listing<'_, T> {
    /// Writes items as part of a JSON document that [`Self::end`] ends.
    fn write_json(&self, items: &[T], writing: bool, io: &mut Io<'_>) -> Result<(), Failure> {
        for (index, item) in items.iter().enumerate() {
            if writing || index > 0 {
                io.print(",")?;
            } else {
                io.print(format_args!("{{\n  \"{}\": [", self.name))?;
            }
            let text = format!("{:#}", (self.json)(item)).replace('\n', "\n    ");
            write!(io.out, "    {text}")?;
        }
        Ok(())
    }

    fn end(
        &self,
        next: &str,
        written: bool,
        output: Output,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        match output {
            Output::Json => {
                match written {
                    true => io.print("\n  ],")?,
                    false => io.print(format_args!("{{\n  \"{}\": [],", self.name))?,
                }
                if let Some((name, value)) = (self.beside)() {
                    let value = format!("{value:#}").replace('\n', "\n  ");
                    io.print(format_args!("  \"{name}\": {value},"))?;
                }
                io.print(format_args!(
                    "  \"next_page_token\": {}\n}}",
                    Value::from(next)
                ))?;
            }
            Output::Table if written => hint_at_more(io, next),
            Output::Table => io.note(format_args!("no {}", self.name)),
        }
        io.out.flush()?;
        Ok(())
    }
}

/// Tells people that there is more.
fn hint_at_more(io: &mut Io<'_>, next: &str) {
    if !next.is_empty() {
        io.note(format_args!(
            "there are more: `--all`, or `--page-token {next}`"
        ));
    }
}
