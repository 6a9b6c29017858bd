//! An empty database, filled from a backup: in one transaction, whole or not at all.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Query, Value};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel as _, PaginatorTrait as _};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

use super::{
    BackupError, Column, FORMAT, Header, Kind, Table, TableLine, Trailer, recorded, tables,
};
use crate::app::ports::{Actor, Change, Meta, Resource};
use crate::domain::id::WorkspaceId;
use crate::domain::time::Time;
use crate::store::bounded::Transaction;
use crate::store::entity::{changes, counter, meta, workspaces};
use crate::store::error::{corrupt, failed};
use crate::store::{SqlStore, convert, feed, maintenance, schema};

/// The longest line: a change with a key before and after, every setting at its limit, is far below.
const LONGEST: u64 = 64 * 1_024 * 1_024;
/// How many values one statement binds at most; SQLite takes 32,766, PostgreSQL 65,535.
const BOUND: usize = 16_000;
/// How many rows one statement writes at most.
const ROWS: usize = 1_000;

/// What is new about a database that is made from a backup.
#[derive(Debug, Clone, Copy)]
pub struct NewHistory {
    /// The epoch of the history that begins.
    pub epoch: u32,
    /// When.
    pub now: Time,
}

impl SqlStore {
    /// Fills this database, which must be empty, from a backup. `fits` says whether the root key at hand opens the keys
    /// in it. All or nothing: whatever fails, the database is as empty as before.
    pub async fn restore(
        &self,
        from: &mut (dyn AsyncBufRead + Unpin + Send),
        fits: &(dyn Fn(&Meta) -> bool + Sync),
        new: NewHistory,
    ) -> Result<(Header, Trailer), BackupError> {
        let mut lines = Lines::new(from);
        let header = header(&mut lines, &schema::steps(self).await?).await?;
        if self.writer.get_database_backend() == DbBackend::Sqlite {
            // Tags come in no order, so that each finds its place in an index on another page than the last one.
            let roomy = "PRAGMA cache_size = -262144";
            self.writer
                .execute_unprepared(roomy)
                .await
                .map_err(failed)?;
        }
        let tx = self.writer.begin_writing().await?;
        if self.is_shared() {
            // Nobody waits behind it, and what it reads from may pause.
            tx.unlimited().await?;
        }
        if !is_empty(&tx).await? {
            return Err(BackupError::NotEmpty);
        }
        let records = if self.is_shared() {
            None
        } else {
            let records = self.records.writer.begin_writing().await?;
            // What a restore left behind whose keys were never committed.
            for table in recorded() {
                let delete = Query::delete()
                    .from_table(Alias::new(&table.name))
                    .to_owned();
                records.execute(&delete).await.map_err(failed)?;
            }
            Some(records)
        };
        let places = Places {
            keys: &tx,
            records: records.as_ref().unwrap_or(&tx),
        };
        let trailer = fill(places, &mut lines).await?;
        begin_history(&tx, &header, fits, new).await?;
        // Of two files one comes first: usage without keys is deleted by the next try, keys without usage would stay so.
        if let Some(records) = records {
            records.commit().await?;
        }
        tx.commit().await?;
        Ok((header, trailer))
    }
}

/// Where rows go.
#[derive(Debug, Clone, Copy)]
struct Places<'t> {
    keys: &'t Transaction,
    /// On SQLite another file.
    records: &'t Transaction,
}

impl<'t> Places<'t> {
    fn of(self, table: &str) -> &'t Transaction {
        if recorded().iter().any(|recorded| recorded.name == table) {
            self.records
        } else {
            self.keys
        }
    }
}

async fn header(lines: &mut Lines<'_>, known: &[String]) -> Result<Header, BackupError> {
    let line = lines.next().await?.ok_or(BackupError::NotABackup)?;
    let any: Json = serde_json::from_slice(line).map_err(|_| BackupError::NotABackup)?;
    let format = any.get("claviger_backup").and_then(Json::as_u64);
    let version = any.get("version").and_then(Json::as_str).unwrap_or("?");
    // Of a newer format no more is known than these two.
    if format.ok_or(BackupError::NotABackup)? > u64::from(FORMAT) {
        return Err(BackupError::Newer(version.to_owned()));
    }
    let header: Header = serde_json::from_value(any)
        .map_err(|_| BackupError::Damaged("its header can't be read".to_owned()))?;
    if header.schema.iter().any(|step| !known.contains(step)) {
        return Err(BackupError::Newer(header.version));
    }
    Ok(header)
}

