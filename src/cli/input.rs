//! Values that people type: moments, durations, labels; and tokens, which are never typed.

use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use prost_types::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::io::Io;
use crate::config::read_secret_file;

/// A moment as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Never.
    Never,
    /// So long from now.
    In(Duration),
    /// At this moment.
    At(OffsetDateTime),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self::At(moment));
        }
        humantime::parse_duration(text).map(Self::In).map_err(|_| {
            "give `never`, a time from now such as `30d` or `12h`, or a moment such as `2027-01-31T00:00:00Z`".to_owned()
        })
    }
}

impl When {
    /// The moment, with a time from now counted forward.
    pub(super) fn ahead(self, now: OffsetDateTime) -> Result<Option<Timestamp>, Failure> {
        self.resolve(now.checked_add_opt(self.duration()))
    }

    /// The moment, with a time from now counted backward.
    pub(super) fn back(self, now: OffsetDateTime) -> Result<Option<Timestamp>, Failure> {
        self.resolve(now.checked_sub_opt(self.duration()))
    }

    fn duration(self) -> Option<time::Duration> {
        match self {
            Self::In(duration) => time::Duration::try_from(duration).ok(),
            Self::Never | Self::At(_) => Some(time::Duration::ZERO),
        }
    }

    fn resolve(self, moved: Option<OffsetDateTime>) -> Result<Option<Timestamp>, Failure> {
        match (self, moved) {
            (Self::Never, _) => Ok(None),
            (Self::At(moment), _) => Ok(Some(timestamp(moment))),
            (Self::In(_), Some(moment)) => Ok(Some(timestamp(moment))),
            (Self::In(_), None) => Err(Failure::usage("that moment is too far away")),
        }
    }
}

/// Arithmetic on moments that knows its end.
trait Checked: Sized {
    fn checked_add_opt(self, by: Option<time::Duration>) -> Option<Self>;
    fn checked_sub_opt(self, by: Option<time::Duration>) -> Option<Self>;
}

impl Checked for OffsetDateTime {
    fn checked_add_opt(self, by: Option<time::Duration>) -> Option<Self> {
        self.checked_add(by?)
    }

    fn checked_sub_opt(self, by: Option<time::Duration>) -> Option<Self> {
        self.checked_sub(by?)
    }
}

fn timestamp(moment: OffsetDateTime) -> Timestamp {
    Timestamp {
        seconds: moment.unix_timestamp(),
        nanos: i32::try_from(moment.nanosecond()).unwrap_or(0),
    }
}

/// Reads `name=value`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "give `NAME=VALUE`".to_owned())
}

/// The longest credential worth sending: what is longer is refused, and the refusal is the server's to make.
const MAX_TOKEN_INPUT: u64 = 64 * 1_024;

/// Reads a token from a file, or with `-` from standard input. One newline at its end is not part of it; anything else
/// is, so that a check judges just what is there.
pub(super) fn token(path: &Path, io: &mut Io<'_>) -> Result<Zeroizing<String>, Failure> {
    let text = if path == Path::new("-") {
        let mut text = Zeroizing::new(String::new());
        (&mut io.input)
            .take(MAX_TOKEN_INPUT)
            .read_to_string(&mut text)
            .map_err(|e| Failure::usage(format!("standard input can't be read: {e}")))?;
        text
    } else {
        read_secret_file(path).map_err(|fault| Failure::invalid("the file", &fault))?
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::usage("there is no token on standard input"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::io::testing::Captured;
    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        let now = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
        let when: When = text.parse().unwrap();
        when.ahead(now)
            .map_err(|f| f.exit)
            .unwrap()
            .map(|t| t.seconds)
    }

    #[test]
    fn moments_are_never_relative_or_absolute() {
        assert_eq!(seconds("never"), None);
        assert_eq!(seconds("30d"), Some(1_000_000 + 30 * 86_400));
        assert_eq!(seconds("1h 30m"), Some(1_000_000 + 5_400));
        assert_eq!(seconds("1970-01-02T00:00:00Z"), Some(86_400));
        assert_eq!(seconds("1970-01-02T01:00:00+01:00"), Some(86_400));
        for bad in ["", "soon", "30", "2027-01-31", "-1d"] {
            assert!(bad.parse::<When>().is_err(), "{bad}");
        }
        let far: When = "9999999y".parse().unwrap();
        assert!(far.ahead(OffsetDateTime::UNIX_EPOCH).is_err());
    }

    #[test]
    fn labels_are_name_and_value() {
        assert_eq!(
            label("team=a=b").unwrap(),
            ("team".to_owned(), "a=b".to_owned())
        );
        assert_eq!(label("team=").unwrap(), ("team".to_owned(), String::new()));
        assert!(label("team").is_err() && label("=x").is_err());
    }

    #[test]
    fn a_token_loses_one_newline_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        for (content, read) in [
            ("abc", "abc"),
            ("abc\n", "abc"),
            ("abc\r\n", "abc"),
            (" abc \n\n", " abc \n"),
        ] {
            std::fs::write(&file, content).unwrap();
            let mut captured = Captured {
                input: content.as_bytes().to_vec(),
                ..Captured::default()
            };
            let from_file = token(&file, &mut captured.io())
                .map_err(|f| f.exit)
                .unwrap();
            let from_input = token(Path::new("-"), &mut captured.io())
                .map_err(|f| f.exit)
                .unwrap();
            assert_eq!((from_file.as_str(), from_input.as_str()), (read, read));
        }
        let mut empty = Captured::default();
        assert!(token(Path::new("-"), &mut empty.io()).is_err());
    }
}
