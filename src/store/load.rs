//! Everything that the index holds, piece by piece, out of one snapshot.

use std::collections::HashMap;
use std::str::{FromStr, Split};

use futures::future;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, ModelTrait as _, Order,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::entity::{keys, principals, routes, secrets, subscriptions};
use super::error::{corrupt, failed};
use super::feed::position;
use super::{convert, directory};
use crate::app::ports::{Loaded, Position, StoreError};
use crate::domain::id::{KeyId, WorkspaceId};
use crate::domain::key::{Enforcement, Key, KeySettings};
use crate::domain::secret::{Secret, Slot};
use crate::domain::time::Time;
use crate::domain::token::Tag;

/// Rows of the directory in memory at once.
const PAGE: u32 = 1_000;

/// Hands everything to `sink`; the connection must be a transaction. Returns where its snapshot is.
pub(super) async fn load<C: ConnectionTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<Position, StoreError> {
    // The first read: it is what the snapshot is taken by.
    let position = position(snapshot).await?;
    workspaces(snapshot, sink).await?;
    let place = (
        subscriptions::Column::WorkspaceId,
        subscriptions::Column::Id,
    );
    all::<_, subscriptions::Entity>(snapshot, place, |row| {
        convert::subscription(row).map(|subscription| sink(Loaded::Subscription(subscription)))
    })
    .await?;
    let place = (routes::Column::WorkspaceId, routes::Column::Id);
    all::<_, routes::Entity>(snapshot, place, |row| {
        super::routes::read(row).map(|route| sink(Loaded::Route(Box::new(route))))
    })
    .await?;
    let place = (principals::Column::WorkspaceId, principals::Column::Id);
    all::<_, principals::Entity>(snapshot, place, |row| {
        convert::principal(row).map(|principal| sink(Loaded::Principal(principal)))
    })
    .await?;
    keys(snapshot, sink).await?;
    Ok(position)
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
            sink(Loaded::Workspace(Box::new(workspace), scopes));
        }
    }
}

/// All rows of a table, by the workspace and the id that are its key.
async fn all<C: ConnectionTrait, E: EntityTrait>(
    snapshot: &C,
    (workspace, id): (E::Column, E::Column),
    mut give: impl FnMut(E::Model) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after = Condition::all();
    loop {
        let rows = E::find()
            .filter(after)
            .order_by_asc(workspace)
            .order_by_asc(id)
            .limit(u64::from(PAGE))
            .all(snapshot)
            .await
            .map_err(failed)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        let (of, at) = (last.get(workspace), last.get(id));
        let same = Condition::all()
            .add(workspace.eq(of.clone()))
            .add(id.gt(at));
        let later = Condition::any().add(workspace.gt(of.clone())).add(same);
        after = Condition::all().add(workspace.gte(of)).add(later);
        rows.into_iter().try_for_each(&mut give)?;
    }
}

/// Keys in memory at once, as they come from the database.
const KEYS: u64 = 1_000;
/// Stands between the cells of a line. Nothing that is read here has a control character in it: JSON escapes them, and what
/// is kept as it came in was checked for them.
const CELL: &str = "\u{1f}";
/// Stands between lines.
const LINE: &str = "\u{1e}";

/// All keys. A row, and each cell of it, costs the driver several times what a key costs us. So the database makes one text
/// of many, and works on the next while this one is read.
async fn keys<C: ConnectionTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<(), StoreError> {
    let mut known = Known::default();
    let mut page = Page::read(snapshot, Vec::new()).await?;
    while let Some(last) = page.last.take() {
        let next = Page::read(snapshot, last);
        // Polled in this order: the database is asked before this thread is busy.
        let (next, given) = future::join(next, future::lazy(|_| page.give(&mut known, sink))).await;
        given?;
        page = next?;
    }
    page.give(&mut known, sink)
}

/// Some keys, as texts.
#[derive(Default)]
struct Page {
    /// The last of these keys, where there may be more.
    last: Option<Vec<u8>>,
    keys: String,
    secrets: String,
}

impl Page {
    /// The page after a key.
    async fn read<C: ConnectionTrait>(snapshot: &C, after: Vec<u8>) -> Result<Self, StoreError> {
        let query = page(snapshot.get_database_backend(), &after);
        let row = snapshot.query_one(&query).await.map_err(failed)?;
        let row = row.ok_or_else(|| corrupt("a page of keys is no row"))?;
        let text = |index| {
            let text: Option<String> = row.try_get_by_index(index).map_err(failed)?;
            Ok(text.unwrap_or_default())
        };
        Ok(Self {
            last: row.try_get_by_index(0).map_err(failed)?,
            keys: text(1)?,
            secrets: text(2)?,
        })
    }

