//! The texts of a row: put one behind the other into one room, without what could hold a credential.

/// Longest path that is kept, in bytes.
const MOST_PATH: usize = 256;
const MOST_METHOD: usize = 16;
/// Most bytes of scopes that are kept.
const MOST_SCOPES: usize = 1_024;
/// A segment of a path as long as this may be a token that somebody put there: a generated one has 48 characters and more.
const LONGEST_SEGMENT: usize = 47;

/// Where a text stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    length: u16,
}

impl Span {
    /// The text.
    pub fn of(self, text: &str) -> &str {
        let start = usize::try_from(self.start).unwrap_or(usize::MAX);
        text.get(start..start.saturating_add(usize::from(self.length)))
            .unwrap_or_default()
    }

    fn since(start: usize, text: &str) -> Self {
        Self {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            length: u16::try_from(text.len() - start).unwrap_or(0),
        }
    }
}

/// A method: a word of visible characters, else nothing.
pub(super) fn method(into: &mut String, method: &[u8]) -> Span {
    let start = into.len();
    if method.len() <= MOST_METHOD
        && let Ok(text) = std::str::from_utf8(method)
        && method.iter().all(u8::is_ascii_graphic)
    {
        into.push_str(text);
    }
    Span::since(start, into)
}

/// A path up to its query, however that is written; long segments as `*`, what is no visible character as `_`.
pub(super) fn path(into: &mut String, path: &[u8]) -> Span {
    let start = into.len();
    for (i, segment) in up_to_query(path).split(|b| *b == b'/').enumerate() {
        if i > 0 {
            into.push('/');
        }
        let visible = segment.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(segment) {
            _ if segment.len() > LONGEST_SEGMENT => into.push('*'),
            Ok(text) if visible => into.push_str(text),
            _ => {
                let shown = |b: &u8| match b.is_ascii_graphic() {
                    true => char::from(*b),
                    false => '_',
                };
                into.extend(segment.iter().map(shown));
            }
        }
        if into.len() - start > MOST_PATH {
            into.truncate(start + MOST_PATH);
            into.push_str("...");
            break;
        }
    }
    Span::since(start, into)
}

/// What comes before the query: a client that encodes `?` sends a query to nobody, but may have put its key there.
fn up_to_query(path: &[u8]) -> &[u8] {
    let encoded = |rest: &[u8]| {
        rest.get(..3).is_some_and(|three| {
            [&b"%3f"[..], b"%23", b"%3b", b"%26"]
                .iter()
                .any(|code| three.eq_ignore_ascii_case(code))
        })
    };
    let end = path.iter().enumerate().position(|(at, b)| {
        matches!(b, b'?' | b'#' | b';' | b'&') || *b == b'%' && path.get(at..).is_some_and(encoded)
    });
    path.get(..end.unwrap_or(path.len())).unwrap_or_default()
}

/// Scopes, separated by spaces, as many as fit.
pub(super) fn scopes<'s>(into: &mut String, scopes: impl Iterator<Item = &'s str>) -> Span {
    let start = into.len();
    for scope in scopes {
        if into.len() - start + scope.len() > MOST_SCOPES {
            break;
        }
        if into.len() > start {
            into.push(' ');
        }
        into.push_str(scope);
    }
    Span::since(start, into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(given: &str) -> String {
        let mut text = "before".to_owned();
        let span = path(&mut text, given.as_bytes());
        span.of(&text).to_owned()
    }

    #[test]
    fn a_path_is_kept_without_anything_that_could_hold_a_credential() {
        let long = "k".repeat(48);
        for (given, kept) in [
            ("", ""),
            ("/", "/"),
            ("/v1/orders/42?apikey=secret", "/v1/orders/42"),
            ("/v1/orders%3Fapikey=secret", "/v1/orders"),
            ("/v1/orders;apikey=secret/x", "/v1/orders"),
            ("/v1/orders&apikey=secret", "/v1/orders"),
            ("/v1/orders#secret", "/v1/orders"),
            (&format!("/hook/{long}/x"), "/hook/*/x"),
            ("/a b\u{7}/ä", "/a_b_/__"),
        ] {
            assert_eq!(shown(given), kept, "{given}");
        }
        let endless = shown(&"/abc".repeat(1_000));
        assert_eq!(endless.len(), 259);
        assert!(endless.ends_with("..."));
    }

    #[test]
    fn a_method_is_a_word_or_nothing() {
        let mut text = String::new();
        assert_eq!(method(&mut text, b"GET").of(&text), "GET");
        for no in [&b""[..], b"GET /", b"\xff", b"ABCDEFGHIJKLMNOPQ"] {
            let mut text = String::new();
            assert_eq!(method(&mut text, no).of(&text), "");
        }
    }

    #[test]
    fn scopes_are_kept_whole_as_many_as_fit() {
        let mut text = "before".to_owned();
        let span = scopes(&mut text, ["a:b", "c"].into_iter());
        assert_eq!(span.of(&text), "a:b c");
        let long = "s".repeat(100);
        let many = std::iter::repeat_n(long.as_str(), 64);
        let span = scopes(&mut text, many);
        assert_eq!(span.of(&text).split(' ').count(), 10);
    }
}
