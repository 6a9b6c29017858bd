//! Usage as people see it: bars over time, and a line of small bars for each group.

use std::collections::BTreeMap;

use crate::cli::import::progress::grouped;
use crate::cli::json::rfc3339;
use crate::cli::names::{self, DimensionName};
use crate::cli::table::{self, Look};
use crate::grpc::proto::v1;

/// How wide a bar is at most.
const BAR: usize = 40;
/// Most columns of small bars: more intervals than that share them.
const SPARKS: usize = 48;
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What is drawn: intervals from the first to the last, each so many seconds.
pub(super) struct Drawing {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) step: i64,
}

/// Allowed and denied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    allowed: i64,
    denied: i64,
}

impl Counts {
    fn add(&mut self, point: &v1::UsagePoint) {
        if point.decision == i32::from(v1::Decision::Deny) {
            self.denied += point.count;
        } else {
            self.allowed += point.count;
        }
    }

    fn total(self) -> i64 {
        self.allowed.saturating_add(self.denied)
    }
}

impl Drawing {
    /// A bar for each interval, those without requests too.
    pub(super) fn over_time(&self, points: &[v1::UsagePoint], look: Look<'_>) -> String {
        let mut intervals: BTreeMap<i64, Counts> = BTreeMap::new();
        let mut at = self.first;
        while at <= self.last {
            intervals.insert(at, Counts::default());
            at = at.saturating_add(self.step.max(1));
        }
        for point in points {
            let start = point.start_time.map_or(0, |t| t.seconds);
            intervals.entry(start).or_default().add(point);
        }
        let most = intervals.values().map(|c| c.total()).max().unwrap_or(0);
        let rows = intervals.iter().map(|(start, counts)| {
            [
                self.label(*start),
                grouped(counts.allowed),
                grouped(counts.denied),
                bar(counts.total(), most),
            ]
        });
        let rows: Vec<_> = rows.chain([sum(intervals.values())]).collect();
        table::usage(["FROM", "ALLOWED", "DENIED", ""], rows, look)
    }

    /// A line for each group, the busiest first.
    pub(super) fn by_group(
        &self,
        points: &[v1::UsagePoint],
        by: &[DimensionName],
        look: Look<'_>,
    ) -> String {
        let mut groups: BTreeMap<String, (Counts, Vec<i64>)> = BTreeMap::new();
        let intervals = (self.last - self.first) / self.step.max(1) + 1;
        let columns = usize::try_from(intervals).unwrap_or(1).clamp(1, SPARKS);
        for point in points {
            let (counts, sparks) = groups
                .entry(name(point, by))
                .or_insert_with(|| (Counts::default(), vec![0; columns]));
            counts.add(point);
            let start = point.start_time.map_or(0, |t| t.seconds);
            let interval = (start - self.first) / self.step.max(1);
            let column = interval * i64::try_from(columns).unwrap_or(1) / intervals.max(1);
            let spark = usize::try_from(column)
                .ok()
                .and_then(|at| sparks.get_mut(at));
            if let Some(spark) = spark {
                *spark += point.count;
            }
        }
        let mut busiest: Vec<_> = groups.into_iter().collect();
        busiest.sort_by_key(|(_, (counts, _))| std::cmp::Reverse(counts.total()));
        let total: Vec<_> = busiest.iter().map(|(_, (counts, _))| *counts).collect();
        let rows = busiest.into_iter().map(|(name, (counts, sparks))| {
            [
                table::clean(&name),
                grouped(counts.allowed),
                grouped(counts.denied),
                sparkline(&sparks),
            ]
        });
        let rows: Vec<_> = rows.chain([sum(total.iter())]).collect();
        let over = format!("FROM {}", self.label(self.first));
        table::usage(["OF", "ALLOWED", "DENIED", &over], rows, look)
    }

    fn label(&self, start: i64) -> String {
        let text = rfc3339(&prost_types::Timestamp {
            seconds: start,
            nanos: 0,
        });
        let (day, time) = text.split_once('T').unwrap_or((&text, ""));
        if self.step >= 86_400 {
            day.to_owned()
        } else {
            format!("{day} {}", time.get(..5).unwrap_or_default())
        }
    }
}

fn sum<'c>(counts: impl Iterator<Item = &'c Counts>) -> [String; 4] {
    let mut all = Counts::default();
    for one in counts {
        all.allowed += one.allowed;
        all.denied += one.denied;
    }
    [
        "all".to_owned(),
        grouped(all.allowed),
        grouped(all.denied),
        String::new(),
    ]
}

/// What a point is of.
fn name(point: &v1::UsagePoint, by: &[DimensionName]) -> String {
    let or = |text: &str, none: &str| {
        if text.is_empty() {
            none.to_owned()
        } else {
            text.to_owned()
        }
    };
    let parts = by.iter().map(|dimension| match dimension {
        DimensionName::Key => or(&point.key_id, "(unknown key)"),
        DimensionName::Subscription => or(&point.subscription, "(no subscription)"),
        DimensionName::Route => or(&point.route, "(no route)"),
        DimensionName::Decision => names::decision(point.decision),
        DimensionName::Reason => names::reason(point.reason),
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// A bar as long as its share of the most, to an eighth of a column; whatever is not nothing can be seen.
fn bar(count: i64, most: i64) -> String {
    let (count, most) = (
        u128::try_from(count).unwrap_or(0),
        u128::try_from(most).unwrap_or(0),
    );
    if count == 0 || most == 0 {
        return String::new();
    }
    let eighths = usize::try_from(count * (BAR as u128) * 8 / most).unwrap_or(0);
    let eighths = eighths.max(1);
    let part = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    format!("{}{part}", "█".repeat(eighths / 8))
}

/// A small bar for each count; a space for none.
fn sparkline(counts: &[i64]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let level = |count: &i64| match *count {
        0 => ' ',
        count => {
            let at = usize::try_from(count.saturating_mul(8) / most).unwrap_or(0);
            LEVELS.get(at.saturating_sub(1)).copied().unwrap_or('█')
        }
    };
    counts.iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_never_invisible() {
        assert_eq!(bar(0, 100), "");
        assert_eq!(bar(100, 100), "█".repeat(40));
        assert_eq!(bar(50, 100), "█".repeat(20));
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(101, 320), format!("{}▋", "█".repeat(12)));
        assert_eq!(bar(i64::MAX, i64::MAX).chars().count(), 40);
    }

    #[test]
    fn a_line_of_small_bars_shows_none_as_a_space() {
        assert_eq!(sparkline(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(sparkline(&[0, 0]), "  ");
        assert_eq!(sparkline(&[1, 1_000]), "▁█");
    }
}
