//! What is answered: what was decided, and about whom.

use super::identify::Identified;
use super::{Carried, Check, Taken};
use crate::domain::decision::Reason;
use crate::domain::principal::Granted;
use crate::domain::scope::Grant;
use crate::domain::workspace::Presentation;
use crate::index::{KeyRecord, PrincipalRecord, SecretRecord, WorkspaceRecord};

/// What was decided, and about whom.
#[derive(Debug)]
pub struct Verdict<'v> {
    /// Why; `Ok` allows.
    pub reason: Reason,
    /// The workspace, if there is one of that name.
    pub workspace: Option<&'v WorkspaceRecord>,
    /// The key and the secret of it that was presented, wherever they were recognised.
    pub key: Option<(&'v KeyRecord, &'v SecretRecord)>,
    /// How the credential was presented, wherever there was exactly one.
    pub presentation: Option<Presentation>,
    /// The principal that the key is bound to, if it is there.
    pub principal: Option<&'v PrincipalRecord>,
    /// The subscription the request is accounted to; empty: none.
    pub subscription: &'v str,
    /// What would have denied, were it not in shadow.
    pub shadowed: Shadowed,
    /// What carried the credential.
    pub carried: Carried,
    /// The route that takes the request.
    pub taken: Option<Taken<'v>>,
    /// What would have denied, were its route not grandfathered: it is let through without an identity.
    pub grandfathered: Option<Reason>,
    /// A further key that the route demands, where it came.
    pub factor_key: Option<Identified<'v>>,
}

impl Verdict<'_> {
    /// Whether the request may pass.
    pub fn is_allow(&self) -> bool {
        self.reason == Reason::Ok
    }

    /// The key where one was recognised; none where the request is let through without one.
    fn known(&self) -> Option<Identified<'_>> {
        self.key.filter(|_| self.grandfathered.is_none())
    }

    /// What the key may do with data, where one was recognised: within what its principal may. May hold wildcards.
    pub fn scopes(&self) -> impl Iterator<Item = &Grant> {
        let granted = self.known().map(|(key, _)| key.granted(self.principal));
        let grants = granted.map(Granted::grants).unwrap_or_default();
        grants.into_iter().filter(|grant| !grant.is_admin())
    }

    /// The id of the principal that the key is bound to; empty: none.
    pub fn principal_id(&self) -> &str {
        let id = self.known().and_then(|(key, _)| key.principal.as_ref());
        id.map_or("", |id| id.as_str())
    }
}

/// Reasons that were only reported, at most one for each restriction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shadowed([Option<Reason>; 4]);

impl Shadowed {
    /// The reasons, in the order of the checks.
    pub fn iter(&self) -> impl Iterator<Item = Reason> + '_ {
        self.0.iter().copied().flatten()
    }

    pub(super) fn note(&mut self, check: Check, reason: Reason) {
        let restriction = match check {
            Check::Network => 0,
            Check::Presentation => 1,
            Check::Subscription => 2,
            Check::Scopes => 3,
            // Nothing else can be in shadow.
            _ => return,
        };
        if let Some(place) = self.0.get_mut(restriction) {
            *place = Some(reason);
        }
    }
}
