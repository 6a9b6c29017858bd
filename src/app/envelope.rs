//! Envelope keys: two random keys live in the database, wrapped by the root key, which does not. A database alone verifies
//! nothing; rotating the root key re-wraps one blob.

mod file;

use std::fmt;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use crate::app::ports::{Entropy, EntropyError};
use crate::domain::id::{KeyId, SecretId, SigningSecretId, WorkspaceId};
use crate::domain::token::{LookupKey, Token, TokenDigest};

pub use file::FileKey;

/// The root key: 32 bytes that a deployment keeps outside the database.
pub type RootKeyBytes = [u8; 32];

const NONCE_LEN: usize = 12;
/// First byte of everything sealed: which construction it is.
const VERSION: u8 = 1;
const WRAP_PURPOSE: &[u8] = b"claviger/envelope";

/// The keys that a process works with, unwrapped.
#[derive(Clone)]
pub struct Envelope {
    lookup: LookupKey,
    seal: Zeroizing<[u8; 32]>,
}

impl Envelope {
    /// Makes new random keys, and wraps them with the root key for the database to keep.
    pub fn create(
        root: &RootKeyBytes,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Vec<u8>), EnvelopeError> {
        let mut keys = Zeroizing::new([0_u8; 64]);
        entropy.fill(keys.as_mut_slice())?;
        let wrapped = seal(root, WRAP_PURPOSE, keys.as_slice(), entropy)?;
        Ok((Self::from_keys(&keys), wrapped))
    }

    /// Unwraps the keys that a database keeps, with the first root key that fits.
    pub fn open(wrapped: &[u8], roots: &[&RootKeyBytes]) -> Result<Self, EnvelopeError> {
        let keys = roots
            .iter()
            .find_map(|root| open(root, WRAP_PURPOSE, wrapped))
            .ok_or(EnvelopeError::WrongRootKey)?;
        let keys: Zeroizing<[u8; 64]> = Zeroizing::new(
            keys.as_slice()
                .try_into()
                .map_err(|_| EnvelopeError::WrongRootKey)?,
        );
        Ok(Self::from_keys(&keys))
    }

    /// Wraps the keys of a database anew with `to`, where another of the root keys wraps them now; none where `to` does.
    pub fn rewrap(
        wrapped: &[u8],
        to: &RootKeyBytes,
        others: &[&RootKeyBytes],
        entropy: &dyn Entropy,
    ) -> Result<Option<Vec<u8>>, EnvelopeError> {
        if open(to, WRAP_PURPOSE, wrapped).is_some() {
            return Ok(None);
        }
        let keys = others
            .iter()
            .find_map(|root| open(root, WRAP_PURPOSE, wrapped));
        let keys = keys.ok_or(EnvelopeError::WrongRootKey)?;
        seal(to, WRAP_PURPOSE, &keys, entropy).map(Some)
    }

    /// Whether these are the same keys, however they are wrapped.
    pub fn is_same(&self, other: &Self) -> bool {
        let [own, others] = [self, other].map(|keys| keys.lookup.derive("same", &[]));
        own == others
    }

    /// The key that tags are made with.
    pub fn lookup(&self) -> &LookupKey {
        &self.lookup
    }

