//! What there is about one key: pure judgement over what is known of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::id::SecretId;
use crate::domain::key::Key;
use crate::domain::scope::Grant;
use crate::domain::secret::{Origin, Secret, SecretState, Slot};
use crate::domain::time::Time;
use crate::domain::workspace::WorkspaceSettings;

/// What a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A secret that is accepted was found in public.
    Leaked,
    /// A secret is older than the workspace wants.
    RotationDue,
    /// It ends soon.
    Expiring,
    /// A replaced secret is still used.
    RetiringInUse,
    /// A rotation has one step left.
    RotationUnfinished,
    /// A secret is weak.
    WeakSecret,
    /// It lives longer than the workspace allows now.
    BeyondLongestLifetime,
    /// It never expires.
    NoExpiry,
    /// Nobody has used it for long.
    Unused,
    /// Its holder may not have the token.
    Unacknowledged,
    /// It grants what was never made use of.
    OverScoped,
    /// It has more than one scope.
    SeveralScopes,
    /// It is bound to more than one subscription.
    SeveralSubscriptions,
}

impl Kind {
    /// Every kind, the most urgent first.
    pub const ALL: [Self; 13] = [
        Self::Leaked,
        Self::RotationDue,
        Self::Expiring,
        Self::RetiringInUse,
        Self::RotationUnfinished,
        Self::WeakSecret,
        Self::BeyondLongestLifetime,
        Self::NoExpiry,
        Self::Unused,
        Self::Unacknowledged,
        Self::OverScoped,
        Self::SeveralScopes,
        Self::SeveralSubscriptions,
    ];
}

/// What counts as long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Keys that end within this time are named.
    pub expiring_within: Duration,
    /// Keys and grants that were left alone for this time are named.
    pub unused_for: Duration,
}

impl Limits {
    /// For `expiring_within`, where none is given.
    pub const EXPIRING_WITHIN: Duration = Duration::from_secs(30 * 24 * 3_600);
    /// For `unused_for`, where none is given.
    pub const UNUSED_FOR: Duration = Duration::from_secs(90 * 24 * 3_600);
}

/// What is known of a key beside itself.
#[derive(Debug)]
pub(super) struct Known {
    /// The grants that were made use of.
    pub(super) exercised: BTreeSet<String>,
    /// What its principal may, and since when, where it grants all of that.
    pub(super) inherited: Option<(Arc<[Grant]>, Time)>,
}

/// Something about a key that needs attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// The secrets it is about.
    pub secrets: Vec<SecretId>,
    /// The slot it is about.
    pub slot: Option<Slot>,
    /// Whether the slot can be regenerated now.
    pub safe: bool,
    /// The scopes it is about.
    pub scopes: Vec<String>,
    /// Whether these come from its principal.
    pub inherited: bool,
}

impl Finding {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            secrets: Vec::new(),
            slot: None,
            safe: false,
            scopes: Vec::new(),
            inherited: false,
        }
    }

    fn about(kind: Kind, secrets: &[&Secret]) -> Self {
        Self {
            secrets: secrets.iter().map(|s| s.id).collect(),
            slot: secrets.first().map(|s| s.slot),
            ..Self::new(kind)
        }
    }

    /// The same for people, with what to do.
    pub fn message(&self) -> String {
        let slot = self.slot.map_or("", Slot::as_str);
        match self.kind {
            Kind::Leaked => format!("the {slot} secret was found in public; regenerate it"),
            Kind::RotationDue => {
                format!("the {slot} secret is older than the workspace's `rotation_age`; regenerate it")
            }
            Kind::Expiring => "it expires soon; extend it, or see to its successor".to_owned(),
            Kind::RetiringInUse => {
                "a secret that was replaced is still used; its holder must change to the new one before its grace ends".to_owned()
            }
            Kind::RotationUnfinished if self.safe => {
                format!("the other secret is in use, and the {slot} one no more: regenerate {slot}, the last step of the rotation")
            }
            Kind::RotationUnfinished => {
                format!("the other secret is in use, but somebody still uses the {slot} one; let them change before it is regenerated")
            }
            Kind::WeakSecret => format!("the {slot} secret is weak; replace it by a generated one"),
            Kind::BeyondLongestLifetime => {
                "it lives longer than the workspace's `longest_lifetime`; set an earlier end".to_owned()
            }
            Kind::NoExpiry => "it never expires; set an end".to_owned(),
            Kind::Unused => "it has not been used for long; disable it, then delete it".to_owned(),
            Kind::Unacknowledged => {
                format!("nobody has said that the {slot} token was saved, and it was never used; ask its holder, or regenerate it")
            }
            Kind::OverScoped if self.inherited => {
                format!("its principal may {}, of which it never made use; list the scopes that it needs", self.scopes.join(", "))
            }
            Kind::OverScoped => {
                format!("it never made use of {}; take that away", self.scopes.join(", "))
            }
            Kind::SeveralScopes => "it has more than one scope; one key for each purpose limits what a lost one opens".to_owned(),
            Kind::SeveralSubscriptions => "it is valid for more than one subscription; one key for each is safer".to_owned(),
        }
    }
}

