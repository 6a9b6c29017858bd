//! One part of what was gathered: counts, rows and names, in rooms that are used again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::Seen;
use super::text::{self, Span};
use crate::app::authorize::Surface;
use crate::app::ports::Interval;
use crate::decide::{Presented, Shadowed};
use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, SecretId};
use crate::domain::revision::Revision;
use crate::domain::time::Time;
use crate::domain::workspace::Presentation;

/// Most addresses that are kept for one key, route and reason between two takings.
const MOST_ADDRESSES: usize = 64;
/// How many names are known before they are forgotten: those of what was deleted long ago stay until then.
const MOST_NAMES: usize = 16_384;

/// A name by its number; 0 is the empty one.
pub type Name = u32;

/// Where a decision belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    workspace: Name,
    subscription: Name,
    route: Name,
}

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UsageKey {
    /// The key's number; 0: not known whose.
    pub key: u128,
    /// The beginning of the hour.
    pub hour: Time,
    /// The workspace.
    pub workspace: Name,
    /// The subscription.
    pub subscription: Name,
    /// The route.
    pub route: Name,
    /// Whether it allowed.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
}

/// What restrictions in shadow are counted apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShadowKey {
    /// The workspace.
    pub workspace: Name,
    /// The key.
    pub key: KeyId,
    /// The route.
    pub route: Name,
    /// What it would have said.
    pub reason: Reason,
}

/// What a restriction in shadow would have denied.
#[derive(Debug, Clone)]
pub struct ShadowSeen {
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Time,
    /// The last time.
    pub last: Time,
    /// Addresses, each once.
    pub addresses: Vec<IpAddr>,
    /// There were more.
    pub more: bool,
}

/// Rows of the request log that are missing.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// How many.
    pub missing: u64,
    /// When the first was.
    pub since: Time,
    /// When the last was.
    pub until: Time,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logged {
    /// It waits to be written.
    Fine,
    /// The same, with so many others that they should be written now.
    Filling,
    /// It was dropped, and counted as missing.
    Full,
}

/// A row of the request log, its texts apart.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// When.
    pub time: Time,
    /// On what.
    pub revision: Revision,
    /// The key, and the secret of it.
    pub key: Option<(KeyId, SecretId)>,
    /// The client's address.
    pub source_ip: Option<IpAddr>,
    /// The workspace.
    pub workspace: Name,
    /// The subscription.
    pub subscription: Name,
    /// The route.
    pub route: Name,
    /// Whether it allowed.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
    /// How the credential was presented.
    pub presentation: Option<Presentation>,
    /// Through which door.
    pub surface: Surface,
    /// What would have denied, were it not in shadow.
    pub shadowed: Shadowed,
    /// The method, the path, and the scopes demanded: all of, any of.
    pub texts: [Span; 4],
}

/// What was gathered.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Usage.
    pub usage: HashMap<UsageKey, u64>,
    /// What restrictions in shadow would have denied.
    pub shadow: HashMap<ShadowKey, ShadowSeen>,
    /// Rows of the request log.
    pub rows: Vec<Entry>,
    /// Their texts, one behind the other.
    pub text: String,
    /// What is missing of the request log, by workspace.
    pub gaps: HashMap<Name, Gap>,
}

impl Gathered {
    /// Empties it; the room stays.
    pub fn clear(&mut self) {
        self.usage.clear();
        self.shadow.clear();
        self.rows.clear();
        self.text.clear();
        self.gaps.clear();
    }
}

/// Room that a part takes over for what it gave away; and the names of that part, as far as they are known outside.
#[derive(Debug, Default)]
pub struct Spare {
    /// Empty when it is handed in; what was gathered when it comes back.
    pub gathered: Gathered,
    /// Names by number.
    pub names: Vec<Arc<str>>,
    /// Whether the names are of before the part forgot its own.
    generation: u64,
}

impl Spare {
    /// A name by its number.
    pub fn name(&self, name: Name) -> &str {
        let at = usize::try_from(name).ok();
        at.and_then(|at| self.names.get(at))
            .map_or("", |name| &**name)
    }
}

/// Names with numbers.
#[derive(Debug, Default)]
pub(super) struct Names {
    list: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, Name>,
    /// What was asked for last, of each kind: most often it is asked for again.
    last: [Name; 3],
    generation: u64,
}

impl Names {
    fn new(generation: u64) -> Self {
        let empty: Arc<str> = Arc::from("");
        Self {
            list: vec![empty.clone()],
            numbers: HashMap::from([(empty, 0)]),
            last: [0; 3],
            generation,
        }
    }

    fn of(&mut self, kind: usize, name: &str) -> Name {
        if name.is_empty() {
            return 0;
        }
        let last = self.last.get(kind).copied().unwrap_or(0);
        let known = usize::try_from(last).ok().and_then(|at| self.list.get(at));
        if known.is_some_and(|known| **known == *name) {
            return last;
        }
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None => {
                let number = Name::try_from(self.list.len()).unwrap_or(0);
                let name: Arc<str> = Arc::from(name);
                self.list.push(name.clone());
                self.numbers.insert(name, number);
                number
            }
        };
        if let Some(last) = self.last.get_mut(kind) {
            *last = number;
        }
        number
    }
}

