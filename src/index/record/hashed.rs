//! Digests of records: over all that decisions depend on, and nothing else. What is left out is named here, so that a field
//! that is added is in or out by decision.

use std::hash::{Hash, Hasher};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::domain::id::{PrincipalId, WorkspaceId};
use crate::domain::route::Route;

use super::{KeyRecord, PrincipalRecord, ScopeRecord, SecretRecord, SecretUsage, WorkspaceRecord};

/// SHA-256 of what is written to it, in whatever way.
#[derive(Default)]
struct Sha(Sha256);

impl Sha {
    fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Hasher for Sha {
    fn finish(&self) -> u64 {
        // Nobody asks for it.
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// The digest of what there are few of.
pub(in crate::index) fn of_json(value: &impl Serialize) -> [u8; 32] {
    // Of types that are written as JSON elsewhere: it can't fail. If it did, nothing would be equal to it but the same
    // failure.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    Sha256::digest(bytes).into()
}

impl KeyRecord {
    /// Its digest, without its secrets.
    pub(in crate::index) fn digest(&self) -> [u8; 32] {
        let Self {
            id,
            revision,
            secrets: _,
            shared,
            expire_time,
            enabled,
            deleted,
            // What is refused in doubt is not in the database.
            closed: _,
            // What decisions leave behind.
            exercised_of: _,
            exercised: _,
        } = self;
        let mut sha = Sha::default();
        id.hash(&mut sha);
        (revision, expire_time.0, enabled, deleted).hash(&mut sha);
        shared.hash(&mut sha);
        sha.end()
    }
}

impl SecretRecord {
    /// Its digest, as a secret of the key with this one.
    pub(in crate::index) fn digest(&self, key: &[u8; 32]) -> [u8; 32] {
        let Self {
            usage,
            retire_time,
            weak,
            by_digest,
            revoked,
        } = self;
        let SecretUsage {
            id,
            tag,
            last_used: _,
        } = &**usage;
        let mut sha = Sha::default();
        (key, id, tag.as_bytes()).hash(&mut sha);
        (retire_time.0, weak, by_digest, revoked).hash(&mut sha);
        sha.end()
    }
}

impl WorkspaceRecord {
    /// Its digest, without its catalogue.
    pub(in crate::index) fn digest(&self) -> [u8; 32] {
        let Self {
            id,
            // When it was read.
            revision: _,
            enabled,
            locations,
            presentations,
            undemanded_scopes,
            enforcement,
            log,
            unmatched_requests,
            scopes: _,
            closed: _,
        } = self;
        let log = (log.denied, log.allowed_below);
        let settings = (undemanded_scopes, enforcement, unmatched_requests);
        of_json(&(id, enabled, &**locations, presentations, settings, log))
    }
}

impl ScopeRecord {
    /// Its digest, as an entry of this name of this workspace.
    pub(in crate::index) fn digest(&self, workspace: &WorkspaceId, name: &str) -> [u8; 32] {
        let Self {
            presentations,
            implies,
        } = self;
        of_json(&(workspace, name, presentations, &**implies))
    }
}

impl PrincipalRecord {
    /// Its digest, as the one of this id in this workspace.
    pub(in crate::index) fn digest(&self, workspace: &WorkspaceId, id: &PrincipalId) -> [u8; 32] {
        let Self {
            revision,
            update_time,
            enabled,
            scopes,
            admin_only,
        } = self;
        let of = (revision, update_time, enabled, admin_only);
        of_json(&(workspace, id, of, &**scopes))
    }
}

/// The digest of a route.
pub(in crate::index) fn of_route(route: &Route) -> [u8; 32] {
    of_json(route)
}