    fn give(
        &self,
        known: &mut Known,
        sink: &mut (dyn FnMut(Loaded) + Send),
    ) -> Result<(), StoreError> {
        let mut secrets: HashMap<KeyId, Vec<Secret>> = HashMap::new();
        for line in lines(&self.secrets) {
            let (key, secret) = Cells(line.split(CELL)).secret()?;
            secrets
                .entry(key)
                .or_insert_with(|| Vec::with_capacity(1))
                .push(secret);
        }
        for line in lines(&self.keys) {
            let mut key = known.key(line)?;
            key.secrets = secrets.remove(&key.id).unwrap_or_default();
            sink(Loaded::Key(Box::new(key)));
        }
        Ok(())
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(LINE).filter(|line| !line.is_empty())
}

/// One row: the last of the keys of a page where that is full, then the keys and their secrets, as texts.
fn page(backend: DbBackend, after: &[u8]) -> SelectStatement {
    let after_it = || {
        Query::select()
            .from(keys::Entity)
            .and_where(keys::Column::Id.gt(after.to_vec()))
            .order_by(keys::Column::Id, Order::Asc)
            .to_owned()
    };
    let last = after_it()
        .column(keys::Column::Id)
        .offset(KEYS - 1)
        .limit(1)
        .to_owned();
    let of_keys = Query::select()
        .expr(text(Dialect(backend).of_key()))
        .from_subquery(
            after_it().columns(OF_KEYS).limit(KEYS).to_owned(),
            keys::Entity,
        )
        .to_owned();
    let of_key = Expr::col((secrets::Entity, secrets::Column::KeyId))
        .equals((keys::Entity, keys::Column::Id));
    let of_secrets = Query::select()
        .expr(text(Dialect(backend).of_secret()))
        .from_subquery(
            after_it().column(keys::Column::Id).limit(KEYS).to_owned(),
            keys::Entity,
        )
        .inner_join(secrets::Entity, of_key)
        .to_owned();
    let mut page = Query::select();
    for part in [last, of_keys, of_secrets] {
        page.expr(Expr::SubQuery(None, Box::new(part.into())));
    }
    page
}

fn text(cells: Vec<Expr>) -> Expr {
    let cells = [Expr::val(CELL)].into_iter().chain(cells);
    let line = Func::cust("concat_ws").args(cells);
    Func::cust("string_agg")
        .args([line.into(), Expr::val(LINE)])
        .into()
}

const OF_KEYS: [keys::Column; 18] = [
    keys::Column::Id,
    keys::Column::ExpireTime,
    keys::Column::DeleteTime,
    keys::Column::Revision,
    // From here on most lines repeat others.
    keys::Column::WorkspaceId,
    keys::Column::Scopes,
    keys::Column::Subscriptions,
    keys::Column::AllowedCidrs,
    keys::Column::Labels,
    keys::Column::PostbackUrl,
    keys::Column::OffTheRecord,
    keys::Column::Enabled,
    keys::Column::ShadowNetwork,
    keys::Column::ShadowPresentation,
    keys::Column::ShadowSubscription,
    keys::Column::ShadowScopes,
    keys::Column::ScopeSource,
    keys::Column::Principal,
];

/// How a database writes cells.
struct Dialect(DbBackend);

impl Dialect {
    fn of_key(&self) -> Vec<Expr> {
        let cell = |column: keys::Column| match column {
            keys::Column::Id => self.hexadecimal((keys::Entity, column)),
            keys::Column::ExpireTime
            | keys::Column::DeleteTime
            | keys::Column::ScopeSource
            | keys::Column::Principal => or_empty((keys::Entity, column)),
            _ => Expr::col((keys::Entity, column)),
        };
        OF_KEYS.into_iter().map(cell).collect()
    }

    fn of_secret(&self) -> Vec<Expr> {
        use secrets::Column;
        let bytes = |column: Column| self.hexadecimal((secrets::Entity, column));
        let plain = |column: Column| Expr::col((secrets::Entity, column));
        let maybe = |column: Column| or_empty((secrets::Entity, column));
        vec![
            bytes(Column::KeyId),
            bytes(Column::Id),
            bytes(Column::Tag),
            plain(Column::Origin),
            plain(Column::Weak),
            plain(Column::Prefix),
            maybe(Column::RetireTime),
            maybe(Column::RevokeTime),
            maybe(Column::LastUsedTime),
        ]
    }

    fn hexadecimal(&self, column: impl sea_orm::sea_query::IntoColumnRef) -> Expr {
        let column = Expr::col(column);
        match self.0 {
            DbBackend::Postgres => Func::cust("encode").args([column, Expr::val("hex")]),
            _ => Func::cust("hex").arg(column),
        }
        .into()
    }
}

/// A cell that may be null: those are left out of a line otherwise.
fn or_empty(column: impl sea_orm::sea_query::IntoColumnRef) -> Expr {
    Func::coalesce([Expr::col(column).cast_as("text"), Expr::val("")]).into()
}

/// A line, cell after cell.
struct Cells<'t>(Split<'t, &'static str>);

impl<'t> Cells<'t> {
    fn text(&mut self) -> Result<&'t str, StoreError> {
        self.0.next().ok_or_else(|| corrupt("a line is cut off"))
    }

