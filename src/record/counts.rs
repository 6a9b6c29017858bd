//! Usage, and what restrictions in shadow would have denied: added up, then added to what stands, each once.

use std::collections::BTreeMap;
use std::iter;
use std::sync::atomic::Ordering;

use crate::app::Core;
use crate::app::ports::{Flush, ShadowCount, UsageId};
use crate::app::recorder::Spare;
use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, WorkspaceId};
use crate::domain::network::{self, IpNet};
use crate::domain::time::Time;

/// How many counts one addition takes.
const AT_ONCE: usize = 500;

type ShadowId = (WorkspaceId, KeyId, String, Reason);

/// Counts on their way.
pub(super) struct Counts {
    writer: u64,
    sequence: u64,
    usage: BTreeMap<UsageId, u64>,
    shadow: BTreeMap<ShadowId, ShadowCount>,
    /// An addition whose outcome is not known, or that failed: to be repeated as it is, before any other.
    under_way: Option<Flush>,
    failing: bool,
}

impl Counts {
    pub(super) fn new(writer: u64) -> Self {
        Self {
            writer,
            sequence: 0,
            usage: BTreeMap::new(),
            shadow: BTreeMap::new(),
            under_way: None,
            failing: false,
        }
    }

    /// Takes over the counts of what was gathered.
    pub(super) fn add(&mut self, from: &Spare, known: &dyn Fn(&str) -> Option<WorkspaceId>) {
        for (key, count) in &from.gathered.usage {
            let Some(workspace) = known(from.name(key.workspace)) else {
                continue;
            };
            let id = UsageId {
                workspace,
                hour: key.hour,
                key: (key.key != 0).then(|| KeyId::from_u128(key.key)),
                subscription: from.name(key.subscription).to_owned(),
                route: from.name(key.route).to_owned(),
                allowed: key.allowed,
                reason: key.reason,
            };
            *self.usage.entry(id).or_insert(0) += count;
        }
        for (key, seen) in &from.gathered.shadow {
            let Some(workspace) = known(from.name(key.workspace)) else {
                continue;
            };
            let route = from.name(key.route).to_owned();
            let id = (workspace.clone(), key.key, route.clone(), key.reason);
            let count = self.shadow.entry(id).or_insert_with(|| ShadowCount {
                workspace,
                key: key.key,
                route,
                reason: key.reason,
                count: 0,
                first: seen.first,
                last: seen.last,
                networks: Vec::new(),
                more_networks: false,
            });
            count.count += seen.count;
            count.first = count.first.min(seen.first);
            count.last = count.last.max(seen.last);
            let addresses = seen.addresses.iter().copied().map(IpNet::from);
            count.networks.extend(addresses);
            let (few, whole) = network::summarise(&count.networks);
            count.networks = few;
            count.more_networks |= seen.more || !whole;
        }
    }

    /// Adds all to what stands, or as much as can be now.
    pub(super) async fn write(&mut self, core: &Core) {
        while let Some(flush) = self.next(core.clock.now()) {
            match core.records.add(&flush).await {
                Ok(()) => self.failing = false,
                Err(error) => {
                    let counts = core.recorder.counts();
                    counts.failed_usage.fetch_add(1, Ordering::Relaxed);
                    if !self.failing {
                        tracing::warn!(%error, "usage can't be written; it waits in memory");
                    }
                    self.failing = true;
                    self.under_way = Some(flush);
                    break;
                }
            }
        }
        let waiting = self.under_way.as_ref().map_or(0, |f| f.usage.len()) + self.usage.len();
        let pending = &core.recorder.counts().pending_usage;
        pending.store(
            u64::try_from(waiting).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// The next addition: the one that is under way, else a new one.
    fn next(&mut self, now: Time) -> Option<Flush> {
        if let Some(flush) = self.under_way.take() {
            return Some(flush);
        }
        let usage = iter::from_fn(|| self.usage.pop_first());
        let usage: Vec<_> = usage.take(AT_ONCE).collect();
        let shadow = iter::from_fn(|| self.shadow.pop_first());
        let shadow: Vec<_> = shadow.take(AT_ONCE).map(|(_, count)| count).collect();
        if usage.is_empty() && shadow.is_empty() {
            return None;
        }
        self.sequence += 1;
        Some(Flush {
            writer: self.writer,
            sequence: self.sequence,
            now,
            usage,
            shadow,
        })
    }
}
