//! Everything that the index holds, piece by piece, out of one snapshot.

use std::collections::{BTreeMap, HashMap};

use futures::StreamExt as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{ConnectionTrait, Order, QueryResult, StreamTrait, TryGetable};

use super::entity::{keys, secrets};
use super::error::failed;
use super::feed::position;
use super::{convert, directory};
use crate::app::ports::{Loaded, StoreError};
use crate::domain::id::{KeyId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Enforcement, Key, KeySettings};
use crate::domain::network::IpNet;
use crate::domain::scope::Grant;
use crate::domain::secret::{RevocationReason, Secret, Slot};
use crate::domain::time::Time;

/// Rows of the directory in memory at once.
const PAGE: u32 = 1_000;

/// Hands everything to `sink`; the connection must be a transaction. Returns the revision of its snapshot.
pub(super) async fn load<C: ConnectionTrait + StreamTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<u64, StoreError> {
    // The first read: it is what the snapshot is taken by.
    let position = position(snapshot).await?;
    workspaces(snapshot, sink).await?;
    subscriptions(snapshot, sink).await?;
    routes(snapshot, sink).await?;
    keys(snapshot, sink).await?;
    Ok(position.n)
}

async fn workspaces<C: ConnectionTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = directory::workspaces(snapshot, after.as_ref(), PAGE).await?;
        let (Some(first), Some(last)) = (page.first(), page.last()) else {
            return Ok(());
        };
        let mut scopes = directory::catalogues(snapshot, &first.id, &last.id).await?;
        after = Some(last.id.clone());
        for workspace in page {
            let scopes = scopes.remove(&workspace.id).unwrap_or_default();
            sink(Loaded::Workspace(workspace, scopes));
        }
    }
}

async fn subscriptions<C: ConnectionTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = directory::all_subscriptions(snapshot, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        page.into_iter()
            .map(Loaded::Subscription)
            .for_each(&mut *sink);
    }
}

async fn routes<C: ConnectionTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = super::routes::all(snapshot, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        page.into_iter()
            .map(|route| Loaded::Route(Box::new(route)))
            .for_each(&mut *sink);
    }
}

/// All keys, narrow and in one stream: the database works on the next rows while these are decoded.
async fn keys<C: ConnectionTrait + StreamTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<(), StoreError> {
    let mut rows = std::pin::pin!(snapshot.stream(&narrow()).await.map_err(failed)?);
    let mut texts = Texts::default();
    let mut whole: Option<Box<Key>> = None;
    while let Some(row) = rows.next().await {
        let row = row.map_err(failed)?;
        let mut cells = Cells { row: &row, next: 0 };
        let id = convert::key_id(&cells.take::<Vec<u8>>()?)?;
        // The rows of a key's secrets follow each other, and repeat the key.
        if whole.as_ref().is_none_or(|key| key.id != id) {
            let key = Box::new(texts.key(id, &mut cells)?);
            if let Some(before) = whole.replace(key) {
                sink(Loaded::Key(before));
            }
        }
        if let Some(key) = &mut whole {
            key.secrets.extend(cells.secret()?);
        }
    }
    if let Some(last) = whole {
        sink(Loaded::Key(last));
    }
    Ok(())
}

const OF_KEYS: [keys::Column; 16] = [
    keys::Column::Id,
    keys::Column::WorkspaceId,
    keys::Column::Scopes,
    keys::Column::Subscriptions,
    keys::Column::AllowedCidrs,
    keys::Column::Labels,
    keys::Column::PostbackUrl,
    keys::Column::OffTheRecord,
    keys::Column::Enabled,
    keys::Column::ExpireTime,
    keys::Column::ShadowNetwork,
    keys::Column::ShadowPresentation,
    keys::Column::ShadowSubscription,
    keys::Column::ShadowScopes,
    keys::Column::DeleteTime,
    keys::Column::Revision,
];

const OF_SECRETS: [secrets::Column; 8] = [
    secrets::Column::Id,
    secrets::Column::Tag,
    secrets::Column::Origin,
    secrets::Column::Weak,
    secrets::Column::Prefix,
    secrets::Column::RetireTime,
    secrets::Column::RevokeTime,
    secrets::Column::LastUsedTime,
];

