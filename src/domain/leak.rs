//! Where a token was found in public: what of it may be kept.

use serde::{Deserialize, Serialize};

use super::invalid::Invalid;
use super::token::{Token, TokenDigest};

/// Longest URL, in characters.
const MAX_URL: usize = 2_048;
/// Longest other text, in characters.
const MAX_TEXT: usize = 128;

/// Where a token was found in public. The token is not in it: the audit log keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// By which pattern it was found.
    pub kind: String,
    /// Where, without user, query and fragment.
    pub url: String,
    /// In what: a file, a commit.
    pub source: String,
}

impl Place {
    /// Takes a place as it was reported. Without the token only a path segment that is the token is known as such.
    pub fn reported(
        kind: String,
        url: &str,
        source: String,
        (token, digest): (Option<&Token>, &TokenDigest),
    ) -> Result<Self, Invalid> {
        for (field, text, most) in [
            ("type", kind.as_str(), MAX_TEXT),
            ("url", url, MAX_URL),
            ("source", source.as_str(), MAX_TEXT),
        ] {
            if text.chars().count() > most || text.chars().any(char::is_control) {
                return Err(Invalid::new(format!(
                    "must be at most {most} characters, without control characters"
                ))
                .at(field));
            }
        }
        let kept = |text: String| {
            let bare = token.is_none_or(|token| !text.contains(token.reveal()));
            if bare { text } else { REDACTED.to_owned() }
        };
        Ok(Self {
            url: redacted(url, token, digest),
            kind: kept(kind),
            source: kept(source),
        })
    }
}

/// Stands for what may not be kept.
const REDACTED: &str = "…";

fn redacted(url: &str, token: Option<&Token>, digest: &TokenDigest) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let bare = url.get(..end).unwrap_or_default();
    let (scheme, rest) = bare.split_once("://").unwrap_or(("", bare));
    let (authority, path) = rest
        .find('/')
        .and_then(|at| rest.split_at_checked(at))
        .unwrap_or((rest, ""));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let start = if scheme.is_empty() {
        host.to_owned()
    } else {
        format!("{scheme}://{host}")
    };
    let shows = |text: &str| {
        let decoded = percent_decoded(text);
        TokenDigest::of(&decoded) == *digest
            || token.is_some_and(|token| contains(&decoded, token.reveal().as_bytes()))
    };
    if shows(&start) {
        return REDACTED.to_owned();
    }
    let segments: Vec<_> = path
        .split('/')
        .map(|segment| if shows(segment) { REDACTED } else { segment })
        .collect();
    let whole = format!("{start}{}", segments.join("/"));
    // A token may have slashes.
    if shows(&whole) {
        format!("{start}/{REDACTED}")
    } else {
        whole
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |b: &u8| {
            char::from(*b)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        rest = match (first, after) {
            (b'%', [high, low, behind @ ..]) => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    behind
                }
                _ => {
                    decoded.push(b'%');
                    after
                }
            },
            _ => {
                decoded.push(*first);
                after
            }
        };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "abc/def+0123456789abcdef";

    fn kept(url: &str, known: bool) -> String {
        let token = Token::external(TOKEN.to_owned()).unwrap();
        let shown = known.then_some(&token);
        Place::reported(String::new(), url, String::new(), (shown, &token.digest()))
            .unwrap()
            .url
    }

    #[test]
    fn of_a_url_that_is_kept_nothing_shows_the_token() {
        for (url, expected) in [
            (
                "https://git.example/a/b.txt#L7",
                "https://git.example/a/b.txt",
            ),
            (
                "https://x.example/p?key=abc/def+0123456789abcdef",
                "https://x.example/p",
            ),
            ("https://u:abc@x.example/p", "https://x.example/p"),
            (
                "https://x.example/abc/def+0123456789abcdef/z",
                "https://x.example/…",
            ),
            (
                "https://x.example/k-abc%2Fdef%2B0123456789abcdef-k/z",
                "https://x.example/…/z",
            ),
            ("not a url", "not a url"),
            ("", ""),
        ] {
            assert_eq!(kept(url, true), expected, "{url}");
        }
        assert_eq!(
            kept("https://x.example/abc%2Fdef%2b0123456789abcdef/z", false),
            "https://x.example/…/z"
        );
    }

    #[test]
    fn what_is_too_long_or_no_text_is_refused_with_its_field() {
        let digest = TokenDigest::of(b"x");
        let place = |kind: &str, url: &str, source: &str| {
            Place::reported(kind.to_owned(), url, source.to_owned(), (None, &digest))
                .map_err(|e| e.path)
        };
        assert_eq!(place(&"x".repeat(129), "", ""), Err("type".to_owned()));
        assert_eq!(place("", &"x".repeat(2_049), ""), Err("url".to_owned()));
        assert_eq!(place("", "", "a\nb"), Err("source".to_owned()));
        assert!(place("t", "u", "s").is_ok());
    }
}
