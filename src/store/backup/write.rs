//! A snapshot, written down.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use sea_orm::sea_query::{Alias, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbBackend, Order, QueryResult, StreamTrait};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{BackupError, Column, FORMAT, Header, Kind, Table, TableLine, Trailer, tables};
use crate::app::ports::StoreError;
use crate::domain::time::Time;
use crate::store::error::failed;
use crate::store::feed::position;
use crate::store::{SqlStore, schema};

/// How many bytes are collected before they are written.
const CHUNK: usize = 128 * 1_024;

impl SqlStore {
    /// Writes everything down, as it is in one snapshot; the service may go on meanwhile. `now` is noted in the header.
    pub async fn backup(
        &self,
        out: &mut (dyn AsyncWrite + Unpin + Send),
        now: Time,
    ) -> Result<(Header, Trailer), BackupError> {
        let schema = schema::steps(self).await?;
        let snapshot = self.reader.long_snapshot().await?;
        // The first read: it is what the snapshot is taken by.
        let position = position(&snapshot).await?;
        let header = Header {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: now.micros(),
            database: match self.reader.get_database_backend() {
                DbBackend::Postgres => "postgres".to_owned(),
                _ => "sqlite".to_owned(),
            },
            schema,
            epoch: format!("{:08x}", position.epoch),
            revision: position.n,
        };
        let mut lines = Lines::new(out);
        lines.object(&header)?;
        let mut rows = BTreeMap::new();
        for table in tables() {
            let written = dump(&snapshot, &table, &mut lines).await?;
            rows.insert(table.name, written);
        }
        let trailer = lines.end(rows).await?;
        Ok((header, trailer))
    }
}

async fn dump<C: ConnectionTrait + StreamTrait>(
    snapshot: &C,
    table: &Table,
    lines: &mut Lines<'_>,
) -> Result<u64, BackupError> {
    lines.object(&TableLine {
        table: table.name.clone(),
        columns: table.columns.iter().map(|c| c.name.clone()).collect(),
    })?;
    let mut written = 0;
    let rows = snapshot.stream(&select(table)).await.map_err(failed)?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.next().await {
        lines.row(table, &row.map_err(failed)?)?;
        lines.flush_when(CHUNK).await?;
        written += 1;
    }
    Ok(written)
}

fn select(table: &Table) -> SelectStatement {
    let mut select = Query::select();
    select.from(Alias::new(&table.name));
    for column in &table.columns {
        select.column(Alias::new(&column.name));
    }
    for column in &table.primary_key {
        select.order_by(Alias::new(column), Order::Asc);
    }
    select
}

/// Lines on their way out, counted into the digest.
struct Lines<'o> {
    out: &'o mut (dyn AsyncWrite + Unpin + Send),
    waiting: Vec<u8>,
    digest: Sha256,
}

impl<'o> Lines<'o> {
    fn new(out: &'o mut (dyn AsyncWrite + Unpin + Send)) -> Self {
        Self {
            out,
            waiting: Vec::with_capacity(2 * CHUNK),
            digest: Sha256::new(),
        }
    }

    fn object<T: serde::Serialize>(&mut self, object: &T) -> Result<(), BackupError> {
        serde_json::to_writer(&mut self.waiting, object).map_err(std::io::Error::from)?;
        self.waiting.push(b'\n');
        Ok(())
    }

    fn row(&mut self, table: &Table, row: &QueryResult) -> Result<(), BackupError> {
        for (at, column) in table.columns.iter().enumerate() {
            self.waiting.push(if at == 0 { b'[' } else { b',' });
            cell(&mut self.waiting, row, at, column)?;
        }
        self.waiting.extend_from_slice(b"]\n");
        Ok(())
    }

    async fn flush_when(&mut self, full: usize) -> Result<(), BackupError> {
        if self.waiting.len() >= full {
            self.digest.update(&self.waiting);
            self.out.write_all(&self.waiting).await?;
            self.waiting.clear();
        }
        Ok(())
    }

    async fn end(mut self, rows: BTreeMap<String, u64>) -> Result<Trailer, BackupError> {
        self.flush_when(0).await?;
        let sha256 = hex::encode(std::mem::take(&mut self.digest).finalize());
        let trailer = Trailer { rows, sha256 };
        self.object(&trailer)?;
        self.flush_when(0).await?;
        self.out.flush().await?;
        Ok(trailer)
    }
}

fn cell(
    out: &mut Vec<u8>,
    row: &QueryResult,
    at: usize,
    column: &Column,
) -> Result<(), BackupError> {
    let written = match column.kind {
        Kind::Number => row
            .try_get_by_index::<Option<i64>>(at)
            .map_err(failed)?
            .map(|number| write!(out, "{number}")),
        Kind::Truth => row
            .try_get_by_index::<Option<bool>>(at)
            .map_err(failed)?
            .map(|truth| write!(out, "{truth}")),
        Kind::Text => row
            .try_get_by_index::<Option<String>>(at)
            .map_err(failed)?
            .map(|text| Ok(serde_json::to_writer(&mut *out, &text)?)),
        Kind::Bytes => row
            .try_get_by_index::<Option<Vec<u8>>>(at)
            .map_err(failed)?
            .map(|bytes| write!(out, "\"{}\"", STANDARD.encode(bytes))),
    };
    match written {
        Some(written) => written?,
        None if column.nullable => out.extend_from_slice(b"null"),
        None => {
            let name = &column.name;
            return Err(StoreError::Corrupt(format!("a `{name}` is missing")).into());
        }
    }
    Ok(())
}
