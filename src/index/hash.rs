//! Hashing of what is random already, and of what is found by two names without owning them.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::domain::id::WorkspaceId;

/// Takes the low 64 bits of a 128-bit key for its hash. Right for tags, which are keyed, so that nobody outside can choose
/// where one lands, and for ids, whose low 62 bits are random.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BuildIdHasher;

impl BuildHasher for BuildIdHasher {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher(0)
    }
}

#[derive(Debug)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only 128-bit keys are hashed with it; anything else still gets a hash that depends on all of its bytes.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        let bytes = value.to_le_bytes();
        let (low, _) = bytes.split_at(8);
        self.0 = low.try_into().map(u64::from_le_bytes).unwrap_or(0);
    }
}

/// A thing of a workspace, by the names that their owners gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned<I>(pub(super) WorkspaceId, pub(super) I);

/// The same, borrowed: must hash alike.
pub(super) struct OwnedRef<'a>(pub(super) &'a str, pub(super) &'a str);

impl<I: Borrow<str>> Hash for Owned<I> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0.as_str(), self.1.borrow()).hash(state);
    }
}

impl Hash for OwnedRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0, self.1).hash(state);
    }
}

impl<I: Borrow<str>> papaya::Equivalent<Owned<I>> for OwnedRef<'_> {
    fn equivalent(&self, key: &Owned<I>) -> bool {
        self.0 == key.0.as_str() && self.1 == key.1.borrow()
    }
}
