//! Scopes: what a request demands, what a key grants, and when the one covers the other.

use serde::{Deserialize, Serialize};

use super::invalid::Invalid;

/// The family of scopes that grants rights over Claviger itself. It is fixed, and never part of a workspace's catalogue.
pub const ADMIN_FAMILY: &str = "claviger:";

/// A right over Claviger itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminScope {
    /// Read keys and the directory.
    KeysRead,
    /// Make and change keys.
    KeysWrite,
    /// Read tokens of recoverable secrets.
    KeysReveal,
    /// Make and manage the keys of the principal that one acts as.
    KeysSelf,
    /// Change workspaces, subscriptions, scopes and principals.
    DirectoryWrite,
    /// Change the settings of a workspace.
    SettingsWrite,
    /// Publish events to keys' POSTback URLs, and send them again.
    PostbacksPublish,
    /// Make and change routes.
    RoutesWrite,
    /// Act as a principal that a call names.
    OnBehalf,
    /// Read what happened and why, and how keys are used and kept.
    InsightsRead,
}

impl AdminScope {
    /// Every right there is, for a catalogue to list.
    pub const ALL: [Self; 10] = [
        Self::KeysRead,
        Self::KeysWrite,
        Self::KeysReveal,
        Self::KeysSelf,
        Self::DirectoryWrite,
        Self::SettingsWrite,
        Self::PostbacksPublish,
        Self::RoutesWrite,
        Self::OnBehalf,
        Self::InsightsRead,
    ];

    /// The scope that grants it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeysRead => "claviger:keys:read",
            Self::KeysWrite => "claviger:keys:write",
            Self::KeysReveal => "claviger:keys:reveal",
            Self::KeysSelf => "claviger:keys:self",
            Self::DirectoryWrite => "claviger:directory:write",
            Self::SettingsWrite => "claviger:settings:write",
            Self::PostbacksPublish => "claviger:postbacks:publish",
            Self::RoutesWrite => "claviger:routes:write",
            Self::OnBehalf => "claviger:on-behalf",
            Self::InsightsRead => "claviger:insights:read",
        }
    }
}

/// The grant that holds every right over Claviger.
pub const ADMIN_ALL: &str = "claviger:*";

/// What a key grants: a scope, or all scopes below a prefix (`orders:*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grant(String);

impl Grant {
    /// Reads a grant; `claviger:` grants must cover a right that exists.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let base = text.strip_suffix(":*").unwrap_or(text);
        check_segments(base)?;
        let grant = Self(text.to_owned());
        if grant.is_admin() && !AdminScope::ALL.iter().any(|s| grant.covers(s.as_str())) {
            let known: Vec<_> = AdminScope::ALL.iter().map(|s| s.as_str()).collect();
            return Err(Invalid::new(format!(
                "`{text}` is no right over Claviger; there are {}, and `{ADMIN_ALL}`",
                known.join(", ")
            )));
        }
        Ok(grant)
    }

    /// The grant as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it grants rights over Claviger itself.
    pub fn is_admin(&self) -> bool {
        is_admin(&self.0)
    }

    /// Whether it ends in `:*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.ends_with(":*")
    }

    /// Whether whoever holds this grant holds `other`, a scope or a grant.
    pub fn covers(&self, other: &str) -> bool {
        covers(&self.0, other)
    }
}

/// Whether a scope or grant belongs to the reserved family.
pub fn is_admin(scope: &str) -> bool {
    scope.starts_with(ADMIN_FAMILY)
}

/// Whether whoever holds `grant` holds `other`. `a:*` covers `a:b`, `a:b:c` and `a:b:*`, but neither `a` nor `ab:c`.
pub fn covers(grant: &str, other: &str) -> bool {
    match grant.strip_suffix('*') {
        Some(prefix) if prefix.ends_with(':') => {
            other.len() > prefix.len() && other.starts_with(prefix) || other == grant
        }
        _ => grant == other,
    }
}

/// The name of a scope: segments of `[A-Za-z0-9._-]` joined by `:`, at most 128 characters, outside the reserved family.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    check_segments(name)?;
    if is_admin(name) || name == "claviger" {
        return Err(Invalid::new(
            "the family `claviger:` is reserved; choose another first segment",
        ));
    }
    Ok(())
}

/// A scope that a request demands: as [`check_name`]; the reserved family is never demanded of data requests.
pub fn check_demand(name: &str) -> Result<(), Invalid> {
    check_name(name)
}

fn check_segments(text: &str) -> Result<(), Invalid> {
    let segment = |s: &str| {
        !s.is_empty()
            && s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if text.len() <= 128 && text.split(':').all(segment) {
        Ok(())
    } else {
        Err(Invalid::new(
            "is not a scope: segments of `[A-Za-z0-9._-]` joined by `:`, at most 128 characters",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_what_lies_below_it_and_nothing_beside() {
        for (grant, other, covered) in [
            ("a", "a", true),
            ("a", "a:b", false),
            ("a:*", "a:b", true),
            ("a:*", "a:b:c", true),
            ("a:*", "a:*", true),
            ("a:*", "a:b:*", true),
            ("a:b:*", "a:*", false),
            ("a:*", "a", false),
            ("a:*", "ab:c", false),
            ("a:*", "a:", false),
            ("claviger:*", "claviger:keys:write", true),
            ("claviger:keys:*", "claviger:settings:write", false),
        ] {
            assert_eq!(covers(grant, other), covered, "{grant} {other}");
        }
    }

    #[test]
    fn grants_and_names_keep_their_shape() {
        for good in [
            "messages",
            "messages:send",
            "messages:*",
            "claviger:*",
            "claviger:keys:*",
            "claviger:keys:read",
        ] {
            assert!(Grant::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            ":*",
            "a:",
            ":a",
            "a::b",
            "a:*:b",
            "a b",
            "a,b",
            "claviger:nothing",
            "claviger:nothing:*",
            &"x".repeat(129),
        ] {
            assert!(Grant::parse(bad).is_err(), "{bad}");
        }
        assert!(check_name("claviger:x").is_err());
        assert!(check_name("a:*").is_err());
    }
}
