//! Which keys and principals to list.

use crate::domain::id::{KeyId, PrincipalId, SubscriptionId, WorkspaceId};
use crate::domain::time::Time;

/// Which keys to list.
#[derive(Debug, Clone)]
pub struct KeyQuery {
    /// Of this workspace.
    pub workspace: WorkspaceId,
    /// Part of the folded display name.
    pub name_contains: Option<String>,
    /// States wanted.
    pub states: StateSet,
    /// When states are told.
    pub now: Time,
    /// Listing exactly this grant.
    pub scope: Option<String>,
    /// Bound to this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Bound to this principal.
    pub principal: Option<PrincipalId>,
    /// Bound to this one: all that who manages only their own may see.
    pub only_of: Option<PrincipalId>,
    /// Bound to some of these, and to none besides: what a bound administrator may see.
    pub within: Option<Vec<SubscriptionId>>,
    /// With this label, and this value of it where given.
    pub label: Option<(String, Option<String>)>,
    /// Expiring before.
    pub expire_before: Option<Time>,
    /// Not used since.
    pub unused_since: Option<Time>,
    /// With a restriction in shadow.
    pub in_shadow: bool,
    /// In this order.
    pub order: KeyOrder,
    /// Only those after this place in the order.
    pub after: Option<KeyCursor>,
    /// How many at most.
    pub limit: u32,
}

impl KeyQuery {
    /// All keys of a workspace that are not deleted now, by creation.
    pub fn all(workspace: WorkspaceId, now: Time, limit: u32) -> Self {
        Self {
            workspace,
            name_contains: None,
            states: StateSet {
                active: true,
                disabled: true,
                expired: true,
                deleted: false,
            },
            now,
            scope: None,
            subscription: None,
            principal: None,
            only_of: None,
            within: None,
            label: None,
            expire_before: None,
            unused_since: None,
            in_shadow: false,
            order: KeyOrder::Created { descending: false },
            after: None,
            limit,
        }
    }
}

/// Which principals to list.
#[derive(Debug, Clone)]
pub struct PrincipalQuery {
    /// Of this workspace.
    pub workspace: WorkspaceId,
    /// Part of the id or the display name, folded.
    pub name_contains: Option<String>,
    /// Only those that are enabled, or that are not.
    pub enabled: Option<bool>,
    /// Only those after this one.
    pub after: Option<PrincipalId>,
    /// How many at most.
    pub limit: u32,
}

/// Key states, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateSet {
    /// Active ones.
    pub active: bool,
    /// Disabled ones.
    pub disabled: bool,
    /// Expired ones (and neither disabled nor deleted).
    pub expired: bool,
    /// Deleted ones.
    pub deleted: bool,
}

/// An order of keys; ids break ties, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrder {
    /// By id, which is by creation.
    Created {
        /// Newest first.
        descending: bool,
    },
    /// By folded display name.
    Name {
        /// Z first.
        descending: bool,
    },
}

/// A place in an order of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCursor {
    /// The folded display name; not used in the order of creation.
    pub name: String,
    /// The id.
    pub id: KeyId,
}