/// What there is about an active key.
pub(super) fn of(
    key: &Key,
    settings: &WorkspaceSettings,
    limits: Limits,
    known: &Known,
    now: Time,
) -> Vec<Finding> {
    let mut found = of_secrets(key, settings, now);
    let own = &key.settings;
    let left_alone_since = now.minus(limits.unused_for);
    let used = key.last_used_time();
    let unused =
        key.create_time <= left_alone_since && used.is_none_or(|used| used <= left_alone_since);
    let latest = settings.latest_end(key.create_time);
    let beyond = latest.is_some_and(|latest| own.expire_time.is_none_or(|end| end > latest));
    let expiring = own
        .expire_time
        .is_some_and(|end| end <= now.plus(limits.expiring_within));
    let scopes = || own.scopes.iter().filter(|s| !s.is_admin());
    for (holds, kind) in [
        (expiring, Kind::Expiring),
        (beyond, Kind::BeyondLongestLifetime),
        (own.expire_time.is_none(), Kind::NoExpiry),
        (unused, Kind::Unused),
        (scopes().count() > 1, Kind::SeveralScopes),
        (own.subscriptions.len() > 1, Kind::SeveralSubscriptions),
    ] {
        if holds {
            found.push(Finding::new(kind));
        }
    }
    // Of one that nobody uses there is more to say than which of its scopes are idle; of one off the record it is not known.
    if !unused && !own.off_the_record {
        found.extend(over_scoped(key, known, left_alone_since));
    }
    found.sort_by_key(|finding| (finding.kind, finding.slot == Some(Slot::Secondary)));
    found
}

/// What a key grants, by its own list or else its principal's, and never made use of, where it had the time.
fn over_scoped(key: &Key, known: &Known, left_alone_since: Time) -> Option<Finding> {
    let (granted, since) = match &known.inherited {
        Some((granted, since)) => (&**granted, key.update_time.max(*since)),
        None => (&*key.settings.scopes, key.update_time),
    };
    let idle = granted.iter().filter(|s| !s.is_admin()).map(Grant::as_str);
    let idle = idle.filter(|s| !known.exercised.contains(*s));
    let idle: Vec<_> = idle.map(str::to_owned).collect();
    (since <= left_alone_since && !idle.is_empty()).then(|| Finding {
        scopes: idle,
        inherited: known.inherited.is_some(),
        ..Finding::new(Kind::OverScoped)
    })
}

fn of_secrets(key: &Key, settings: &WorkspaceSettings, now: Time) -> Vec<Finding> {
    let mut found = Vec::new();
    let live: Vec<_> = key.secrets.iter().filter(|s| s.is_live(now)).collect();
    let old = |s: &Secret| {
        let age = settings.rotation_age;
        s.state(now) == SecretState::Active
            && age.is_some_and(|age| s.create_time <= now.minus(age))
    };
    let lost = |s: &Secret| {
        s.origin == Origin::Generated && s.acknowledge_time.is_none() && s.last_used_time.is_none()
    };
    // Used within the guard period: what was used once, just before it was replaced, is not meant.
    let recently = |s: &Secret| is_in_use(s, settings, now);
    for secret in live.iter().copied() {
        let retiring = secret.state(now) == SecretState::Retiring;
        for (holds, kind) in [
            (secret.leak_time.is_some(), Kind::Leaked),
            (old(secret), Kind::RotationDue),
            (retiring && recently(secret), Kind::RetiringInUse),
            (secret.weak, Kind::WeakSecret),
            (!retiring && lost(secret), Kind::Unacknowledged),
        ] {
            if holds {
                found.push(Finding::about(kind, &[secret]));
            }
        }
    }
    found.extend(last_step(key, settings, now));
    found
}

/// The fourth step of a rotation: the newer secret has been used, so whoever follows the steps has changed to it.
fn last_step(key: &Key, settings: &WorkspaceSettings, now: Time) -> Option<Finding> {
    let (primary, secondary) = (key.active(Slot::Primary)?, key.active(Slot::Secondary)?);
    let (older, newer) = match primary.create_time.cmp(&secondary.create_time) {
        std::cmp::Ordering::Less => (primary, secondary),
        std::cmp::Ordering::Greater => (secondary, primary),
        std::cmp::Ordering::Equal => return None,
    };
    newer.last_used_time?;
    Some(Finding {
        safe: !is_in_use(older, settings, now),
        ..Finding::about(Kind::RotationUnfinished, &[older])
    })
}

/// Slots whose secret was not used within the guard period.
pub(super) fn safe_slots(key: &Key, settings: &WorkspaceSettings, now: Time) -> Vec<Slot> {
    [Slot::Primary, Slot::Secondary]
        .into_iter()
        .filter(|slot| {
            key.active(*slot)
                .is_some_and(|secret| !is_in_use(secret, settings, now))
        })
        .collect()
}

fn is_in_use(secret: &Secret, settings: &WorkspaceSettings, now: Time) -> bool {
    let since = now.minus(settings.guard());
    secret.last_used_time.is_some_and(|used| used > since)
}