/// Whether nobody has used this database yet. The counter is there from the first step of the schema on.
async fn is_empty(tx: &Transaction) -> Result<bool, BackupError> {
    let workspaces = workspaces::Entity::find().count(tx).await.map_err(failed)?;
    let meta = meta::Entity::find().count(tx).await.map_err(failed)?;
    let changes = changes::Entity::find().count(tx).await.map_err(failed)?;
    Ok(workspaces + meta + changes == 0)
}

/// Writes the rows, and checks them against the trailer.
async fn fill(places: Places<'_>, lines: &mut Lines<'_>) -> Result<Trailer, BackupError> {
    // The schema made one row, which the backup brings too.
    counter::Entity::delete_many()
        .exec(places.keys)
        .await
        .map_err(failed)?;
    let mut rows = BTreeMap::new();
    let mut inserts: Option<Inserts> = None;
    loop {
        let so_far = lines.digest.clone();
        let number = lines.number;
        let line = lines.next().await?.ok_or(BackupError::Cut)?;
        if line.first() == Some(&b'[') {
            let inserts = inserts
                .as_mut()
                .ok_or_else(|| damaged(number, "rows of no table"))?;
            inserts.add(places, line, number).await?;
            continue;
        }
        if let Some(done) = inserts.take() {
            let (name, written) = done.end(places).await?;
            rows.insert(name, written);
        }
        if let Ok(trailer) = serde_json::from_slice::<Trailer>(line) {
            let sound = hex::encode(so_far.finalize()) == trailer.sha256 && rows == trailer.rows;
            if !sound || lines.next().await?.is_some() {
                return Err(BackupError::Damaged(
                    "it is not what its trailer says".to_owned(),
                ));
            }
            return Ok(trailer);
        }
        let begins: TableLine = serde_json::from_slice(line)
            .map_err(|_| damaged(number, "a line that can't be read"))?;
        inserts = Some(Inserts::new(begins, number)?);
    }
}

