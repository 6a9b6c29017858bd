//! What was recorded of decisions, for those who may see it: the request log, usage, and what restrictions in shadow would
//! have denied.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::page;
use crate::app::ports::{
    DecisionQuery, Groups, Interval, KeyCursor, KeyQuery, LogRow, RowId, ShadowCount, UsagePlace,
    UsagePoint, UsageQuery,
};
use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Enforcement, Key};
use crate::domain::network::{self, IpNet};
use crate::domain::time::Time;

/// The longest span of usage that is added up at once.
const LONGEST: Duration = Duration::from_secs(3_660 * 24 * 3_600);

/// Which decisions, and where to go on.
#[derive(Debug, Clone)]
pub struct DecisionPage {
    /// Of this workspace.
    pub workspace: WorkspaceId,
    /// That meet this.
    pub filter: DecisionFilter,
    /// How many at most.
    pub size: u32,
    /// Where to go on; empty: at the beginning.
    pub token: String,
}

/// Decisions that meet all of these.
#[derive(Debug, Clone, Default)]
pub struct DecisionFilter {
    /// About this key.
    pub key: Option<KeyId>,
    /// Accounted to this subscription.
    pub subscription: Option<SubscriptionId>,
    /// That came out so.
    pub allowed: Option<bool>,
    /// For this reason.
    pub reason: Option<Reason>,
    /// From this address.
    pub source_ip: Option<IpAddr>,
    /// On this route.
    pub route: Option<String>,
    /// From then on.
    pub start: Option<Time>,
    /// Before then.
    pub end: Option<Time>,
}

/// Which usage, and where to go on.
#[derive(Debug, Clone)]
pub struct UsagePage {
    /// Of this workspace.
    pub workspace: WorkspaceId,
    /// Of this key.
    pub key: Option<KeyId>,
    /// Of this subscription.
    pub subscription: Option<SubscriptionId>,
    /// On this route.
    pub route: Option<String>,
    /// That came out so.
    pub allowed: Option<bool>,
    /// From then on.
    pub start: Option<Time>,
    /// Before then.
    pub end: Option<Time>,
    /// By hour or day.
    pub interval: Interval,
    /// Told apart by these.
    pub groups: Groups,
    /// How many at most.
    pub size: u32,
    /// Where to go on; empty: at the beginning.
    pub token: String,
}

/// Of which keys to report, and where to go on.
#[derive(Debug, Clone)]
pub struct ShadowPage {
    /// Of this workspace.
    pub workspace: WorkspaceId,
    /// Of this key alone.
    pub key: Option<KeyId>,
    /// How many keys at most.
    pub size: u32,
    /// Where to go on; empty: at the beginning.
    pub token: String,
}

/// What restrictions in shadow would have denied a key.
#[derive(Debug, Clone)]
pub struct ShadowReport {
    /// The key.
    pub key: Key,
    /// What is in shadow for it, by its own settings or its workspace's.
    pub enforcement: Enforcement,
    /// How often, by route and reason.
    pub counts: Vec<ShadowCount>,
    /// Networks that hold all addresses it would have been denied.
    pub needed: Vec<IpNet>,
    /// There were more addresses.
    pub incomplete: bool,
}

impl ShadowReport {
    /// Whether enforcing what is in shadow would have denied nothing that came.
    pub fn is_safe(&self) -> bool {
        self.enforcement.any() && self.counts.is_empty() && self.key.last_used_time().is_some()
    }
}

impl Core {
    /// Lists decisions, newest first, and says how to go on.
    pub async fn list_decisions(
        &self,
        caller: &Caller,
        page: DecisionPage,
    ) -> Result<(Vec<LogRow>, String), Error> {
        let arguments = format!(
            "decisions {} {:?} {:?}",
            page.workspace, page.filter, caller.subscriptions
        );
        let before: Option<String> = page::cursor(&page.token, &arguments)?;
        let before = before.map(|id| u128::from_str_radix(&id, 16)).transpose();
        let before = before
            .map_err(|_| Error::invalid("page_token", "is not one that was given"))?
            .map(RowId);
        self.require_workspace(&page.workspace).await?;
        let filter = page.filter;
        let query = DecisionQuery {
            workspace: page.workspace,
            key: filter.key,
            subscriptions: seen_by(caller, filter.subscription),
            allowed: filter.allowed,
            reason: filter.reason,
            source_ip: filter.source_ip,
            route: filter.route,
            start: filter.start,
            end: filter.end,
            before,
            limit: page.size + 1,
        };
        let found = self.records.list_decisions(&query).await?;
        page::cut(found, page.size, &arguments, |row| {
            format!("{:032x}", row.id.0)
        })
    }

