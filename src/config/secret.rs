//! Secrets of the process: they come from the environment or from a file, never as an argument, because arguments show in
//! the process list.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::domain::entropy;
use crate::domain::invalid::Invalid;
use crate::domain::token::{STRONG_BITS, Token};

/// The key that wraps the database's own keys. Wiped when dropped; its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct RootKey(Zeroizing<[u8; 32]>);

impl RootKey {
    /// From its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(redacted)")
    }
}

impl FromStr for RootKey {
    type Err = Invalid;

    /// Reads 64 hexadecimal digits, or standard base64 of 32 bytes; space around it does not count.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let mut key = Zeroizing::new([0_u8; 32]);
        let read = if text.len() == 64 {
            hex::decode_to_slice(text, &mut *key).ok()
        } else {
            decode_base64(text, &mut key)
        };
        match read {
            Some(()) => Ok(Self(key)),
            None => Err(Invalid::new(
                "must be 32 random bytes as base64 or as 64 hexadecimal digits; `openssl rand -base64 32` makes one",
            )),
        }
    }
}

fn decode_base64(text: &str, into: &mut [u8; 32]) -> Option<()> {
    let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
    if bytes.len() != into.len() {
        return None;
    }
    into.copy_from_slice(&bytes);
    Some(())
}

/// Reads the token that a deployment hands in for the first administrator. Unlike an imported token it can't be weak:
/// nothing fences it.
pub(super) fn bootstrap_token(text: &str) -> Result<Token, Invalid> {
    let token = Token::external(text.trim().to_owned())?;
    if entropy::estimate_bits(token.reveal().as_bytes()) < STRONG_BITS {
        return Err(Invalid::new(format!(
            "is too easy to guess (under {STRONG_BITS} bits); `openssl rand -base64 32` makes a good one"
        )));
    }
    Ok(token)
}

/// No secret is longer; more means that the path is wrong.
const MAX_FILE: u64 = 4_096;

/// Reads a file that holds one secret.
pub fn read_secret_file(path: &Path) -> Result<Zeroizing<String>, Invalid> {
    let failed = |e: std::io::Error| {
        Invalid::new(format!(
            "can't be read (`{}`: {e}); check path and permissions",
            path.display()
        ))
    };
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path)
        .map_err(failed)?
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.trim().is_empty() {
        return Err(Invalid::new(format!(
            "is empty (`{}`); write the secret into it or unset the option",
            path.display()
        )));
    }
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(Invalid::new(format!(
            "is too long for a secret (`{}`: over {MAX_FILE} bytes); check the path",
            path.display()
        )));
    }
    Ok(text)
}

/// A secret from the environment.
pub(super) fn from_environment(value: OsString) -> Result<Zeroizing<String>, Invalid> {
    match value.into_string() {
        Ok(text) if text.trim().is_empty() => Err(Invalid::new(
            "is set but empty; give it a value or unset it",
        )),
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(_) => Err(Invalid::new("is not UTF-8 text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_key_is_base64_or_hexadecimal() {
        let hex = "0f".repeat(32);
        let base64 = STANDARD.encode([0x0f; 32]);
        let key: RootKey = hex.parse().unwrap();
        assert_eq!(key.as_bytes(), &[0x0f; 32]);
        assert_eq!(format!(" {base64}\n").parse::<RootKey>().unwrap(), key);
        assert_eq!(
            hex.to_uppercase().parse::<RootKey>().unwrap(),
            RootKey::from_bytes([0x0f; 32])
        );
        assert_eq!(format!("{key:?}"), "RootKey(redacted)");
    }

    #[test]
    fn what_is_not_32_bytes_is_no_root_key_and_is_not_echoed() {
        let long = STANDARD.encode([0; 33]);
        let bad_hex = "0g".repeat(32);
        let wide = "é".repeat(32);
        for bad in ["", "c2hvcnQ=", &long, &bad_hex, &wide, "not base64 at all"] {
            let error = bad.parse::<RootKey>().unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn a_secret_file_must_hold_something_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for (content, fault) in [
            ("", "is empty"),
            (" \n", "is empty"),
            (&*"x".repeat(5_000), "too long"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = read_secret_file(&path).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
        std::fs::write(&path, "value\n").unwrap();
        assert_eq!(*read_secret_file(&path).unwrap(), "value\n");
        let error = read_secret_file(&dir.path().join("none"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("can't be read"), "{error}");
    }
}
