//! Tokens: the plaintext of secrets, their shape, digest and tag.
//!
//! A generated token is `PREFIX_BODY`, or `BODY` alone where the prefix is empty. BODY is URL-safe base64 of 36 bytes: 32
//! random ones and the first 4 of SHA-256 over prefix and random bytes; always 48 characters, so that a scanner can tell a
//! real token offline (what GitHub's secret scanning asks of its partners).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::invalid::Invalid;

/// Longest token, in bytes.
pub const MAX_LEN: usize = 512;
/// Shortest external token, in bytes.
pub const MIN_EXTERNAL_LEN: usize = 16;
/// Under this many bits of entropy a secret is weak (OWASP ASVS 5.0, 6.5.2).
pub const STRONG_BITS: u32 = 112;

const RANDOM_LEN: usize = 32;
const CHECK_LEN: usize = 4;
const BODY_LEN: usize = 48;

/// The plaintext of a secret. Wiped when dropped; its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Makes a token from a checked prefix and random bytes.
    pub fn generate(prefix: &str, random: &[u8; RANDOM_LEN]) -> Self {
        let mut body = Zeroizing::new([0_u8; RANDOM_LEN + CHECK_LEN]);
        let check = checksum(prefix, random);
        for (to, from) in body.iter_mut().zip(random.iter().chain(&check)) {
            *to = *from;
        }
        // One allocation of the final size: a growing string would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 1 + BODY_LEN));
        if !prefix.is_empty() {
            text.push_str(prefix);
            text.push('_');
        }
        let mut encoded = Zeroizing::new([0_u8; BODY_LEN]);
        if URL_SAFE_NO_PAD
            .encode_slice(body.as_slice(), encoded.as_mut_slice())
            .is_ok()
        {
            text.extend(encoded.iter().map(|b| char::from(*b)));
        }
        Self(text)
    }

    /// Takes a token that an external system made: 16 to 512 visible ASCII characters, no comma.
    pub fn external(text: String) -> Result<Self, Invalid> {
        let text = Zeroizing::new(text);
        if !(MIN_EXTERNAL_LEN..=MAX_LEN).contains(&text.len()) {
            return Err(Invalid::new(format!(
                "must be {MIN_EXTERNAL_LEN} to {MAX_LEN} characters long"
            )));
        }
        if !text.bytes().all(|b| is_token_byte(b) && b != b',') {
            return Err(Invalid::new(
                "must be visible ASCII characters without spaces and commas",
            ));
        }
        Ok(Self(text))
    }

    /// Takes a token that was sealed by us, and so was checked before.
    pub fn from_sealed(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The plaintext, for the one answer that carries it, for sealing, and for digests.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its SHA-256.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.0.as_bytes())
    }

    /// What it may be recognised by: its prefix, where it was generated, and its last four characters. A token too short
    /// for four characters not to matter shows none.
    pub fn hint(&self, prefix: &str) -> String {
        let last = self
            .0
            .len()
            .checked_sub(4)
            .and_then(|at| self.0.get(at..))
            .unwrap_or("");
        let last = if self.0.len() < 20 { "" } else { last };
        if prefix.is_empty() {
            format!("…{last}")
        } else {
            format!("{prefix}_…{last}")
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// SHA-256 of a token's bytes. As good as the token for an import, so its `Debug` says nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of these bytes.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for sealing.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As 64 hexadecimal digits, for the one answer that carries it.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, Invalid> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)
            .map_err(|_| Invalid::new("must be the SHA-256 of the token: 64 hexadecimal digits"))?;
        Ok(Self(digest))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(redacted)")
    }
}

/// What the database keeps of a token: `HMAC-SHA-256(k_lookup, SHA-256(token))`. The inner digest lets a digest alone be
/// imported; the key, which the database does not hold in clear, makes the tag useless without it.
#[derive(Clone, Copy, Default)]
pub struct Tag([u8; 32]);

impl Tag {
    /// From the bytes the database keeps.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes the database keeps.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first half: where the index looks. Keyed, so nobody outside can choose where a token lands.
    pub fn index(&self) -> u128 {
        let mut half = [0_u8; 16];
        for (to, from) in half.iter_mut().zip(self.0) {
            *to = from;
        }
        u128::from_be_bytes(half)
    }
}

// Constant time: how much of a tag fits must not be seen in how long the comparison takes (ASVS 11.2.4).
impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Tag {}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag(..)")
    }
}

/// `k_lookup`, ready for use: the HMAC state after its key block.
#[derive(Clone)]
pub struct LookupKey(Hmac<Sha256>);

impl LookupKey {
    /// From its 32 bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        // An HMAC takes keys of any length; the only error its constructor knows can't occur.
        let mac = Hmac::<Sha256>::new_from_slice(key)
            .unwrap_or_else(|_| Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default()));
        Self(mac)
    }

    /// The tag that a digest leads to.
    pub fn tag(&self, digest: &TokenDigest) -> Tag {
        let mut mac = self.0.clone();
        mac.update(&digest.0);
        Tag(mac.finalize().into_bytes().into())
    }

    /// A keyed digest for another purpose than tags; `purpose` keeps them apart, and is no 32 bytes long.
    pub fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(b"claviger/");
        mac.update(purpose.as_bytes());
        for part in parts {
            // Lengths first: without them ("a", "bc") and ("ab", "c") would be one.
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for LookupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookupKey(redacted)")
    }
}

/// Whether a byte may stand in a token: visible ASCII.
pub const fn is_token_byte(b: u8) -> bool {
    matches!(b, 0x21..=0x7e)
}

