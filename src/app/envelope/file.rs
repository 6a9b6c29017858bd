//! The key of one sealed file, whose records open at their own place alone.

use std::fmt;

use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use super::{Envelope, EnvelopeError, NONCE_LEN};

impl Envelope {
    /// The key of the file that begins with this header. The header must have random bytes of its own in it: then no two
    /// files share a key, and where a record stands in its file can be its nonce.
    pub fn file_key(&self, header: &[u8]) -> FileKey {
        let key = Zeroizing::new(self.lookup.derive("snapshot", &[header]));
        FileKey(Box::new(Aes256Gcm::new((&*key).into())))
    }
}

/// Seals the records of one file. One that was moved, or is of another file, or of one with another header, does not open.
pub struct FileKey(Box<Aes256Gcm>);

impl FileKey {
    /// Seals the record at a place. No two may be sealed for one place.
    pub fn seal(&self, place: u64, plain: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let sealed = self.0.encrypt(&Nonce::from(nonce(place)), plain);
        sealed.map_err(|_| EnvelopeError::Seal)
    }

    /// Opens the record at a place.
    pub fn open(&self, place: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(&Nonce::from(nonce(place)), sealed).ok()
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(redacted)")
    }
}

fn nonce(place: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    let (_, counter) = nonce.split_at_mut(NONCE_LEN - size_of::<u64>());
    counter.copy_from_slice(&place.to_be_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::ports::{Entropy, EntropyError};

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
            buffer.fill(7);
            Ok(())
        }
    }

    #[test]
    fn a_record_opens_at_its_place_in_its_file_and_nowhere_else() {
        let (envelope, _) = Envelope::create(&[1; 32], &Fixed).unwrap();
        let (one, other) = (envelope.file_key(b"one"), envelope.file_key(b"other"));
        let sealed = one.seal(3, b"plain").unwrap();
        assert_eq!(one.open(3, &sealed).as_deref(), Some(&b"plain"[..]));
        assert_eq!(one.open(4, &sealed), None);
        assert_eq!(other.open(3, &sealed), None);
        assert!(!sealed.windows(5).any(|w| w == b"plain"));
        let again = envelope.file_key(b"one").open(3, &sealed);
        assert_eq!(again.as_deref(), Some(&b"plain"[..]));
    }
}
