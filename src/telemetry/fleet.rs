//! How this process stands in its fleet, as metrics: nothing here asks the database.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::app::Core;
use crate::app::ports::freshness::{LAG_CLASSES, Reload};

/// Its place, how stale its index may be, and how long changes took to get here.
#[derive(Debug)]
pub(super) struct FleetMetrics(pub(super) Arc<Core>);

impl Collector for FleetMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauge = encoder.encode_descriptor(
            "in_fleet",
            "1 while this replica may decide: its index is whole, and it has joined and not lost its lease",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(self.0.may_decide().is_ok())).encode(gauge)?;
        let gauge = encoder.encode_descriptor(
            "leader",
            "1 while this replica leads: it alone delivers POSTbacks and purges what is due",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(self.0.leads())).encode(gauge)?;
        let freshness = self.0.feed.freshness();
        if let Some(staleness) = freshness.staleness() {
            let gauge = encoder.encode_descriptor(
                "feed_staleness_seconds",
                "Time since all changes that were in the database were known to be in force here",
                None,
                MetricType::Gauge,
            )?;
            ConstGauge::new(staleness.as_secs_f64()).encode(gauge)?;
        }
        let gauge = encoder.encode_descriptor(
            "database_refused",
            "1 while the database went back or is in another history than the one that is followed: changes are refused",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(freshness.is_refused())).encode(gauge)?;
        let mut family = encoder.encode_descriptor(
            "index_reloads",
            "How often everything was loaded again beside the index that was in force, by the reason",
            None,
            MetricType::Counter,
        )?;
        for why in Reload::ALL {
            let labels = [("reason", why.as_str())];
            ConstCounter::new(freshness.reloads(why)).encode(family.encode_family(&labels)?)?;
        }
        let lags = freshness.lags();
        let mut histogram = encoder.encode_descriptor(
            "revocation_lag_seconds",
            "Time from a change of another replica, by that one's clock, to its being in force here",
            None,
            MetricType::Histogram,
        )?;
        let ends = LAG_CLASSES.iter().map(std::time::Duration::as_secs_f64);
        let classes: Vec<(f64, u64)> = ends.chain([f64::INFINITY]).zip(lags.counts).collect();
        let count = lags.counts.iter().sum();
        histogram.encode_histogram::<NoLabelSet>(lags.sum.as_secs_f64(), count, &classes, None)
    }
}