    fn maybe(&mut self) -> Result<Option<&'t str>, StoreError> {
        Ok(Some(self.text()?).filter(|text| !text.is_empty()))
    }

    fn read<T: FromStr>(&mut self, column: &str) -> Result<T, StoreError> {
        convert::parse(self.text()?, column)
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, column: &str) -> Result<T, StoreError> {
        convert::from_json(self.text()?, column)
    }

    fn truth(&mut self) -> Result<bool, StoreError> {
        match self.text()? {
            "1" | "t" => Ok(true),
            "0" | "f" => Ok(false),
            _ => Err(corrupt("a truth is neither true nor false")),
        }
    }

    fn time(&mut self, column: &str) -> Result<Option<Time>, StoreError> {
        match self.text()? {
            "" => Ok(None),
            micros => Ok(Some(Time::from_micros(convert::parse(micros, column)?))),
        }
    }

    fn bytes<const N: usize>(&mut self, column: &str) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        hex::decode_to_slice(self.text()?, &mut bytes)
            .map_err(|_| corrupt(format!("{column} is no {N} bytes")))?;
        Ok(bytes)
    }

    fn secret(mut self) -> Result<(KeyId, Secret), StoreError> {
        let key = convert::key_id(&self.bytes::<16>("secrets.key_id")?)?;
        let id = convert::secret_id(&self.bytes::<16>("secrets.id")?)?;
        let tag = Tag::from_bytes(self.bytes("secrets.tag")?);
        let origin = convert::origin(self.text()?)?;
        let secret = Secret {
            weak: self.truth()?,
            prefix: self.text()?.to_owned(),
            retire_time: self.time("secrets.retire_time")?,
            revoke_time: self.time("secrets.revoke_time")?,
            last_used_time: self.time("secrets.last_used_time")?,
            ..Secret::new(id, Slot::Primary, tag, origin, NEVER)
        };
        Ok((key, secret))
    }

    /// What a line of a key ends with.
    fn settings(mut self) -> Result<(WorkspaceId, KeySettings), StoreError> {
        let workspace = self.read("keys.workspace_id")?;
        let settings = KeySettings {
            scopes: self.json("keys.scopes")?,
            subscriptions: self.json("keys.subscriptions")?,
            allowed_cidrs: self.json("keys.allowed_cidrs")?,
            labels: self.json("keys.labels")?,
            postback_url: self.text()?.to_owned(),
            off_the_record: self.truth()?,
            enabled: self.truth()?,
            enforcement: Enforcement {
                shadow_network: self.truth()?,
                shadow_presentation: self.truth()?,
                shadow_subscription: self.truth()?,
                shadow_scopes: self.truth()?,
            },
            scope_source: convert::scope_source(self.maybe()?)?,
            principal: self
                .maybe()?
                .map(|id| convert::parse(id, "keys.principal"))
                .transpose()?,
            ..KeySettings::default()
        };
        Ok((workspace, settings))
    }
}

/// Stands where nobody asks.
const NEVER: Time = Time::from_micros(0);
/// How many ends of lines are remembered; where more differ, they hardly repeat.
const REMEMBERED: usize = 1_024;

/// What ends of lines were read as.
#[derive(Default)]
struct Known(HashMap<String, (WorkspaceId, KeySettings)>);

impl Known {
    /// A key from its line, without its secrets.
    fn key(&mut self, line: &str) -> Result<Key, StoreError> {
        let mut cells = Cells(line.split(CELL));
        let id = convert::key_id(&cells.bytes::<16>("keys.id")?)?;
        let expire_time = cells.time("keys.expire_time")?;
        let delete_time = cells.time("keys.delete_time")?;
        let revision = cells.read("keys.revision")?;
        let end = line.splitn(5, CELL).last().unwrap_or_default();
        let (workspace, mut settings) = self.end(end)?;
        settings.expire_time = expire_time;
        Ok(Key {
            id,
            workspace,
            settings,
            secrets: Vec::new(),
            create_time: NEVER,
            update_time: NEVER,
            delete_time,
            purge_time: None,
            revision,
        })
    }

    fn end(&mut self, text: &str) -> Result<(WorkspaceId, KeySettings), StoreError> {
        if let Some(known) = self.0.get(text) {
            return Ok(known.clone());
        }
        let read = Cells(text.split(CELL)).settings()?;
        if self.0.len() < REMEMBERED {
            self.0.insert(text.to_owned(), read.clone());
        }
        Ok(read)
    }
}