/// What a decision asks for, and nothing else: every column costs a million times.
fn narrow() -> SelectStatement {
    let of_key = Expr::col((secrets::Entity, secrets::Column::KeyId))
        .equals((keys::Entity, keys::Column::Id));
    Query::select()
        .columns(OF_KEYS.map(|column| (keys::Entity, column)))
        .columns(OF_SECRETS.map(|column| (secrets::Entity, column)))
        .from(keys::Entity)
        .left_join(secrets::Entity, of_key)
        .order_by((keys::Entity, keys::Column::Id), Order::Asc)
        .to_owned()
}

/// A row, cell after cell.
struct Cells<'r> {
    row: &'r QueryResult,
    next: usize,
}

impl Cells<'_> {
    fn take<T: TryGetable>(&mut self) -> Result<T, StoreError> {
        let cell = self.row.try_get_by_index(self.next).map_err(failed)?;
        self.next += 1;
        Ok(cell)
    }

    fn time(&mut self) -> Result<Option<Time>, StoreError> {
        Ok(self.take::<Option<i64>>()?.map(Time::from_micros))
    }
}

/// What texts were read as: most rows repeat those of others.
#[derive(Default)]
struct Texts {
    workspaces: Known<WorkspaceId>,
    grants: Known<Vec<Grant>>,
    subscriptions: Known<Vec<SubscriptionId>>,
    networks: Known<Vec<IpNet>>,
    labels: Known<BTreeMap<String, String>>,
}

impl Texts {
    /// A key from the cells after its id, which are left at its secret.
    fn key(&mut self, id: KeyId, cells: &mut Cells<'_>) -> Result<Key, StoreError> {
        let workspace = self.workspaces.get(cells, convert::parse, "workspace_id")?;
        let settings = KeySettings {
            display_name: String::new(),
            description: String::new(),
            scopes: self.grants.get(cells, convert::from_json, "keys.scopes")?,
            subscriptions: self.subscriptions.get(
                cells,
                convert::from_json,
                "keys.subscriptions",
            )?,
            allowed_cidrs: self
                .networks
                .get(cells, convert::from_json, "keys.allowed_cidrs")?,
            labels: self.labels.get(cells, convert::from_json, "keys.labels")?,
            postback_url: cells.take()?,
            off_the_record: cells.take()?,
            enabled: cells.take()?,
            expire_time: cells.time()?,
            enforcement: Enforcement {
                shadow_network: cells.take()?,
                shadow_presentation: cells.take()?,
                shadow_subscription: cells.take()?,
                shadow_scopes: cells.take()?,
            },
        };
        Ok(Key {
            id,
            workspace,
            settings,
            secrets: Vec::with_capacity(1),
            create_time: NEVER,
            update_time: NEVER,
            delete_time: cells.time()?,
            purge_time: None,
            revision: convert::unsigned(cells.take()?)?,
        })
    }
}

impl Cells<'_> {
    /// The secret in a row; none where its key has none.
    fn secret(&mut self) -> Result<Option<Secret>, StoreError> {
        self.next = OF_KEYS.len();
        let Some(id) = self.take::<Option<Vec<u8>>>()? else {
            return Ok(None);
        };
        Ok(Some(Secret {
            id: convert::secret_id(&id)?,
            tag: convert::tag(&self.take::<Vec<u8>>()?)?,
            origin: convert::origin(&self.take::<String>()?)?,
            weak: self.take()?,
            prefix: self.take()?,
            retire_time: self.time()?,
            revoke_time: self.time()?,
            last_used_time: self.time()?,
            slot: Slot::Primary,
            hint: String::new(),
            sealed: None,
            sealed_digest: None,
            create_time: NEVER,
            regenerated: false,
            revocation_reason: RevocationReason::Unspecified,
            acknowledge_time: None,
        }))
    }
}

/// Stands where nobody asks.
const NEVER: Time = Time::from_micros(0);
/// How many texts of a column are remembered; where more differ, they hardly repeat.
const REMEMBERED: usize = 1_024;

struct Known<T>(HashMap<String, T>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Clone> Known<T> {
    fn get(
        &mut self,
        cells: &mut Cells<'_>,
        read: fn(&str, &str) -> Result<T, StoreError>,
        column: &str,
    ) -> Result<T, StoreError> {
        let text: String = cells.take()?;
        if let Some(known) = self.0.get(&text) {
            return Ok(known.clone());
        }
        let value = read(&text, column)?;
        if self.0.len() < REMEMBERED {
            self.0.insert(text, value.clone());
        }
        Ok(value)
    }
}
