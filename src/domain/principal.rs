//! Principals: who has permissions elsewhere, and what keys that are bound to them grant.

use serde::{Deserialize, Serialize};

use super::id::{PrincipalId, WorkspaceId};
use super::scope::Grant;
use super::time::Time;

/// A user or machine account, synchronised from where it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The workspace it belongs to.
    pub workspace: WorkspaceId,
    /// What it is called where it comes from.
    pub id: PrincipalId,
    /// A name for people.
    pub display_name: String,
    /// False: its keys are refused.
    pub enabled: bool,
    /// Its permissions, sorted, without doubles.
    pub scopes: Vec<Grant>,
    /// When it was made.
    pub create_time: Time,
    /// When it last changed.
    pub update_time: Time,
    /// The revision (`n`) of its last change: its etag.
    pub revision: u64,
}

impl Principal {
    /// Whether the other one says the same, whenever it was written.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.enabled == other.enabled
            && self.scopes == other.scopes
            && self.display_name == other.display_name
    }
}

/// Where the scopes of a key come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ScopeSource {
    /// It grants what it lists.
    #[default]
    Explicit,
    /// It grants what its principal may, cut down to what it lists, where it lists anything.
    Principal,
}

impl ScopeSource {
    /// Where the scopes of a key come from that does not say so.
    pub fn of(scopes: &[Grant], principal: &Option<PrincipalId>) -> Self {
        if principal.is_some() && scopes.is_empty() {
            Self::Principal
        } else {
            Self::Explicit
        }
    }
}

/// What a key grants: what it lists, within what its principal may.
#[derive(Debug, Clone, Copy)]
pub enum Granted<'a> {
    /// All of these.
    All(&'a [Grant]),
    /// What both of these cover.
    Both(&'a [Grant], &'a [Grant]),
}

impl<'a> Granted<'a> {
    /// What a key grants that lists `own`. `principal` is what its principal may; none: it is bound to nobody.
    pub fn of(own: &'a [Grant], source: ScopeSource, principal: Option<&'a [Grant]>) -> Self {
        match (principal, source) {
            (None, _) => Self::All(own),
            (Some(whole), ScopeSource::Principal) if own.is_empty() => Self::All(whole),
            (Some(whole), _) => Self::Both(own, whole),
        }
    }

    /// Whether it covers a scope.
    pub fn covers(self, scope: &str) -> bool {
        let any = |grants: &[Grant]| grants.iter().any(|grant| grant.covers(scope));
        match self {
            Self::All(grants) => any(grants),
            Self::Both(own, principal) => any(own) && any(principal),
        }
    }

    /// The grants that come to the same, sorted, without doubles. Wildcards nest or have nothing in common, so that the
    /// narrower of two is all that both cover.
    pub fn grants(self) -> Vec<&'a Grant> {
        let (own, principal) = match self {
            Self::All(grants) => return grants.iter().collect(),
            Self::Both(own, principal) => (own, principal),
        };
        let narrower = |a: &'a Grant, b: &'a Grant| match () {
            () if a.covers(b.as_str()) => Some(b),
            () if b.covers(a.as_str()) => Some(a),
            () => None,
        };
        let mut common: Vec<_> = own
            .iter()
            .flat_map(|a| principal.iter().filter_map(move |b| narrower(a, b)))
            .collect();
        common.sort_unstable();
        common.dedup();
        common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(list: &[&str]) -> Vec<Grant> {
        list.iter().map(|g| Grant::parse(g).unwrap()).collect()
    }

    #[test]
    fn a_bound_key_grants_what_both_it_and_its_principal_cover() {
        use ScopeSource::{Explicit, Principal};
        type Case = (
            &'static [&'static str],
            ScopeSource,
            Option<&'static [&'static str]>,
            &'static [&'static str],
        );
        let cases: [Case; 9] = [
            (&["a", "b"], Explicit, None, &["a", "b"]),
            (&["a", "b"], Explicit, Some(&["b", "c"]), &["b"]),
            (&["a", "b"], Principal, Some(&["b", "c"]), &["b"]),
            (&[], Explicit, Some(&["b"]), &[]),
            (&[], Principal, Some(&["b", "c"]), &["b", "c"]),
            (&[], Principal, Some(&[]), &[]),
            (&["a:*"], Principal, Some(&["a:b", "c"]), &["a:b"]),
            (
                &["a:b", "a:b:c"],
                Explicit,
                Some(&["a:*"]),
                &["a:b", "a:b:c"],
            ),
            (
                &["a:*", "a:b:*"],
                Explicit,
                Some(&["a:b:*", "a:c"]),
                &["a:b:*", "a:c"],
            ),
        ];
        for (own, source, principal, expected) in cases {
            let own = grants(own);
            let principal = principal.map(grants);
            let granted = Granted::of(&own, source, principal.as_deref());
            let listed: Vec<_> = granted.grants().into_iter().cloned().collect();
            assert_eq!(listed, grants(expected), "{own:?} {source:?} {principal:?}");
            for scope in ["a", "b", "c", "a:b", "a:c", "a:b:c", "a:b:d"] {
                let by_list = listed.iter().any(|g| g.covers(scope));
                assert_eq!(granted.covers(scope), by_list, "{scope} {granted:?}");
            }
        }
    }
}