    /// Seals a token for the database, bound to the secret it is of: moved to another row it does not open.
    pub fn seal_token(
        &self,
        key: KeyId,
        secret: SecretId,
        token: &Token,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, EnvelopeError> {
        seal(
            &self.seal,
            &token_purpose(key, secret),
            token.reveal().as_bytes(),
            entropy,
        )
    }

    /// Opens a token sealed by [`Self::seal_token`].
    pub fn open_token(&self, key: KeyId, secret: SecretId, sealed: &[u8]) -> Option<Token> {
        open_token_with(&self.seal, key, secret, sealed)
    }

    /// Seals the digest of a token, bound to its secret as a token is.
    pub fn seal_digest(
        &self,
        key: KeyId,
        secret: SecretId,
        digest: &TokenDigest,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, EnvelopeError> {
        seal(
            &self.seal,
            &digest_purpose(key, secret),
            digest.as_bytes(),
            entropy,
        )
    }

    /// Opens a digest sealed by [`Self::seal_digest`].
    pub fn open_digest(&self, key: KeyId, secret: SecretId, sealed: &[u8]) -> Option<TokenDigest> {
        let opened = open(&self.seal, &digest_purpose(key, secret), sealed)?;
        <[u8; 32]>::try_from(opened.as_slice())
            .ok()
            .map(TokenDigest::from_bytes)
    }

    /// Seals what POSTbacks are signed with, bound to its workspace and row.
    pub fn seal_signing_key(
        &self,
        workspace: &WorkspaceId,
        id: SigningSecretId,
        key: &[u8; 32],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, EnvelopeError> {
        seal(&self.seal, &signing_purpose(workspace, id), key, entropy)
    }

    /// Opens a key sealed by [`Self::seal_signing_key`].
    pub fn open_signing_key(
        &self,
        workspace: &WorkspaceId,
        id: SigningSecretId,
        sealed: &[u8],
    ) -> Option<Zeroizing<[u8; 32]>> {
        let opened = open(&self.seal, &signing_purpose(workspace, id), sealed)?;
        <[u8; 32]>::try_from(opened.as_slice())
            .ok()
            .map(Zeroizing::new)
    }

    /// The key under which the token in a stored answer is sealed. Only who knows the `request_id` can make it: it is
    /// stored nowhere.
    pub fn replay_key(&self, caller: KeyId, method: &str, request_id: &[u8; 16]) -> ReplayKey {
        let derived = self.lookup.derive(
            "replay",
            &[&caller.to_bytes(), method.as_bytes(), request_id],
        );
        ReplayKey(Zeroizing::new(derived))
    }

    fn from_keys(keys: &[u8; 64]) -> Self {
        let (lookup, seal) = keys.split_at(32);
        let half = |bytes: &[u8]| Zeroizing::new(<[u8; 32]>::try_from(bytes).unwrap_or_default());
        Self {
            lookup: LookupKey::new(&half(lookup)),
            seal: half(seal),
        }
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envelope(redacted)")
    }
}

/// Seals the tokens of one stored answer.
pub struct ReplayKey(Zeroizing<[u8; 32]>);

impl ReplayKey {
    /// Seals a token.
    pub fn seal(
        &self,
        key: KeyId,
        secret: SecretId,
        token: &Token,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, EnvelopeError> {
        seal(
            &self.0,
            &token_purpose(key, secret),
            token.reveal().as_bytes(),
            entropy,
        )
    }

    /// Opens a token sealed by [`Self::seal`].
    pub fn open(&self, key: KeyId, secret: SecretId, sealed: &[u8]) -> Option<Token> {
        open_token_with(&self.0, key, secret, sealed)
    }
}

impl fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayKey(redacted)")
    }
}

/// Why sealing or unwrapping failed.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// No root key at hand opens the database's keys.
    #[error(
        "the root key does not open this database's keys; give the one that wraps them, or give it as CLAVIGER_ROOT_KEY_PREVIOUS to replace it"
    )]
    WrongRootKey,
    /// The cipher refused, which it does only for absurd lengths.
    #[error("sealing failed")]
    Seal,
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

fn token_purpose(key: KeyId, secret: SecretId) -> Vec<u8> {
    [&b"claviger/token"[..], &key.to_bytes(), &secret.to_bytes()].concat()
}

fn digest_purpose(key: KeyId, secret: SecretId) -> Vec<u8> {
    [&b"claviger/digest"[..], &key.to_bytes(), &secret.to_bytes()].concat()
}

fn signing_purpose(workspace: &WorkspaceId, id: SigningSecretId) -> Vec<u8> {
    let workspace = workspace.as_str().as_bytes();
    [&b"claviger/signing"[..], &id.to_bytes(), workspace].concat()
}

fn open_token_with(under: &[u8; 32], key: KeyId, secret: SecretId, sealed: &[u8]) -> Option<Token> {
    let opened = open(under, &token_purpose(key, secret), sealed)?;
    let text = std::str::from_utf8(&opened).ok()?;
    Some(Token::from_sealed(Zeroizing::new(text.to_owned())))
}

