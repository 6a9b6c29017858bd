//! The rows of sealed files: lines of JSON, a record being some of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app::ports::{FeedBatch, Loaded, Standing};
use crate::domain::id::{KeyId, PrincipalId, RouteId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Enforcement, Key, KeySettings};
use crate::domain::network::IpNet;
use crate::domain::principal::{Principal, ScopeSource};
use crate::domain::route::Route;
use crate::domain::scope::Grant;
use crate::domain::secret::{Origin, Secret, Slot};
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{Scope, Subscription, Workspace};

/// Stands where nobody asks.
const NEVER: Time = Time::from_micros(0);

/// A row. Names are short, since there are as many as there are keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Row<'a> {
    #[serde(rename = "w")]
    Workspace(Cow<'a, Workspace>, Cow<'a, [Scope]>),
    #[serde(rename = "s")]
    Subscription(Cow<'a, Subscription>),
    #[serde(rename = "r")]
    Route(Cow<'a, Route>),
    #[serde(rename = "p")]
    Principal(Cow<'a, Principal>),
    #[serde(rename = "k")]
    Key(Box<KeyRow<'a>>),
    #[serde(rename = "-w")]
    NoWorkspace(Cow<'a, WorkspaceId>),
    #[serde(rename = "-s")]
    NoSubscription(Cow<'a, WorkspaceId>, Cow<'a, SubscriptionId>),
    #[serde(rename = "-r")]
    NoRoute(Cow<'a, WorkspaceId>, Cow<'a, RouteId>),
    #[serde(rename = "-p")]
    NoPrincipal(Cow<'a, WorkspaceId>, Cow<'a, PrincipalId>),
    #[serde(rename = "-k")]
    NoKey(KeyId),
    /// Begins what was applied at a time; the rest of its record are its rows.
    #[serde(rename = "batch")]
    Batch(Applied),
    /// Nothing newer was there at a time.
    #[serde(rename = "current")]
    Current(Time),
    /// Others wait for the process, or not.
    #[serde(rename = "entered")]
    Entered(bool),
    /// The end of a snapshot.
    #[serde(rename = "end")]
    End(End),
}

/// What was applied.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Applied {
    /// The revision that was reached.
    pub(super) upto: u64,
    /// The revision at which the rows were read.
    pub(super) head: u64,
    /// When.
    pub(super) time: Time,
}

/// What a snapshot is of.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct End {
    /// Its revision.
    pub(super) n: u64,
    /// When that was known to be the newest.
    pub(super) time: Time,
}

/// A key as far as decisions ask for it: texts for people, times of the past and sealed tokens are left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeyRow<'a> {
    #[serde(rename = "k")]
    id: KeyId,
    #[serde(rename = "w")]
    workspace: Cow<'a, WorkspaceId>,
    #[serde(rename = "n")]
    revision: u64,
    #[serde(rename = "s")]
    secrets: Vec<SecretRow<'a>>,
    #[serde(rename = "g")]
    scopes: Cow<'a, [Grant]>,
    #[serde(rename = "o")]
    scope_source: ScopeSource,
    #[serde(rename = "e")]
    enabled: bool,
    #[serde(rename = "r", default, skip_serializing_if = "is_false")]
    off_the_record: bool,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    principal: Option<Cow<'a, PrincipalId>>,
    #[serde(rename = "b", default, skip_serializing_if = "<[_]>::is_empty")]
    subscriptions: Cow<'a, [SubscriptionId]>,
    #[serde(rename = "c", default, skip_serializing_if = "<[_]>::is_empty")]
    allowed_cidrs: Cow<'a, [IpNet]>,
    #[serde(rename = "u", default, skip_serializing_if = "str::is_empty")]
    postback_url: Cow<'a, str>,
    #[serde(rename = "l", default, skip_serializing_if = "has_none")]
    labels: Cow<'a, BTreeMap<String, String>>,
    #[serde(rename = "h", default, skip_serializing_if = "in_force")]
    enforcement: Enforcement,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    expire_time: Option<Time>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    delete_time: Option<Time>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SecretRow<'a> {
    #[serde(rename = "i")]
    id: SecretId,
    #[serde(rename = "t", with = "digits")]
    tag: [u8; 32],
    #[serde(rename = "o")]
    origin: Origin,
    #[serde(rename = "w", default, skip_serializing_if = "is_false")]
    weak: bool,
    #[serde(rename = "p", default, skip_serializing_if = "str::is_empty")]
    prefix: Cow<'a, str>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    retire_time: Option<Time>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    revoke_time: Option<Time>,
}

/// A tag as hexadecimal digits.
mod digits {
    use std::borrow::Cow;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(tag: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(tag))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = Cow::<'_, str>::deserialize(from)?;
        let mut tag = [0; 32];
        hex::decode_to_slice(&*text, &mut tag).map_err(|_| D::Error::custom("not a tag"))?;
        Ok(tag)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn in_force(enforcement: &Enforcement) -> bool {
    !enforcement.any()
}

#[expect(clippy::ptr_arg, reason = "the signature is serde's")]
fn has_none(labels: &Cow<'_, BTreeMap<String, String>>) -> bool {
    labels.is_empty()
}

impl<'a> KeyRow<'a> {
    fn of(key: &'a Key) -> Self {
        // All of them are named, so that one that is new is not forgotten here.
        let KeySettings {
            display_name: _,
            description: _,
            scopes,
            scope_source,
            principal,
            subscriptions,
            allowed_cidrs,
            postback_url,
            off_the_record,
            enabled,
            expire_time,
            labels,
            enforcement,
        } = &key.settings;
        let secret = |secret: &'a Secret| SecretRow {
            id: secret.id,
            tag: *secret.tag.as_bytes(),
            origin: secret.origin,
            weak: secret.weak,
            prefix: Cow::Borrowed(&secret.prefix),
            retire_time: secret.retire_time,
            revoke_time: secret.revoke_time,
        };
        Self {
            id: key.id,
            workspace: Cow::Borrowed(&key.workspace),
            revision: key.revision,
            secrets: key.secrets.iter().map(secret).collect(),
            scopes: Cow::Borrowed(scopes),
            scope_source: *scope_source,
            enabled: *enabled,
            off_the_record: *off_the_record,
            principal: principal.as_ref().map(Cow::Borrowed),
            subscriptions: Cow::Borrowed(subscriptions),
            allowed_cidrs: Cow::Borrowed(allowed_cidrs),
            postback_url: Cow::Borrowed(postback_url),
            labels: Cow::Borrowed(labels),
            enforcement: *enforcement,
            expire_time: *expire_time,
            delete_time: key.delete_time,
        }
    }

    fn into_key(self) -> Key {
        let secret = |row: SecretRow<'_>| Secret {
            weak: row.weak,
            prefix: row.prefix.into_owned(),
            retire_time: row.retire_time,
            revoke_time: row.revoke_time,
            ..Secret::new(
                row.id,
                Slot::Primary,
                Tag::from_bytes(row.tag),
                row.origin,
                NEVER,
            )
        };
        Key {
            id: self.id,
            workspace: self.workspace.into_owned(),
            settings: KeySettings {
                scopes: self.scopes.into_owned(),
                scope_source: self.scope_source,
                principal: self.principal.map(Cow::into_owned),
                subscriptions: self.subscriptions.into_owned(),
                allowed_cidrs: self.allowed_cidrs.into_owned(),
                postback_url: self.postback_url.into_owned(),
                off_the_record: self.off_the_record,
                enabled: self.enabled,
                expire_time: self.expire_time,
                labels: self.labels.into_owned(),
                enforcement: self.enforcement,
                ..KeySettings::default()
            },
            secrets: self.secrets.into_iter().map(secret).collect(),
            create_time: NEVER,
            update_time: NEVER,
            delete_time: self.delete_time,
            purge_time: None,
            revision: self.revision,
        }
    }
}