/// Checks a prefix: empty, or 2 to 16 of `[a-z0-9]`, optionally with one environment part after an underscore.
pub fn check_prefix(prefix: &str) -> Result<(), Invalid> {
    let part = |p: &str| {
        !p.is_empty()
            && p.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let good = prefix.is_empty()
        || (2..=16).contains(&prefix.len())
            && prefix.split('_').count() <= 2
            && prefix.split('_').all(part);
    if good {
        Ok(())
    } else {
        Err(Invalid::new(
            "must be 2 to 16 of `[a-z0-9]`, optionally with one environment part as in `clv_live`, or empty for none",
        ))
    }
}

/// Whether a presented credential claims this prefix and has a wrong checksum: nothing we ever issued.
pub fn is_forged(credential: &[u8], prefix: &str) -> bool {
    let body = if prefix.is_empty() {
        return false;
    } else {
        credential
            .strip_prefix(prefix.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"_"))
    };
    body.is_some_and(|body| !checksum_fits(prefix, body))
}

fn checksum_fits(prefix: &str, body: &[u8]) -> bool {
    let mut bytes = Zeroizing::new([0_u8; RANDOM_LEN + CHECK_LEN]);
    if body.len() != BODY_LEN
        || URL_SAFE_NO_PAD
            .decode_slice(body, bytes.as_mut_slice())
            .is_err()
    {
        return false;
    }
    match bytes.split_first_chunk::<RANDOM_LEN>() {
        Some((random, check)) => checksum(prefix, random) == check,
        None => false,
    }
}

fn checksum(prefix: &str, random: &[u8; RANDOM_LEN]) -> [u8; CHECK_LEN] {
    let mut hash = Sha256::new();
    hash.update(prefix.as_bytes());
    hash.update(random);
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: [u8; 32] = [7; 32];

    #[test]
    fn a_generated_token_has_its_shape_and_checksum() {
        for prefix in ["clv", "clv_live", ""] {
            let token = Token::generate(prefix, &RANDOM);
            let text = token.reveal();
            let body = text.strip_prefix(prefix).unwrap().trim_start_matches('_');
            assert_eq!(body.len(), 48);
            assert!(!text.contains('='));
            assert!(checksum_fits(prefix, body.as_bytes()));
            assert!(!is_forged(text.as_bytes(), prefix));
            assert!(Token::external(text.to_owned()).is_ok());
        }
    }

    #[test]
    fn the_checksum_covers_prefix_and_every_character() {
        let token = Token::generate("clv", &RANDOM);
        let other = token.reveal().replacen("clv", "abc", 1);
        assert!(is_forged(other.as_bytes(), "abc"));
        for i in 4..token.reveal().len() {
            let mut bytes = token.reveal().as_bytes().to_vec();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            assert!(is_forged(&bytes, "clv"), "{i}");
        }
        assert!(is_forged(b"clv_short", "clv"));
        assert!(!is_forged(b"other_token_of_someone", "clv"));
    }

    #[test]
    fn external_tokens_are_visible_ascii_without_commas() {
        for good in ["0123456789abcdef", "a-b_c.d~e+f/g=hijk!#", &"x".repeat(512)] {
            assert!(Token::external(good.to_owned()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "0123456789abcde",
            "0123456789abc def",
            "0123456789,abcdef",
            "0123456789abcdé0",
            "0123456789abcde\n",
            &"x".repeat(513),
        ] {
            assert!(Token::external(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn prefixes_keep_their_alphabet() {
        for good in ["", "clv", "a1", "clv_live", "sk_test"] {
            assert!(check_prefix(good).is_ok(), "{good}");
        }
        for bad in [
            "c",
            "_clv",
            "clv_",
            "a_b_c",
            "Clv",
            "c-v",
            "a__b",
            "abcdefghijklmnopq",
        ] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_depends_on_key_and_token_and_on_the_token_through_its_digest() {
        let key = LookupKey::new(&[1; 32]);
        let token = Token::generate("clv", &RANDOM);
        let imported = TokenDigest::from_hex(&hex::encode(token.digest().0)).unwrap();
        assert_eq!(key.tag(&token.digest()), key.tag(&imported));
        assert_ne!(
            key.tag(&token.digest()),
            LookupKey::new(&[2; 32]).tag(&token.digest())
        );
        assert_ne!(
            key.tag(&token.digest()),
            key.tag(&TokenDigest::of(b"another token"))
        );
    }

    #[test]
    fn derived_digests_do_not_run_into_each_other() {
        let key = LookupKey::new(&[1; 32]);
        assert_ne!(
            key.derive("x", &[b"a", b"bc"]),
            key.derive("x", &[b"ab", b"c"])
        );
        assert_ne!(key.derive("x", &[b"a"]), key.derive("y", &[b"a"]));
    }

    #[test]
    fn nothing_prints_a_token() {
        let token = Token::external("a-token-nobody-may-see".to_owned()).unwrap();
        let printed = format!(
            "{token:?} {:?} {:?}",
            token.digest(),
            LookupKey::new(&[0; 32])
        );
        assert!(!printed.contains("nobody"), "{printed}");
        assert_eq!(token.hint(""), "…-see");
        assert_eq!(
            Token::external("0123456789abcdef".to_owned())
                .unwrap()
                .hint(""),
            "…"
        );
    }

    #[test]
    fn digests_are_64_hexadecimal_digits() {
        assert!(TokenDigest::from_hex(&"aB".repeat(32)).is_ok());
        for bad in [
            "",
            "ab",
            &"g".repeat(64),
            &"a".repeat(63),
            &"a".repeat(65),
            &"é".repeat(32),
        ] {
            assert!(TokenDigest::from_hex(bad).is_err(), "{bad}");
        }
    }
}
