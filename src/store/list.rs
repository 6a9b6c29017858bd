//! The query behind a list of keys: filters, order, place.

use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use super::convert::{
    SUBSCRIPTION_TERMS, key_id, label_term, principal_term, scope_term, subscription_term,
};
use super::entity::{key_terms, keys};
use super::error::failed;
use super::keys::by_ids;
use crate::app::ports::{KeyCursor, KeyOrder, KeyQuery, StateSet, StoreError};
use crate::domain::id::{KeyId, SubscriptionId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::text;
use crate::domain::time::Time;

/// The keys that a query asks for; the connection must be a transaction.
pub(super) async fn list<C: ConnectionTrait>(
    connection: &C,
    query: &KeyQuery,
) -> Result<Vec<Key>, StoreError> {
    let ids = select(query)
        .into_tuple::<Vec<u8>>()
        .all(connection)
        .await
        .map_err(failed)?;
    let ids: Vec<KeyId> = ids.iter().map(|id| key_id(id)).collect::<Result<_, _>>()?;
    let mut found = by_ids(connection, &ids).await?;
    // All are there: it is one snapshot.
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

/// The statement for the ids that a query asks for: an index has all it needs, where it would have to look up rows to
/// pass over most of them.
pub(super) fn select(query: &KeyQuery) -> Select<keys::Entity> {
    let mut filter = Condition::all()
        .add(keys::Column::WorkspaceId.eq(query.workspace.as_str()))
        .add(in_states(query.states, query.now))
        .add_option(query.name_contains.as_deref().map(name_contains))
        .add_option(
            query
                .expire_before
                .map(|t| keys::Column::ExpireTime.lt(t.micros())),
        )
        .add_option(query.unused_since.map(unused_since))
        .add_option(query.in_shadow.then(in_shadow));
    let mut terms = Vec::new();
    terms.extend(query.scope.as_deref().map(scope_term));
    terms.extend(query.subscription.as_ref().map(subscription_term));
    terms.extend(query.principal.as_ref().map(principal_term));
    terms.extend(query.only_of.as_ref().map(principal_term));
    if let Some((name, value)) = &query.label {
        terms.push(label_term(name, value.as_deref()));
    }
    for term in terms {
        filter = filter.add(has_one_of(&query.workspace, [term]));
    }
    if let Some(within) = &query.within {
        filter = filter.add(bound_within(&query.workspace, within));
    }
    if let Some(cursor) = &query.after {
        filter = filter.add(after(query.order, cursor));
    }
    let select = keys::Entity::find()
        .select_only()
        .column(keys::Column::Id)
        .filter(filter)
        .limit(u64::from(query.limit));
    match query.order {
        KeyOrder::Created { descending } => {
            select.order_by(keys::Column::Id, direction(descending))
        }
        KeyOrder::Name { descending } => select
            .order_by(keys::Column::NameFolded, direction(descending))
            .order_by(keys::Column::Id, direction(descending)),
    }
}

fn direction(descending: bool) -> Order {
    if descending { Order::Desc } else { Order::Asc }
}

/// As [`Key::state`] tells states: deleted before disabled before expired.
fn in_states(states: StateSet, now: Time) -> Condition {
    let enabled = || {
        Condition::all()
            .add(keys::Column::DeleteTime.is_null())
            .add(keys::Column::Enabled.eq(true))
    };
    let ended = || keys::Column::ExpireTime.lte(now.micros());
    let mut any = Condition::any();
    if states.deleted {
        any = any.add(keys::Column::DeleteTime.is_not_null());
    }
    if states.disabled {
        any = any.add(
            Condition::all()
                .add(keys::Column::DeleteTime.is_null())
                .add(keys::Column::Enabled.eq(false)),
        );
    }
    if states.expired {
        any = any.add(enabled().add(ended()));
    }
    if states.active {
        let open = Condition::any()
            .add(keys::Column::ExpireTime.is_null())
            .add(keys::Column::ExpireTime.gt(now.micros()));
        any = any.add(enabled().add(open));
    }
    if any.is_empty() {
        // No state is wanted, so no key is. An empty condition would let all pass.
        return Condition::all().add(keys::Column::Id.is_in(Vec::<Vec<u8>>::new()));
    }
    any
}

fn name_contains(part: &str) -> Expr {
    keys::Column::NameFolded.like(pattern(part))
}

/// What a folded text is like that has this part, folded too: so it makes no difference whether a database's LIKE minds
/// case.
pub(super) fn pattern(part: &str) -> LikeExpr {
    let mut pattern = String::from("%");
    for c in text::fold(part).chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape('\\')
}

fn unused_since(since: Time) -> Condition {
    Condition::any()
        .add(keys::Column::LastUsedTime.is_null())
        .add(keys::Column::LastUsedTime.lt(since.micros()))
}

fn in_shadow() -> Condition {
    Condition::any()
        .add(keys::Column::ShadowNetwork.eq(true))
        .add(keys::Column::ShadowPresentation.eq(true))
        .add(keys::Column::ShadowSubscription.eq(true))
        .add(keys::Column::ShadowScopes.eq(true))
}

fn has_one_of(workspace: &WorkspaceId, terms: impl IntoIterator<Item = String>) -> Expr {
    keys::Column::Id.in_subquery(
        Query::select()
            .column(key_terms::Column::KeyId)
            .from(key_terms::Entity)
            .and_where(key_terms::Column::WorkspaceId.eq(workspace.as_str()))
            .and_where(key_terms::Column::Term.is_in(terms))
            .to_owned(),
    )
}

/// Bound to some of these, and to none besides.
fn bound_within(workspace: &WorkspaceId, within: &[SubscriptionId]) -> Condition {
    let terms: Vec<String> = within.iter().map(subscription_term).collect();
    let outside: SelectStatement = Query::select()
        .expr(Expr::val(1))
        .from(key_terms::Entity)
        .and_where(
            Expr::col((key_terms::Entity, key_terms::Column::KeyId))
                .equals((keys::Entity, keys::Column::Id)),
        )
        .and_where(key_terms::Column::Term.starts_with(SUBSCRIPTION_TERMS))
        .and_where(key_terms::Column::Term.is_not_in(terms.clone()))
        .to_owned();
    Condition::all()
        .add(has_one_of(workspace, terms))
        .add(Expr::exists(outside).not())
}

fn after(order: KeyOrder, cursor: &KeyCursor) -> Expr {
    let id = cursor.id.to_bytes().to_vec();
    match order {
        KeyOrder::Created { descending: false } => keys::Column::Id.gt(id),
        KeyOrder::Created { descending: true } => keys::Column::Id.lt(id),
        KeyOrder::Name { descending } => {
            let place = Expr::tuple([
                Expr::col((keys::Entity, keys::Column::NameFolded)),
                Expr::col((keys::Entity, keys::Column::Id)),
            ]);
            let cursor = Expr::tuple([Expr::val(cursor.name.clone()), Expr::val(id)]);
            if descending {
                place.lt(cursor)
            } else {
                place.gt(cursor)
            }
        }
    }
}
