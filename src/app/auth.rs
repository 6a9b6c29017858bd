//! Administrators: who calls, and what they may do.

use std::net::IpAddr;

use crate::app::error::{Code, Error};
use crate::app::last_used::LastUsed;
use crate::app::ports::Tx;
use crate::decide::{self, Admitted};
use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Key, KeyState};
use crate::domain::network;
use crate::domain::scope::{AdminScope, Grant};
use crate::domain::time::Time;
use crate::domain::workspace::Scope;
use crate::index::View;

/// An administrator, recognised by key.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key.
    pub key: KeyId,
    /// The secret of it that was presented.
    pub secret: SecretId,
    /// The address the call came from; none: not known.
    pub peer: Option<IpAddr>,
    /// The workspace it belongs to; `system` administers all.
    pub workspace: WorkspaceId,
    /// The subscriptions it is bound to; empty: none.
    pub subscriptions: Vec<SubscriptionId>,
    /// Its rights over Claviger, implied ones too.
    pub rights: Vec<Grant>,
}

impl Caller {
    /// Recognises a caller by the credential of an administration call. What exactly is wrong with it is for the log. A
    /// key without any right over Claviger is no administrator, and has not been used by asking.
    pub fn authenticate(
        credential: &[u8],
        workspace: Option<&str>,
        peer: Option<IpAddr>,
        view: &View<'_>,
        now: Time,
        used: &LastUsed,
    ) -> Result<Self, Error> {
        let admitted = decide::admit(credential, workspace, peer, view, now);
        let admitted = admitted.map_err(|reason| {
            unauthenticated(
                "this call needs a usable key of an administrator: metadata `authorization: Bearer TOKEN`; where one token is a \
                 key of several workspaces, name one in metadata `x-claviger-workspace`",
                reason,
            )
        })?;
        let caller = Self::of(admitted, peer);
        if caller.rights.is_empty() {
            return Err(Error::denied(
                "MISSING_SCOPE",
                "the key of this call has no right over Claviger: none of its scopes is of the family `claviger:`",
            ));
        }
        used.note(&admitted.secret.usage, now);
        Ok(caller)
    }

    /// The same caller as it stands now: between the head of a call and its message much can have changed.
    pub fn refresh(&self, view: &View<'_>, now: Time) -> Result<Self, Error> {
        let admitted = decide::readmit(self.key, self.secret, self.peer, view, now);
        admitted
            .map(|a| Self::of(a, self.peer))
            .map_err(|reason| unauthenticated(NO_LONGER, reason))
    }

    fn of(admitted: Admitted<'_>, peer: Option<IpAddr>) -> Self {
        let Admitted {
            key,
            secret,
            workspace,
        } = admitted;
        let implied = workspace
            .scopes
            .iter()
            .filter(|(name, _)| key.scopes.iter().any(|grant| grant.covers(name)))
            .flat_map(|(_, scope)| scope.implies.iter().cloned());
        Self {
            key: key.id(),
            secret: secret.id(),
            peer,
            workspace: key.workspace.clone(),
            subscriptions: key.subscriptions.to_vec(),
            rights: key
                .scopes
                .iter()
                .filter(|g| g.is_admin())
                .cloned()
                .chain(implied)
                .collect(),
        }
    }

    /// The same caller as it stands in a transaction: what changed since it was recognised counts, even what this process
    /// has not applied yet.
    pub async fn recheck(&self, tx: &mut dyn Tx, now: Time) -> Result<Self, Error> {
        let gone = |reason: Reason| unauthenticated(NO_LONGER, reason);
        let key = tx
            .key(self.key)
            .await?
            .ok_or_else(|| gone(Reason::UnknownKey))?;
        if key.state(now) != KeyState::Active {
            return Err(gone(Reason::KeyDisabled));
        }
        if !key
            .secrets
            .iter()
            .any(|s| s.id == self.secret && s.is_live(now))
        {
            return Err(gone(Reason::SecretRevoked));
        }
        let cidrs = &key.settings.allowed_cidrs;
        if !cidrs.is_empty() && !self.peer.is_some_and(|ip| network::any_contains(cidrs, ip)) {
            return Err(gone(Reason::IpNotAllowed));
        }
        if !tx
            .workspace(&key.workspace)
            .await?
            .is_some_and(|w| w.enabled)
        {
            return Err(gone(Reason::WorkspaceDisabled));
        }
        let rights = admin_rights(&key.settings.scopes, &tx.scopes(&key.workspace).await?);
        Ok(Self {
            key: key.id,
            secret: self.secret,
            peer: self.peer,
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

const NO_LONGER: &str = "the key of this call is no longer usable";

fn unauthenticated(message: &str, reason: Reason) -> Error {
    let mut error = Error::new(Code::Unauthenticated, "UNAUTHENTICATED", message);
    error.source = Some(reason.as_str().into());
    error
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
