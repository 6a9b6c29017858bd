//! Revisions: the order of all changes of one database.

use std::fmt;
use std::str::FromStr;

use super::invalid::Invalid;

/// A point in the history of one database. `n` counts its changes without gaps; `epoch` tells one history from another
/// (a restored backup gets a new one), so that numbers of different histories are never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// Which history.
    pub epoch: u32,
    /// Which change in it.
    pub n: u64,
}

impl Revision {
    /// The one that comes after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self {
            n: self.n.saturating_add(1),
            ..self
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}", self.epoch, self.n)
    }
}

impl FromStr for Revision {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            let (epoch, n) = text.split_once('.')?;
            let canonical = epoch.len() == 8
                && epoch
                    .bytes()
                    .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
                && n.bytes().all(|b| b.is_ascii_digit());
            if !canonical {
                return None;
            }
            Some(Self {
                epoch: u32::from_str_radix(epoch, 16).ok()?,
                n: n.parse().ok()?,
            })
        };
        parse().ok_or_else(|| Invalid::new("is not a revision; pass one on as an answer gave it"))
    }
}

/// What a guarded change compares: the number of the last change of a thing, which every change of it makes new.
pub fn etag(n: u64) -> String {
    format!("{n:x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_reads_back_as_it_was_written() {
        let revision = Revision {
            epoch: 0x00ab_cdef,
            n: 42,
        };
        assert_eq!(revision.to_string(), "00abcdef.42");
        assert_eq!("00abcdef.42".parse(), Ok(revision));
    }

    #[test]
    fn what_is_not_a_revision_is_refused() {
        for text in [
            "",
            "1.2",
            "00abcdef",
            "00abcdef.",
            "00ABCDEF.1",
            "00abcdef.+1",
            "00abcdef.18446744073709551616",
        ] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }
}
