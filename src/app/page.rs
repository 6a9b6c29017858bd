//! Page tokens: opaque to callers, and good only for the list they came from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::app::error::Error;

/// How many things a page holds at most.
pub const MAX_PAGE: u32 = 1_000;
/// How many where the caller does not say.
pub const DEFAULT_PAGE: u32 = 50;

/// Reads a page size: 0 means the default, more than the most means the most (AIP-158).
pub fn size(requested: i32) -> Result<u32, Error> {
    match u32::try_from(requested) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size.min(MAX_PAGE)),
        Err(_) => Err(Error::invalid("page_size", "must not be negative")),
    }
}

/// Writes the token of the page after `cursor`, of the list that `arguments` describe.
pub fn token<C: Serialize>(cursor: &C, arguments: &str) -> Result<String, Error> {
    let text = serde_json::to_vec(&(digest(arguments), cursor)).map_err(Error::internal)?;
    Ok(URL_SAFE_NO_PAD.encode(text))
}

/// Reads a token: where to go on; none for the first page.
pub fn cursor<C: DeserializeOwned>(token: &str, arguments: &str) -> Result<Option<C>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let wrong = |what: &str| Error::invalid("page_token", what);
    let bytes = URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .filter(|b| b.len() <= 2_048)
        // No name has a NUL, and PostgreSQL takes none as a text.
        .filter(|b| !b.windows(6).any(|w| w == br"\u0000"));
    let (of, cursor): (u64, C) = bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| wrong("is not a page token; pass on `next_page_token` as it was given"))?;
    if of != digest(arguments) {
        return Err(wrong(
            "belongs to a list with other arguments; repeat those of the first page, or start without a token",
        ));
    }
    Ok(Some(cursor))
}

/// A page out of what was found, one thing more than it holds if there is more, and the token to go on with.
pub fn cut<T, C: Serialize>(
    mut found: Vec<T>,
    size: u32,
    arguments: &str,
    cursor: impl Fn(&T) -> C,
) -> Result<(Vec<T>, String), Error> {
    let more = found.len() > size as usize;
    found.truncate(size as usize);
    let next = match found.last() {
        Some(last) if more => token(&cursor(last), arguments)?,
        _ => String::new(),
    };
    Ok((found, next))
}

fn digest(arguments: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(arguments).into();
    digest
        .first_chunk::<8>()
        .map_or(0, |head| u64::from_be_bytes(*head))
}
