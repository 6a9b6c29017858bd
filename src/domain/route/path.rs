//! Paths of requests, as routes see them: checked, cut into segments, decoded once.
//!
//! Servers differ on what a path means: how often it is decoded, what becomes of dot segments, doubled slashes and
//! parameters. A route that is matched on one reading and served on another is no protection, so what could be read in two
//! ways is refused.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// It does not begin with `/`.
    NotAbsolute,
    /// It has a `#`, a `\` or a control character.
    Forbidden,
    /// A segment is empty, and not the last.
    EmptySegment,
    /// A segment is `.` or `..`, or one of them with parameters, as it stands or decoded.
    DotSegment,
    /// A broken escape, or one of `/`, `\`, `%` or a control character.
    BadEscape,
    /// Parameters (`;…`) on a segment that without them is a literal of a route.
    Parameters,
}

impl BadPath {
    /// What is wrong, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAbsolute => "the path does not begin with `/`",
            Self::Forbidden => "the path has a `#`, a `\\` or a control character",
            Self::EmptySegment => "a segment of the path is empty",
            Self::DotSegment => "the path has a dot segment",
            Self::BadEscape => {
                "the path has a broken escape, or one of `/`, `\\`, `%` or a control character"
            }
            Self::Parameters => "a segment has parameters that hide what a route names",
        }
    }
}

/// A path that can be read in one way only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedPath<'p> {
    /// Decoded segments between `/`, without the first and the last slash.
    text: Cow<'p, [u8]>,
    /// Whether a segment has a `;`.
    pub has_parameters: bool,
}

impl<'p> CheckedPath<'p> {
    /// Checks a path; a query after it does not count. A slash at the end is as none.
    pub fn check(path: &'p [u8]) -> Result<Self, BadPath> {
        let end = path.iter().position(|b| *b == b'?').unwrap_or(path.len());
        let path = path.get(..end).unwrap_or(path);
        let text = path.strip_prefix(b"/").ok_or(BadPath::NotAbsolute)?;
        let kind = Kind::of(text)?;
        if kind.escaped {
            return decoded(text);
        }
        let text = text.strip_suffix(b"/").unwrap_or(text);
        if kind.empty {
            return Err(BadPath::EmptySegment);
        }
        if kind.dotted && text.split(|b| *b == b'/').any(is_dots) {
            return Err(BadPath::DotSegment);
        }
        Ok(Self {
            text: Cow::Borrowed(text),
            has_parameters: kind.parameters,
        })
    }

    /// What is left to walk: none at the end, else the segments from here on.
    pub fn rest(&self) -> Option<&[u8]> {
        Some(&*self.text).filter(|text| !text.is_empty())
    }

    /// The segment at a place, decoded.
    pub fn segment(&self, at: usize) -> Option<&[u8]> {
        self.rest()?.split(|b| *b == b'/').nth(at)
    }

    /// The segments from a place on, decoded, between slashes.
    pub fn tail(&self, from: usize) -> Option<Vec<u8>> {
        let segments: Vec<_> = self.rest()?.split(|b| *b == b'/').skip(from).collect();
        Some(segments.join(&b'/'))
    }
}

/// Cuts the first segment off; the second is what comes after it.
pub fn cut(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    match rest.iter().position(|b| *b == b'/') {
        Some(at) => {
            let (segment, after) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            (segment, Some(after.strip_prefix(b"/").unwrap_or(after)))
        }
        None => (rest, None),
    }
}

/// What a path has of that which needs a closer look; found in one pass.
#[derive(Default)]
struct Kind {
    escaped: bool,
    parameters: bool,
    dotted: bool,
    empty: bool,
}

impl Kind {
    fn of(text: &[u8]) -> Result<Self, BadPath> {
        let mut kind = Self::default();
        let mut before = b'/';
        for byte in text.iter().copied() {
            match byte {
                b'\\' | b'#' | 0..=0x1f | 0x7f => return Err(BadPath::Forbidden),
                b'%' => kind.escaped = true,
                b';' => kind.parameters = true,
                b'.' if before == b'/' => kind.dotted = true,
                b'/' if before == b'/' => kind.empty = true,
                _ => {}
            }
            before = byte;
        }
        Ok(kind)
    }
}

