//! Lists, a page at a time.

use clap::Args;
use tonic::Status;

use super::failure::Failure;
use super::io::Io;

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

impl PageArgs {
    /// Fetches the page, or with `--all` this one and those after it. Returns the token of the next page with it.
    pub(super) async fn fetch<T>(
        &self,
        mut page: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Status>,
    ) -> Result<(Vec<T>, String), Failure> {
        // Fewer calls where all pages are wanted anyway.
        let size = self.page_size.unwrap_or(if self.all { 1_000 } else { 0 });
        let (mut items, mut next) = page(size, self.page_token.clone()).await?;
        while self.all && !next.is_empty() {
            let (more, token) = page(size, next).await?;
            items.extend(more);
            next = token;
        }
        Ok((items, next))
    }
}

/// Tells people that there is more.
pub(super) fn hint_at_more(io: &mut Io<'_>, next: &str) {
    if !next.is_empty() {
        io.note(format_args!(
            "there are more: `--all`, or `--page-token {next}`"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pages(all: bool) -> (Vec<u32>, String, Vec<(i32, String)>) {
        let args = PageArgs {
            all,
            page_size: None,
            page_token: "1".to_owned(),
        };
        let mut asked = Vec::new();
        let fetched = args.fetch(async |size, token: String| {
            asked.push((size, token.clone()));
            let n: u32 = token.parse().unwrap();
            let next = if n < 3 {
                (n + 1).to_string()
            } else {
                String::new()
            };
            Ok((vec![n], next))
        });
        let (items, next) = fetched.await.map_err(|f| f.exit).unwrap();
        (items, next, asked)
    }

    #[tokio::test]
    async fn one_page_or_all_of_them() {
        let (items, next, asked) = pages(false).await;
        assert_eq!((items, next.as_str()), (vec![1], "2"));
        assert_eq!(asked, [(0, "1".to_owned())]);
        let (items, next, asked) = pages(true).await;
        assert_eq!((items, next.as_str()), (vec![1, 2, 3], ""));
        assert!(asked.iter().all(|(size, _)| *size == 1_000));
    }
}