    /// Adds up usage, and says how to go on.
    pub async fn usage(
        &self,
        caller: &Caller,
        page: UsagePage,
    ) -> Result<(Vec<UsagePoint>, String), Error> {
        let arguments = format!(
            "usage {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            page.workspace,
            page.key,
            page.subscription,
            page.route,
            page.allowed,
            page.start,
            page.end,
            page.interval,
            page.groups,
            caller.subscriptions
        );
        let after: Option<UsagePlace> = page::cursor(&page.token, &arguments)?;
        self.require_workspace(&page.workspace).await?;
        let (start, end) = span(&page, self.clock.now())?;
        let query = UsageQuery {
            workspace: page.workspace,
            key: page.key,
            subscriptions: seen_by(caller, page.subscription),
            route: page.route,
            allowed: page.allowed,
            start,
            end,
            interval: page.interval,
            groups: page.groups,
            after,
            limit: page.size + 1,
        };
        let found = self.records.usage(&query).await?;
        page::cut(found, page.size, &arguments, |point| point.place.clone())
    }

    /// Reports what restrictions in shadow would have denied, key by key, and says how to go on.
    pub async fn shadow_report(
        &self,
        caller: &Caller,
        page: ShadowPage,
    ) -> Result<(Vec<ShadowReport>, String), Error> {
        let arguments = format!(
            "shadow {} {:?} {:?}",
            page.workspace, page.key, caller.subscriptions
        );
        let after: Option<KeyId> = page::cursor(&page.token, &arguments)?;
        let workspace = self.store.workspace(&page.workspace).await?;
        let workspace = workspace.ok_or_else(|| Error::not_found("workspace"))?;
        let for_all = workspace.settings.enforcement;
        let keys = match page.key {
            Some(id) => {
                let key = self.store.key(id).await?.filter(|key| {
                    key.workspace == page.workspace && caller.may_see(key) && after.is_none()
                });
                vec![key.ok_or_else(|| Error::not_found("key"))?]
            }
            None => {
                let query = in_shadow(caller, &page, for_all, after, self.clock.now());
                self.store.list_keys(&query).await?
            }
        };
        let (keys, next) = page::cut(keys, page.size, &arguments, |key| key.id)?;
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        let mut counts: HashMap<KeyId, Vec<ShadowCount>> = HashMap::new();
        for count in self.records.shadow(&page.workspace, &ids).await? {
            counts.entry(count.key).or_default().push(count);
        }
        let reports = keys.into_iter().map(|key| {
            let counts = counts.remove(&key.id).unwrap_or_default();
            report(self.with_fresh_use(key), for_all, counts)
        });
        Ok((reports.collect(), next))
    }

    /// Forgets what restrictions in shadow would have denied a key.
    pub async fn reset_shadow_report(&self, caller: &Caller, id: KeyId) -> Result<(), Error> {
        let key = self.store.key(id).await?.filter(|key| caller.may_see(key));
        let key = key.ok_or_else(|| Error::not_found("key"))?;
        Ok(self.records.reset_shadow(&key.workspace, id).await?)
    }
}

/// The subscriptions whose requests a caller sees: the one asked for, of those it is bound to, if it is.
fn seen_by(caller: &Caller, asked: Option<SubscriptionId>) -> Option<Vec<SubscriptionId>> {
    match (asked, &*caller.subscriptions) {
        (None, []) => None,
        (Some(asked), []) => Some(vec![asked]),
        (None, bound) => Some(bound.to_vec()),
        (Some(asked), bound) => Some(bound.iter().filter(|s| **s == asked).cloned().collect()),
    }
}

/// The whole intervals that are asked for.
fn span(page: &UsagePage, now: Time) -> Result<(Time, Time), Error> {
    let interval = page.interval;
    let last = page.end.unwrap_or(now);
    let begun = interval.begin(last);
    let end = if begun == last && page.end.is_some() {
        last
    } else {
        Time::from_micros(begun.micros().saturating_add(interval.micros()))
    };
    let start = page.start.unwrap_or_else(|| {
        end.minus(Duration::from_secs(match interval {
            Interval::Hour => 24 * 3_600,
            Interval::Day => 30 * 24 * 3_600,
        }))
    });
    let start = interval.begin(start);
    if start >= end {
        return Err(Error::invalid(
            "end_time",
            "must be later than `start_time`",
        ));
    }
    if start.plus(LONGEST) < end {
        return Err(Error::invalid(
            "start_time",
            "is more than 3,660 days before `end_time`; ask for less at once",
        ));
    }
    Ok((start, end))
}

/// All keys that are not deleted and have something in shadow, by creation.
fn in_shadow(
    caller: &Caller,
    page: &ShadowPage,
    for_all: Enforcement,
    after: Option<KeyId>,
    now: Time,
) -> KeyQuery {
    KeyQuery {
        within: caller.within(),
        in_shadow: !for_all.any(),
        after: after.map(|id| KeyCursor {
            name: String::new(),
            id,
        }),
        ..KeyQuery::all(page.workspace.clone(), now, page.size + 1)
    }
}

fn report(key: Key, for_all: Enforcement, counts: Vec<ShadowCount>) -> ShadowReport {
    let networks: Vec<IpNet> = counts.iter().flat_map(|c| c.networks.clone()).collect();
    let (needed, whole) = network::summarise(&networks);
    ShadowReport {
        enforcement: key.settings.enforcement.or(for_all),
        incomplete: !whole || counts.iter().any(|c| c.more_networks),
        key,
        counts,
        needed,
    }
}
