//! Administrators: who calls, and what they may do.

use std::net::IpAddr;

use crate::app::error::{Code, Error};
use crate::app::last_used::LastUsed;
use crate::app::ports::Tx;
use crate::decide;
use crate::domain::id::{KeyId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Key, KeyState};
use crate::domain::scope::{AdminScope, Grant};
use crate::domain::time::Time;
use crate::domain::workspace::Scope;
use crate::index::View;

/// An administrator, recognised by key.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key.
    pub key: KeyId,
    /// The workspace it belongs to; `system` administers all.
    pub workspace: WorkspaceId,
    /// The subscriptions it is bound to; empty: none.
    pub subscriptions: Vec<SubscriptionId>,
    /// Its rights over Claviger, implied ones too.
    pub rights: Vec<Grant>,
}

impl Caller {
    /// Recognises a caller by the credential of an administration call. What exactly is wrong with it is for the log.
    pub fn authenticate(
        credential: &[u8],
        workspace: Option<&str>,
        peer: Option<IpAddr>,
        view: &View<'_>,
        now: Time,
        used: &LastUsed,
    ) -> Result<Self, Error> {
        let (key, secret, record) = decide::admit(credential, workspace, peer, view, now).map_err(|reason| {
            let mut error = Error::new(
                Code::Unauthenticated,
                "UNAUTHENTICATED",
                "this call needs a usable key of an administrator: metadata `authorization: Bearer TOKEN`; where one token is a key of \
                 several workspaces, name one in metadata `x-claviger-workspace`",
            );
            error.source = Some(reason.as_str().into());
            error
        })?;
        used.note(&secret.usage, now);
        let implied = record
            .scopes
            .iter()
            .filter(|(name, _)| key.scopes.iter().any(|grant| grant.covers(name)))
            .flat_map(|(_, scope)| scope.implies.iter().cloned());
        let rights = key
            .scopes
            .iter()
            .filter(|g| g.is_admin())
            .cloned()
            .chain(implied)
            .collect();
        Ok(Self {
            key: key.id,
            workspace: key.workspace.clone(),
            subscriptions: key.subscriptions.to_vec(),
            rights,
        })
    }

    /// The same caller as it stands in a transaction: what changed since it was recognised counts.
    pub async fn recheck(&self, tx: &mut dyn Tx, now: Time) -> Result<Self, Error> {
        let gone = || {
            Error::new(
                Code::Unauthenticated,
                "UNAUTHENTICATED",
                "the key of this call is no longer usable",
            )
        };
        let key = tx.key(self.key).await?.ok_or_else(gone)?;
        if key.state(now) != KeyState::Active || !key.has_live_secret(now) {
            return Err(gone());
        }
        let rights = admin_rights(&key.settings.scopes, &tx.scopes(&key.workspace).await?);
        Ok(Self {
            key: key.id,
            workspace: key.workspace,
            subscriptions: key.settings.subscriptions,
            rights,
        })
    }

    /// Whether it belongs to `system`.
    pub fn is_system(&self) -> bool {
        self.workspace.is_system()
    }

    /// Demands a right.
    pub fn require(&self, right: AdminScope) -> Result<(), Error> {
        if self.holds(right.as_str()) {
            Ok(())
        } else {
            Err(Error::denied(
                "MISSING_SCOPE",
                format!("the key of this call lacks `{}`", right.as_str()),
            ))
        }
    }

    /// Demands every right that a change would hand out.
    pub fn require_all(&self, rights: &[Grant], what: &str) -> Result<(), Error> {
        match rights.iter().find(|right| !self.holds(right.as_str())) {
            None => Ok(()),
            Some(missing) => Err(Error::denied(
                "ESCALATION",
                format!(
                    "{what} `{}`, which the key of this call does not hold",
                    missing.as_str()
                ),
            )),
        }
    }

    /// The workspace a request is about: as named, else the caller's own, for `system` the process's default. Another
    /// workspace's answers as if it did not exist.
    pub fn workspace(&self, requested: &str, default: &WorkspaceId) -> Result<WorkspaceId, Error> {
        let workspace = match requested {
            "" if self.is_system() => return Ok(default.clone()),
            "" => return Ok(self.workspace.clone()),
            requested => requested
                .parse()
                .map_err(|e| Error::invalid_at("workspace", e))?,
        };
        if self.is_system() || workspace == self.workspace {
            Ok(workspace)
        } else {
            Err(Error::not_found("workspace"))
        }
    }

    /// Whether it may see a key: of its workspace, and where it is bound to subscriptions, bound within those.
    pub fn may_see(&self, key: &Key) -> bool {
        (self.is_system() || key.workspace == self.workspace)
            && self.may_bind(&key.settings.subscriptions)
    }

    /// Whether it may administer what is bound to these subscriptions.
    pub fn may_bind(&self, subscriptions: &[SubscriptionId]) -> bool {
        self.subscriptions.is_empty()
            || !subscriptions.is_empty()
                && subscriptions.iter().all(|s| self.subscriptions.contains(s))
    }

    /// Refuses callers that are bound to subscriptions: what they ask for concerns a whole workspace.
    pub fn require_unbound(&self) -> Result<(), Error> {
        if self.subscriptions.is_empty() {
            Ok(())
        } else {
            Err(Error::denied(
                "BOUND_TO_SUBSCRIPTIONS",
                "the key of this call is bound to subscriptions, and this concerns the whole workspace",
            ))
        }
    }

    fn holds(&self, right: &str) -> bool {
        self.rights.iter().any(|grant| grant.covers(right))
    }
}

/// The rights over Claviger that these grants bring, by themselves and through the catalogue.
pub fn admin_rights(grants: &[Grant], catalogue: &[Scope]) -> Vec<Grant> {
    let implied = catalogue
        .iter()
        .filter(|scope| grants.iter().any(|grant| grant.covers(&scope.name)))
        .flat_map(|scope| scope.implies.iter().cloned());
    grants
        .iter()
        .filter(|g| g.is_admin())
        .cloned()
        .chain(implied)
        .collect()
}