/// The same keys in a new history: numbers of the old one are never compared with its own.
async fn begin_history(
    tx: &Transaction,
    header: &Header,
    fits: &(dyn Fn(&Meta) -> bool + Sync),
    new: NewHistory,
) -> Result<(), BackupError> {
    let meta = maintenance::read_meta(tx)
        .await?
        .ok_or_else(|| BackupError::Damaged("it has no keys".to_owned()))?;
    if !fits(&meta) {
        return Err(BackupError::WrongRootKey);
    }
    maintenance::set_epoch(tx, new.epoch).await?;
    let revision = header.revision + 1;
    let next = Query::update()
        .table(counter::Entity)
        .value(counter::Column::N, convert::signed(revision)?)
        .and_where(Expr::col(counter::Column::Id).eq(1))
        .to_owned();
    let done = tx.execute(&next).await.map_err(failed)?;
    if done.rows_affected() != 1 {
        return Err(corrupt("there is no revision counter").into());
    }
    let change = Change {
        actor: Actor::Recovery,
        action: "RESTORE",
        resource: Resource::Workspace(WorkspaceId::system()),
        before: None,
        after: Some(serde_json::json!({
            "epoch_before": header.epoch,
            "epoch": format!("{:08x}", new.epoch),
            "revision": header.revision,
            "backup_time": header.time,
            "version": header.version,
        })),
        time: new.now,
    };
    let row = feed::row(&change, revision, 0)?;
    changes::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Rows of one table on their way in.
struct Inserts {
    table: Table,
    waiting: Vec<Vec<Expr>>,
    written: u64,
}

impl Inserts {
    fn new(begins: TableLine, line: u64) -> Result<Self, BackupError> {
        let mut table = tables()
            .into_iter()
            .chain(recorded())
            .find(|table| table.name == begins.table)
            .ok_or_else(|| damaged(line, "a table that is not known"))?;
        let mut columns = Vec::new();
        for name in begins.columns {
            let at = table.columns.iter().position(|c| c.name == name);
            let at = at.ok_or_else(|| damaged(line, "a column that is not known"))?;
            columns.push(table.columns.swap_remove(at));
        }
        table.columns = columns;
        Ok(Self {
            table,
            waiting: Vec::new(),
            written: 0,
        })
    }

    async fn add(
        &mut self,
        places: Places<'_>,
        line: &[u8],
        number: u64,
    ) -> Result<(), BackupError> {
        let unreadable = || damaged(number, "a row that can't be read");
        let cells: Vec<Json> = serde_json::from_slice(line).map_err(|_| unreadable())?;
        if cells.len() != self.table.columns.len() {
            return Err(unreadable());
        }
        let values = self.table.columns.iter().zip(cells);
        let row: Option<Vec<Expr>> = values
            .map(|(column, cell)| value(column, cell).map(Expr::val))
            .collect();
        self.waiting.push(row.ok_or_else(unreadable)?);
        let full = (BOUND / self.table.columns.len().max(1)).min(ROWS);
        if self.waiting.len() >= full {
            self.flush(places).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, places: Places<'_>) -> Result<(), BackupError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut insert = Query::insert();
        insert.into_table(Alias::new(&self.table.name));
        insert.columns(self.table.columns.iter().map(|c| Alias::new(&c.name)));
        self.written += self.waiting.len() as u64;
        for row in self.waiting.drain(..) {
            insert
                .values(row)
                .map_err(|_| corrupt("a row has too many values"))?;
        }
        let place = places.of(&self.table.name);
        place.execute(&insert).await.map_err(failed)?;
        Ok(())
    }

    async fn end(mut self, places: Places<'_>) -> Result<(String, u64), BackupError> {
        self.flush(places).await?;
        Ok((self.table.name, self.written))
    }
}

fn value(column: &Column, cell: Json) -> Option<Value> {
    let null = cell == Json::Null;
    if null && !column.nullable {
        return None;
    }
    Some(match column.kind {
        Kind::Number if null => Value::BigInt(None),
        Kind::Number => Value::BigInt(Some(cell.as_i64()?)),
        Kind::Truth if null => Value::Bool(None),
        Kind::Truth => Value::Bool(Some(cell.as_bool()?)),
        Kind::Text if null => Value::String(None),
        Kind::Bytes if null => Value::Bytes(None),
        Kind::Text => match cell {
            Json::String(text) => Value::from(text),
            _ => return None,
        },
        Kind::Bytes => Value::from(STANDARD.decode(cell.as_str()?).ok()?),
    })
}

fn damaged(line: u64, what: &str) -> BackupError {
    BackupError::Damaged(format!("line {line}: {what}"))
}

/// Lines on their way in, counted into the digest.
struct Lines<'f> {
    from: &'f mut (dyn AsyncBufRead + Unpin + Send),
    line: Vec<u8>,
    number: u64,
    digest: Sha256,
}

impl<'f> Lines<'f> {
    fn new(from: &'f mut (dyn AsyncBufRead + Unpin + Send)) -> Self {
        Self {
            from,
            line: Vec::new(),
            number: 1,
            digest: Sha256::new(),
        }
    }

    /// The next line without its end; none at the end. A last line that does not end was cut.
    async fn next(&mut self) -> Result<Option<&[u8]>, BackupError> {
        self.line.clear();
        let mut limited = (&mut *self.from).take(LONGEST);
        let read = limited.read_until(b'\n', &mut self.line).await?;
        if read == 0 {
            return Ok(None);
        }
        self.digest.update(&self.line);
        self.number += 1;
        match self.line.split_last() {
            Some((b'\n', line)) => Ok(Some(line)),
            _ => Err(BackupError::Cut),
        }
    }
}