impl<'a> Row<'a> {
    /// The row of a piece.
    pub(super) fn of(piece: &'a Loaded) -> Self {
        match piece {
            Loaded::Workspace(workspace, scopes) => {
                Self::Workspace(Cow::Borrowed(workspace), Cow::Borrowed(scopes))
            }
            Loaded::Subscription(subscription) => Self::Subscription(Cow::Borrowed(subscription)),
            Loaded::Route(route) => Self::Route(Cow::Borrowed(route)),
            Loaded::Principal(principal) => Self::Principal(Cow::Borrowed(principal)),
            Loaded::Key(key) => Self::Key(Box::new(KeyRow::of(key))),
        }
    }

    /// The row of where a process stands.
    pub(super) fn standing(standing: Standing) -> Self {
        Self::Entered(standing == Standing::Entered)
    }

    /// Puts the row behind others.
    pub(super) fn write(&self, to: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(&mut *to, self)?;
        to.push(b'\n');
        Ok(())
    }

    /// The same for a row of which nothing can fail to be written.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        // An empty record, which says nothing, where it were not so.
        let _ = self.write(&mut line);
        line
    }

    /// The piece that it is the row of; none: of no piece.
    pub(super) fn into_piece(self) -> Option<Loaded> {
        Some(match self {
            Self::Workspace(workspace, scopes) => {
                Loaded::Workspace(Box::new(workspace.into_owned()), scopes.into_owned())
            }
            Self::Subscription(subscription) => Loaded::Subscription(subscription.into_owned()),
            Self::Route(route) => Loaded::Route(Box::new(route.into_owned())),
            Self::Principal(principal) => Loaded::Principal(principal.into_owned()),
            Self::Key(key) => Loaded::Key(Box::new(key.into_key())),
            _ => return None,
        })
    }

    /// Puts it into the batch that it is of; false: it is of none.
    pub(super) fn put_into(self, batch: &mut FeedBatch) -> bool {
        match self {
            Self::Workspace(workspace, scopes) => {
                let (workspace, scopes) = (workspace.into_owned(), scopes.into_owned());
                let id = workspace.id.clone();
                batch.workspaces.push((id, Some((workspace, scopes))));
            }
            Self::NoWorkspace(id) => batch.workspaces.push((id.into_owned(), None)),
            Self::Subscription(row) => {
                let row = row.into_owned();
                let place = (row.workspace.clone(), row.id.clone());
                batch.subscriptions.push((place, Some(row)));
            }
            Self::NoSubscription(workspace, id) => {
                let place = (workspace.into_owned(), id.into_owned());
                batch.subscriptions.push((place, None));
            }
            Self::Route(row) => {
                let row = row.into_owned();
                let place = (row.workspace.clone(), row.id.clone());
                batch.routes.push((place, Some(row)));
            }
            Self::NoRoute(workspace, id) => {
                let place = (workspace.into_owned(), id.into_owned());
                batch.routes.push((place, None));
            }
            Self::Principal(row) => {
                let row = row.into_owned();
                let place = (row.workspace.clone(), row.id.clone());
                batch.principals.push((place, Some(row)));
            }
            Self::NoPrincipal(workspace, id) => {
                let place = (workspace.into_owned(), id.into_owned());
                batch.principals.push((place, None));
            }
            Self::Key(row) => {
                let key = row.into_key();
                batch.keys.push((key.id, Some(key)));
            }
            Self::NoKey(id) => batch.keys.push((id, None)),
            Self::Batch(_) | Self::Current(_) | Self::Entered(_) | Self::End(_) => return false,
        }
        true
    }
}