/// `.` or `..`, alone or with parameters.
fn is_dots(segment: &[u8]) -> bool {
    let name = segment.split(|b| *b == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..")
}

fn decoded(text: &[u8]) -> Result<CheckedPath<'static>, BadPath> {
    let mut out = Vec::with_capacity(text.len());
    let mut has_parameters = false;
    let mut segments = text.split(|b| *b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if segment.is_empty() {
            if last {
                break;
            }
            return Err(BadPath::EmptySegment);
        }
        if !out.is_empty() {
            out.push(b'/');
        }
        let begin = out.len();
        decode_into(&mut out, segment)?;
        let segment = out.get(begin..).unwrap_or_default();
        if is_dots(segment) {
            return Err(BadPath::DotSegment);
        }
        has_parameters |= segment.contains(&b';');
    }
    Ok(CheckedPath {
        text: Cow::Owned(out),
        has_parameters,
    })
}

fn decode_into(out: &mut Vec<u8>, mut segment: &[u8]) -> Result<(), BadPath> {
    let digit = |b: &u8| {
        char::from(*b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    loop {
        segment = match segment {
            [] => return Ok(()),
            [b'%', high, low, rest @ ..] => {
                let (high, low) = digit(high).zip(digit(low)).ok_or(BadPath::BadEscape)?;
                match high << 4 | low {
                    b'/' | b'\\' | b'%' | 0..=0x1f | 0x7f => return Err(BadPath::BadEscape),
                    byte => out.push(byte),
                }
                rest
            }
            [b'%', ..] => return Err(BadPath::BadEscape),
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Result<Vec<String>, BadPath> {
        let path = CheckedPath::check(path.as_bytes())?;
        let text = |s: &[u8]| String::from_utf8_lossy(s).into_owned();
        let list = |rest: &[u8]| rest.split(|b| *b == b'/').map(text).collect();
        Ok(path.rest().map(list).unwrap_or_default())
    }

    #[test]
    fn a_path_is_cut_into_decoded_segments() {
        for (path, expected) in [
            ("/", &[][..]),
            ("/?a=/b", &[]),
            ("/a", &["a"]),
            ("/a/", &["a"]),
            ("/a/b?x=%", &["a", "b"]),
            ("/%61/b%2Dc/", &["a", "b-c"]),
            ("/a;x=1/b", &["a;x=1", "b"]),
            ("/...", &["..."]),
            ("/.well-known/x", &[".well-known", "x"]),
            ("/a%3Fb", &["a?b"]),
            ("/\u{fc}", &["\u{fc}"]),
        ] {
            assert_eq!(segments(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (path, why) in [
            ("", BadPath::NotAbsolute),
            ("*", BadPath::NotAbsolute),
            ("a/b", BadPath::NotAbsolute),
            ("http://h/a", BadPath::NotAbsolute),
            ("//", BadPath::EmptySegment),
            ("//a", BadPath::EmptySegment),
            ("/a//b", BadPath::EmptySegment),
            ("/a//", BadPath::EmptySegment),
            ("/%61//b", BadPath::EmptySegment),
            ("/%61//", BadPath::EmptySegment),
            ("/.", BadPath::DotSegment),
            ("/a/..", BadPath::DotSegment),
            ("/a/../b", BadPath::DotSegment),
            ("/a/..;/b", BadPath::DotSegment),
            ("/a/.;x/b", BadPath::DotSegment),
            ("/a/%2e%2E/b", BadPath::DotSegment),
            ("/a/.%2e%3bx", BadPath::DotSegment),
            ("/a#b", BadPath::Forbidden),
            ("/a\\b", BadPath::Forbidden),
            ("/a\u{0}b", BadPath::Forbidden),
            ("/a\u{7f}", BadPath::Forbidden),
            ("/a%2fb", BadPath::BadEscape),
            ("/a%5Cb", BadPath::BadEscape),
            ("/a%252fb", BadPath::BadEscape),
            ("/a%00", BadPath::BadEscape),
            ("/a%0d%0ab", BadPath::BadEscape),
            ("/a%7f", BadPath::BadEscape),
            ("/a%", BadPath::BadEscape),
            ("/a%2", BadPath::BadEscape),
            ("/a%zz", BadPath::BadEscape),
        ] {
            assert_eq!(segments(path), Err(why), "{path:?}");
        }
    }
}
