//! What is demanded of a key.

/// What is demanded of the key of a request. A request that nothing is demanded of is refused, so that a forgotten demand
/// opens nothing; [`Demand::any_key`] says that every live key of the workspace will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    pub(super) workspace: String,
    pub(super) all_of: Vec<String>,
    pub(super) any_of: Vec<String>,
    pub(super) subscription: String,
    any_key: bool,
}

impl Demand {
    /// All of these scopes; at most 64.
    pub fn all_of<S: Into<String>>(scopes: impl IntoIterator<Item = S>) -> Self {
        Self {
            all_of: scopes.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// One of these scopes; at most 64.
    pub fn any_of<S: Into<String>>(scopes: impl IntoIterator<Item = S>) -> Self {
        Self {
            any_of: scopes.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Any live key of the workspace.
    pub fn any_key() -> Self {
        Self {
            any_key: true,
            ..Self::default()
        }
    }

    /// The workspace whose keys open it; unset: the default one of Claviger's process.
    #[must_use]
    pub fn in_workspace(mut self, workspace: impl Into<String>) -> Self {
        self.workspace = workspace.into();
        self
    }

    /// The subscription that the request acts for: a live one, and one of the key's where it is bound to any.
    #[must_use]
    pub fn for_subscription(mut self, subscription: impl Into<String>) -> Self {
        self.subscription = subscription.into();
        self
    }

    /// Whether nothing is demanded, and nobody said that this is meant.
    pub(super) fn is_nothing(&self) -> bool {
        !self.any_key && self.all_of.is_empty() && self.any_of.is_empty()
    }
}
