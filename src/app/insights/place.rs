//! Places in the history, as callers pass them on: opaque, and good for one history only.

use std::fmt;
use std::str::FromStr;

use crate::app::ports::audit::Place;
use crate::domain::invalid::Invalid;
use crate::domain::revision::Revision;

/// A place in one history: a revision, or an event within one (`epoch.n.ordinal`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which history.
    pub epoch: u32,
    /// The place in it.
    pub place: Place,
}

impl From<Revision> for Position {
    fn from(revision: Revision) -> Self {
        Self {
            epoch: revision.epoch,
            place: Place {
                n: revision.n,
                ordinal: None,
            },
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = Revision {
            epoch: self.epoch,
            n: self.place.n,
        };
        match self.place.ordinal {
            None => revision.fmt(f),
            Some(ordinal) => write!(f, "{revision}.{ordinal}"),
        }
    }
}

impl FromStr for Position {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::new(
                "is neither a revision nor a position; pass one on as an answer or the stream gave it",
            )
        };
        // A revision has one dot, a place within one has two.
        let (revision, ordinal) = match text.match_indices('.').nth(1) {
            None => (text, None),
            Some((at, _)) => {
                let (revision, rest) = text.split_at_checked(at).ok_or_else(wrong)?;
                let digits = rest.strip_prefix('.').unwrap_or_default();
                if !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(wrong());
                }
                // As the database counts.
                let ordinal: u64 = digits.parse().map_err(|_| wrong())?;
                i64::try_from(ordinal).map_err(|_| wrong())?;
                (revision, Some(ordinal))
            }
        };
        let revision: Revision = revision.parse().map_err(|_| wrong())?;
        if ordinal.is_some() && revision.n == 0 {
            return Err(wrong());
        }
        Ok(Self {
            epoch: revision.epoch,
            place: Place {
                n: revision.n,
                ordinal,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_it_was_written() {
        for text in ["00abcdef.42", "00abcdef.42.0", "00abcdef.42.17"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_position_is_refused() {
        for text in [
            "",
            "42",
            "1.2.3",
            "00abcdef.42.",
            "00abcdef.42.x",
            "00abcdef.42.+1",
            "00abcdef.42.1.2",
            "00abcdef.0.1",
            "00abcdef.42.18446744073709551615",
            "00abcdef..1",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
