//! Update masks (AIP-134).

use crate::app::error::{Code, Error};

/// Which fields of an update count.
#[derive(Debug)]
pub(in crate::grpc) enum Mask {
    /// Those that are populated.
    Populated,
    /// All.
    All,
    /// These.
    Paths(Vec<String>),
}

impl Mask {
    /// Reads a mask; every path must be one of `known`, or a part of one.
    pub(in crate::grpc) fn parse(
        mask: Option<prost_types::FieldMask>,
        known: &[&str],
    ) -> Result<Self, Error> {
        let Some(mask) = mask else {
            return Ok(Self::Populated);
        };
        if mask.paths.iter().any(|path| path == "*") {
            return if mask.paths.len() == 1 {
                Ok(Self::All)
            } else {
                Err(Error::invalid(
                    "update_mask",
                    "has `*` beside other paths; give `*` alone",
                ))
            };
        }
        for path in &mask.paths {
            if !known.contains(&path.as_str()) {
                return Err(Error::invalid(
                    "update_mask",
                    format!(
                        "names `{:.128}`, which can't be changed here; there are {}",
                        path.escape_debug(),
                        known.join(", ")
                    ),
                ));
            }
        }
        Ok(Self::Paths(mask.paths))
    }

    /// Whether a field counts, given whether it is populated.
    pub(in crate::grpc) fn takes(&self, path: &str, populated: bool) -> bool {
        match self {
            Self::Populated => populated,
            Self::All => true,
            Self::Paths(paths) => paths.iter().any(|p| p == path),
        }
    }

    /// Whether a part of a field counts; only where the mask names it.
    pub(in crate::grpc) fn takes_part(&self, path: &str) -> bool {
        matches!(self, Self::Paths(paths) if paths.iter().any(|p| p == path))
    }
}

/// Refuses an update of nothing.
pub(in crate::grpc) fn something<T>(edits: Vec<T>) -> Result<Vec<T>, Error> {
    if edits.is_empty() {
        let message = "names no field, and none is populated; say what to change";
        let mut error = Error::new(
            Code::InvalidArgument,
            "NOTHING_TO_CHANGE",
            format!("`update_mask` {message}"),
        );
        error
            .fields
            .push(("update_mask".to_owned(), message.to_owned()));
        return Err(error);
    }
    Ok(edits)
}
