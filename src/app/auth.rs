//! Administrators: who calls, and what they may do.

use std::net::IpAddr;

use crate::app::error::{Code, Error};
use crate::app::last_used::LastUsed;
use crate::app::ports::{Actor, StoreError, Tx};
use crate::decide::{self, Admitted};
use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, PrincipalId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Key, KeyState};
use crate::domain::network;
use crate::domain::principal::{Granted, Principal};
use crate::domain::scope::{ADMIN_ALL, AdminScope, Grant};
use crate::domain::time::Time;
use crate::domain::workspace::Scope;
use crate::index::{View, WorkspaceRecord};

/// An administrator, recognised by key.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key.
    pub key: KeyId,
    /// The secret of it that was presented.
    pub secret: SecretId,
    /// The address the call came from; none: not known.
    pub peer: Option<IpAddr>,
    /// The workspace it belongs to; `system` administers all. Where it acts on behalf of a principal: that one's.
    pub workspace: WorkspaceId,
    /// The subscriptions it is bound to; empty: none.
    pub subscriptions: Vec<SubscriptionId>,
    /// Its rights over Claviger, implied ones too.
    pub rights: Vec<Grant>,
    /// The principal that it acts as; none: nobody.
    pub principal: Option<PrincipalId>,
    /// Whether the call named that principal: its key is a portal's.
    pub on_behalf: bool,
    /// Whether only the keys of that principal are its business.
    pub only_own: bool,
    /// What a key is bound to that it makes and that names no subscription.
    pub default_subscription: Option<SubscriptionId>,
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
        let own = admitted
            .map(|a| Self::of(a, self.peer))
            .map_err(|reason| unauthenticated(NO_LONGER, reason))?;
        let own = own.with_default_subscription(self.default_subscription.clone());
        match &self.principal {
            Some(principal) if self.on_behalf => {
                own.on_behalf_of(principal.clone(), self.workspace.clone(), view)
            }
            _ => Ok(own),
        }
    }

    fn of(admitted: Admitted<'_>, peer: Option<IpAddr>) -> Self {
        let Admitted {
            key,
            secret,
            workspace,
            principal,
        } = admitted;
        Self {
            key: key.id(),
            secret: secret.id(),
            peer,
            workspace: key.workspace.clone(),
            subscriptions: key.subscriptions.to_vec(),
            rights: rights_in(key.granted(principal), workspace),
            principal: key.principal.clone(),
            on_behalf: false,
            only_own: false,
            default_subscription: None,
        }
    }

    /// The same caller acting as a principal of a workspace, as a portal does for the user who is logged in: with no more
    /// rights than to manage that one's keys, and those only where the principal has them.
    pub fn on_behalf_of(
        self,
        principal: PrincipalId,
        workspace: WorkspaceId,
        view: &View<'_>,
    ) -> Result<Self, Error> {
        self.may_act_in(&workspace)?;
        let found = view.principal(workspace.as_str(), principal.as_str());
        let found = found
            .filter(|p| p.enabled)
            .zip(view.workspace(workspace.as_str()));
        let (record, catalogue) = found.ok_or_else(no_such_principal)?;
        let rights = rights_in(Granted::All(&record.scopes), catalogue);
        Ok(self.acting_as(principal, workspace, &rights))
    }

    fn may_act_in(&self, workspace: &WorkspaceId) -> Result<(), Error> {
        self.require(AdminScope::OnBehalf)?;
        if self.is_system() || *workspace == self.workspace {
            Ok(())
        } else {
            Err(no_such_principal())
        }
    }

    fn acting_as(self, principal: PrincipalId, workspace: WorkspaceId, rights: &[Grant]) -> Self {
        let own = AdminScope::KeysSelf.as_str();
        let has = rights.iter().find(|grant| grant.covers(own));
        Self {
            workspace,
            rights: has
                .and_then(|_| Grant::parse(own).ok())
                .into_iter()
                .collect(),
            principal: Some(principal),
            on_behalf: true,
            ..self
        }
    }

    /// The same caller, whose new keys are bound to this subscription where they name none.
    pub fn with_default_subscription(self, default: Option<SubscriptionId>) -> Self {
        Self {
            default_subscription: default,
            ..self
        }
    }

    /// The same caller, using this right: who may manage only their own keys sees no others.
    pub fn using(self, right: AdminScope) -> Result<Self, Error> {
        self.require(right)?;
        Ok(Self {
            only_own: right == AdminScope::KeysSelf,
            ..self
        })
    }

    /// Who it is to the audit log.
    pub fn actor(&self) -> Actor {
        match &self.principal {
            Some(principal) if self.on_behalf => Actor::OnBehalf(self.key, principal.clone()),
            _ => Actor::Key(self.key),
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
        let principal = principal_of(tx, &key).await?;
        if key.settings.principal.is_some() && !principal.as_ref().is_some_and(|p| p.enabled) {
            return Err(gone(Reason::PrincipalDisabled));
        }
        let may = principal.as_ref().map(|p| &*p.scopes);
        let catalogue = tx.scopes(&key.workspace).await?;
        let rights = admin_rights(key.settings.granted(may), &catalogue);
        let own = Self {
            key: key.id,
            secret: self.secret,
            peer: self.peer,
            workspace: key.workspace,
            subscriptions: key.settings.subscriptions,
            rights,
            principal: key.settings.principal,
            on_behalf: false,
            only_own: false,
            default_subscription: self.default_subscription.clone(),
        };
        match &self.principal {
            Some(principal) if self.on_behalf => own.recheck_behalf(principal, self, tx).await,
            _ => Ok(own),
        }
    }

    async fn recheck_behalf(
        self,
        principal: &PrincipalId,
        was: &Self,
        tx: &mut dyn Tx,
    ) -> Result<Self, Error> {
        self.may_act_in(&was.workspace)?;
        let found = tx.principal(&was.workspace, principal).await?;
        let found = found.filter(|p| p.enabled).ok_or_else(no_such_principal)?;
        let catalogue = tx.scopes(&was.workspace).await?;
        let rights = admin_rights(Granted::All(&found.scopes), &catalogue);
        Ok(self.acting_as(found.id, found.workspace, &rights))
    }

    /// Whether it belongs to `system`.
    pub fn is_system(&self) -> bool {
        self.workspace.is_system()
    }

    /// Demands a right.
    pub fn require(&self, right: AdminScope) -> Result<(), Error> {
        let lacks = |who: &str| {
            let message = format!("{who} lacks `{}`", right.as_str());
            Err(Error::denied("MISSING_SCOPE", message))
        };
        match self.holds(right.as_str()) {
            true if right == AdminScope::KeysSelf && self.principal.is_none() => {
                let message = format!(
                    "the key of this call is bound to no principal, so `{}` is of no use to it",
                    right.as_str()
                );
                Err(Error::denied("MISSING_SCOPE", message))
            }
            true => Ok(()),
            false if self.on_behalf => lacks("the principal that this call acts for"),
            false => lacks("the key of this call"),
        }
    }

    /// Whether it holds every right there is.
    pub fn holds_all(&self) -> bool {
        self.rights.iter().any(|grant| grant.as_str() == ADMIN_ALL)
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

    /// Whether it may see a key: of its workspace, and where it is bound to subscriptions, bound within those; who manages
    /// only their own keys, one of those.
    pub fn may_see(&self, key: &Key) -> bool {
        (self.is_system() || key.workspace == self.workspace)
            && self.may_bind(&key.settings.subscriptions)
            && (!self.only_own || self.is(key.settings.principal.as_ref()))
    }

    /// Whether it acts as this principal.
    pub fn is(&self, principal: Option<&PrincipalId>) -> bool {
        principal.is_some() && self.principal.as_ref() == principal
    }

    /// Whether it may administer what is bound to these subscriptions.
    pub fn may_bind(&self, subscriptions: &[SubscriptionId]) -> bool {
        self.subscriptions.is_empty()
            || !subscriptions.is_empty()
                && subscriptions.iter().all(|s| self.subscriptions.contains(s))
    }

    /// The subscriptions within which keys must be bound for it to see them; none: all keys are its business.
    pub fn within(&self) -> Option<Vec<SubscriptionId>> {
        (!self.subscriptions.is_empty()).then(|| self.subscriptions.clone())
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

fn no_such_principal() -> Error {
    Error::denied(
        "NO_SUCH_PRINCIPAL",
        "there is no enabled principal in this workspace with the id in metadata `x-claviger-principal`",
    )
}

/// The rights over Claviger that grants bring, by themselves and through the catalogue.
pub fn admin_rights(granted: Granted<'_>, catalogue: &[Scope]) -> Vec<Grant> {
    let entries = catalogue.iter().map(|s| (&*s.name, &*s.implies));
    rights(granted, entries)
}

/// The same, with the catalogue as the index has it.
fn rights_in(granted: Granted<'_>, workspace: &WorkspaceRecord) -> Vec<Grant> {
    let entries = workspace
        .scopes
        .iter()
        .map(|(name, s)| (&**name, &*s.implies));
    rights(granted, entries)
}

fn rights<'a>(
    granted: Granted<'_>,
    catalogue: impl Iterator<Item = (&'a str, &'a [Grant])>,
) -> Vec<Grant> {
    let implied = catalogue
        .filter(|(_, implies)| !implies.is_empty())
        .filter(|(name, _)| granted.covers(name))
        .flat_map(|(_, implies)| implies.iter().cloned());
    let own = granted.grants().into_iter().filter(|g| g.is_admin());
    own.cloned().chain(implied).collect()
}

/// The rights that whoever opens a key must hold: what it lists, whatever its principal may at this moment, and what it has
/// from that one.
pub fn rights_to_open(key: &Key, principal: Option<&[Grant]>, catalogue: &[Scope]) -> Vec<Grant> {
    let settings = &key.settings;
    let mut rights = admin_rights(Granted::All(&settings.scopes), catalogue);
    if settings.principal.is_some() {
        rights.extend(admin_rights(settings.granted(principal), catalogue));
    }
    rights
}

/// The same, of a key as it stands in a transaction.
pub async fn rights_to_open_now(tx: &mut dyn Tx, key: &Key) -> Result<Vec<Grant>, StoreError> {
    let principal = principal_of(tx, key).await?;
    let may = principal.as_ref().map(|p| &*p.scopes);
    let catalogue = tx.scopes(&key.workspace).await?;
    Ok(rights_to_open(key, may, &catalogue))
}

async fn principal_of(tx: &mut dyn Tx, key: &Key) -> Result<Option<Principal>, StoreError> {
    match &key.settings.principal {
        Some(id) => tx.principal(&key.workspace, id).await,
        None => Ok(None),
    }
}