/// One part.
#[derive(Debug)]
pub(super) struct Part {
    gathered: Gathered,
    names: Names,
    most_rows: usize,
    most_text: usize,
    random: u64,
}

impl Part {
    pub(super) fn new(most_rows: usize, most_text: usize, seed: u64) -> Self {
        Self {
            gathered: Gathered::default(),
            names: Names::new(0),
            most_rows,
            most_text,
            random: seed,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.gathered.rows.len()
    }

    /// Whether a decision is of a share: `SplitMix64`, fit for a sample and for nothing else.
    pub(super) fn samples(&mut self, below: u64) -> bool {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 32 < below
    }

    /// Where a decision belongs, by the numbers of its names.
    pub(super) fn place(&mut self, seen: &Seen<'_, '_, '_>, subscription: &str) -> Place {
        let route = seen.verdict.route();
        Place {
            workspace: self.names.of(0, seen.question.workspace),
            subscription: self.names.of(1, subscription),
            route: self
                .names
                .of(2, route.map_or("", |route| route.id.as_str())),
        }
    }

    /// Counts a decision.
    pub(super) fn count(&mut self, seen: &Seen<'_, '_, '_>, place: Place) {
        let verdict = seen.verdict;
        let key = UsageKey {
            key: verdict.key.map_or(0, |(key, _)| key.id().as_u128()),
            hour: Interval::Hour.begin(seen.now),
            workspace: place.workspace,
            subscription: place.subscription,
            route: place.route,
            allowed: verdict.is_allow(),
            reason: verdict.reason,
        };
        *self.gathered.usage.entry(key).or_insert(0) += 1;
    }

    /// Counts what a restriction in shadow would have denied, when, and from where.
    pub(super) fn shadow(
        &mut self,
        place: Place,
        key: KeyId,
        reason: Reason,
        (moment, address): (Time, Option<IpAddr>),
    ) {
        let of = ShadowKey {
            workspace: place.workspace,
            key,
            route: place.route,
            reason,
        };
        let counted = self
            .gathered
            .shadow
            .entry(of)
            .or_insert_with(|| ShadowSeen {
                count: 0,
                first: moment,
                last: moment,
                addresses: Vec::new(),
                more: false,
            });
        counted.count += 1;
        counted.first = counted.first.min(moment);
        counted.last = counted.last.max(moment);
        if let Some(address) = address.filter(|a| !counted.addresses.contains(a)) {
            if counted.addresses.len() < MOST_ADDRESSES {
                counted.addresses.push(address);
            } else {
                counted.more = true;
            }
        }
    }

    /// Adds a row, where there is room.
    pub(super) fn log(&mut self, seen: &Seen<'_, '_, '_>, place: Place) -> Logged {
        let (verdict, question) = (seen.verdict, seen.question);
        let gathered = &mut self.gathered;
        if gathered.rows.len() >= self.most_rows || gathered.text.len() >= self.most_text {
            let gap = gathered.gaps.entry(place.workspace).or_insert(Gap {
                missing: 0,
                since: seen.now,
                until: seen.now,
            });
            gap.missing += 1;
            gap.since = gap.since.min(seen.now);
            gap.until = gap.until.max(seen.now);
            return Logged::Full;
        }
        let path = match question.presented {
            Presented::Http { path, .. } => path,
            _ => question.attributes.path,
        };
        let demands = seen.demands();
        let texts = [
            text::method(&mut gathered.text, question.attributes.method),
            text::path(&mut gathered.text, path),
            text::scopes(
                &mut gathered.text,
                demands.iter().flat_map(|(all_of, _)| all_of.iter()),
            ),
            text::scopes(
                &mut gathered.text,
                demands.iter().flat_map(|(_, any_of)| any_of.iter()),
            ),
        ];
        gathered.rows.push(Entry {
            time: seen.now,
            revision: seen.view.revision,
            key: verdict.key.map(|(key, secret)| (key.id(), secret.id())),
            source_ip: question.source_ip,
            workspace: place.workspace,
            subscription: place.subscription,
            route: place.route,
            allowed: verdict.is_allow(),
            reason: verdict.reason,
            presentation: verdict.presentation,
            surface: seen.surface,
            shadowed: verdict.shadowed,
            texts,
        });
        if self.gathered.rows.len() == self.most_rows / 4 {
            Logged::Filling
        } else {
            Logged::Fine
        }
    }

    /// Gives away what was gathered, for the empty room in `spare`.
    pub(super) fn take(&mut self, rows: bool, spare: &mut Spare) {
        std::mem::swap(&mut self.gathered, &mut spare.gathered);
        if !rows {
            // Rows and what is missing of them stay.
            std::mem::swap(&mut self.gathered.rows, &mut spare.gathered.rows);
            std::mem::swap(&mut self.gathered.text, &mut spare.gathered.text);
            std::mem::swap(&mut self.gathered.gaps, &mut spare.gathered.gaps);
        }
        if spare.generation != self.names.generation {
            spare.names.clear();
            spare.generation = self.names.generation;
        }
        let new = self.names.list.iter().skip(spare.names.len());
        spare.names.extend(new.cloned());
        if rows && self.names.list.len() > MOST_NAMES {
            // Nothing refers to them any more.
            self.names = Names::new(self.names.generation + 1);
        }
    }
}