/// `VERSION | nonce | ciphertext and tag`, AES-256-GCM with the purpose as associated data. Nonces are random: fit for some
/// 2^32 seals under one key (NIST SP 800-38D, 8.3).
fn seal(
    under: &[u8; 32],
    purpose: &[u8],
    plain: &[u8],
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, EnvelopeError> {
    let mut nonce = [0_u8; NONCE_LEN];
    entropy.fill(&mut nonce)?;
    let payload = Payload {
        msg: plain,
        aad: purpose,
    };
    let cipher = Aes256Gcm::new(under.into());
    let sealed = cipher
        .encrypt(&Nonce::from(nonce), payload)
        .map_err(|_| EnvelopeError::Seal)?;
    Ok([&[VERSION][..], &nonce, &sealed].concat())
}

fn open(under: &[u8; 32], purpose: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (version, rest) = sealed.split_first()?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
    let payload = Payload {
        msg: sealed,
        aad: purpose,
    };
    let cipher = Aes256Gcm::new(under.into());
    (*version == VERSION)
        .then(|| cipher.decrypt(&Nonce::from(*nonce), payload).ok())
        .flatten()
        .map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Time;

    struct Counting(std::sync::atomic::AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
            for byte in buffer {
                *byte = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        }
    }

    fn ids() -> (KeyId, SecretId) {
        let now = Time::from_micros(1);
        (KeyId::new(now, [1; 10]), SecretId::new(now, [2; 10]))
    }

    #[test]
    fn keys_unwrap_with_their_root_key_and_no_other() {
        let entropy = Counting(0.into());
        let (made, wrapped) = Envelope::create(&[1; 32], &entropy).unwrap();
        let digest = crate::domain::token::TokenDigest::of(b"x");
        let opened = Envelope::open(&wrapped, &[&[9; 32], &[1; 32]]).unwrap();
        assert_eq!(opened.lookup().tag(&digest), made.lookup().tag(&digest));
        assert!(matches!(
            Envelope::open(&wrapped, &[&[9; 32]]),
            Err(EnvelopeError::WrongRootKey)
        ));
        assert!(matches!(
            Envelope::open(&wrapped[..20], &[&[1; 32]]),
            Err(EnvelopeError::WrongRootKey)
        ));
        assert!(matches!(
            Envelope::open(&[], &[&[1; 32]]),
            Err(EnvelopeError::WrongRootKey)
        ));
    }

    #[test]
    fn keys_are_wrapped_anew_with_the_new_root_key() {
        let entropy = Counting(0.into());
        let (made, wrapped) = Envelope::create(&[1; 32], &entropy).unwrap();
        assert!(
            Envelope::rewrap(&wrapped, &[1; 32], &[], &entropy)
                .unwrap()
                .is_none()
        );
        let anew = Envelope::rewrap(&wrapped, &[2; 32], &[&[1; 32]], &entropy)
            .unwrap()
            .unwrap();
        let opened = Envelope::open(&anew, &[&[2; 32]]).unwrap();
        let digest = crate::domain::token::TokenDigest::of(b"x");
        assert_eq!(opened.lookup().tag(&digest), made.lookup().tag(&digest));
        assert!(Envelope::open(&anew, &[&[1; 32]]).is_err());
        assert!(Envelope::rewrap(&wrapped, &[3; 32], &[&[4; 32]], &entropy).is_err());
    }

    #[test]
    fn a_sealed_token_opens_only_in_its_own_row() {
        let entropy = Counting(0.into());
        let (envelope, _) = Envelope::create(&[1; 32], &entropy).unwrap();
        let (key, secret) = ids();
        let token = Token::generate("clv", &[3; 32]);
        let sealed = envelope.seal_token(key, secret, &token, &entropy).unwrap();
        assert_eq!(
            envelope.open_token(key, secret, &sealed),
            Some(token.clone())
        );
        let other = SecretId::new(Time::from_micros(1), [4; 10]);
        assert_eq!(envelope.open_token(key, other, &sealed), None);
        let text = String::from_utf8_lossy(&sealed);
        assert!(!text.contains(token.reveal().split_at(20).0));
    }

    #[test]
    fn a_sealed_digest_opens_only_in_its_own_row_and_is_no_sealed_token() {
        let entropy = Counting(0.into());
        let (envelope, _) = Envelope::create(&[1; 32], &entropy).unwrap();
        let (key, secret) = ids();
        let digest = Token::generate("clv", &[3; 32]).digest();
        let sealed = envelope
            .seal_digest(key, secret, &digest, &entropy)
            .unwrap();
        assert_eq!(envelope.open_digest(key, secret, &sealed), Some(digest));
        let other = SecretId::new(Time::from_micros(1), [4; 10]);
        assert_eq!(envelope.open_digest(key, other, &sealed), None);
        assert_eq!(envelope.open_token(key, secret, &sealed), None);
        assert!(!sealed.windows(8).any(|w| w == &digest.as_bytes()[..8]));
    }

    #[test]
    fn a_sealed_signing_key_opens_only_in_its_own_row_and_workspace() {
        let entropy = Counting(0.into());
        let (envelope, _) = Envelope::create(&[1; 32], &entropy).unwrap();
        let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let id = SigningSecretId::from_u128(5);
        let sealed = envelope
            .seal_signing_key(&acme, id, &[9; 32], &entropy)
            .unwrap();
        let open = |workspace, id| envelope.open_signing_key(workspace, id, &sealed);
        assert_eq!(open(&acme, id).as_deref(), Some(&[9; 32]));
        assert_eq!(open(&other, id), None);
        assert_eq!(open(&acme, SigningSecretId::from_u128(6)), None);
        assert!(!sealed.windows(8).any(|w| w == [9; 8]));
    }

    #[test]
    fn a_replayed_token_needs_the_request_id() {
        let entropy = Counting(0.into());
        let (envelope, _) = Envelope::create(&[1; 32], &entropy).unwrap();
        let (key, secret) = ids();
        let token = Token::generate("", &[3; 32]);
        let sealed = envelope
            .replay_key(key, "m", &[7; 16])
            .seal(key, secret, &token, &entropy)
            .unwrap();
        assert_eq!(
            envelope
                .replay_key(key, "m", &[7; 16])
                .open(key, secret, &sealed),
            Some(token)
        );
        assert_eq!(
            envelope
                .replay_key(key, "m", &[8; 16])
                .open(key, secret, &sealed),
            None
        );
        assert_eq!(
            envelope
                .replay_key(key, "n", &[7; 16])
                .open(key, secret, &sealed),
            None
        );
    }
}