/// The rows of what was applied, in the order in which the index takes them.
pub(super) fn write_batch(batch: &FeedBatch, time: Time) -> Result<Vec<u8>, serde_json::Error> {
    use Cow::Borrowed;
    let mut rows = Vec::new();
    let applied = Applied {
        upto: batch.upto,
        head: batch.head,
        time,
    };
    Row::Batch(applied).write(&mut rows)?;
    for ((workspace, id), row) in &batch.subscriptions {
        match row {
            Some(row) => Row::Subscription(Borrowed(row)),
            None => Row::NoSubscription(Borrowed(workspace), Borrowed(id)),
        }
        .write(&mut rows)?;
    }
    for ((workspace, id), row) in &batch.routes {
        match row {
            Some(row) => Row::Route(Borrowed(row)),
            None => Row::NoRoute(Borrowed(workspace), Borrowed(id)),
        }
        .write(&mut rows)?;
    }
    for ((workspace, id), row) in &batch.principals {
        match row {
            Some(row) => Row::Principal(Borrowed(row)),
            None => Row::NoPrincipal(Borrowed(workspace), Borrowed(id)),
        }
        .write(&mut rows)?;
    }
    for (id, row) in &batch.keys {
        match row {
            Some(row) => Row::Key(Box::new(KeyRow::of(row))),
            None => Row::NoKey(*id),
        }
        .write(&mut rows)?;
    }
    for (id, row) in &batch.workspaces {
        match row {
            Some((workspace, scopes)) => Row::Workspace(Borrowed(workspace), Borrowed(scopes)),
            None => Row::NoWorkspace(Borrowed(id)),
        }
        .write(&mut rows)?;
    }
    Ok(rows)
}
