//! Metrics of POSTbacks.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::app::Core;
use crate::domain::postback::Failure;

/// What is counted of POSTbacks without a metrics library.
#[derive(Debug)]
pub(super) struct PostbackMetrics(pub(super) Arc<Core>);

impl Collector for PostbackMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = &self.0.postbacks.counts;
        let counters = [
            (
                "postbacks_delivered",
                "Events that their receivers have taken",
                counts.delivered(),
            ),
            (
                "postbacks_given_up",
                "Events that were given up",
                counts.died(),
            ),
            (
                "postbacks_passed_over",
                "Uses by strangers of which no event was made: too many at once",
                counts.missed(),
            ),
        ];
        for (name, help, value) in counters {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(counter)?;
        }
        let mut family = encoder.encode_descriptor(
            "postbacks_failed_attempts",
            "Attempts that failed, by reason",
            None,
            MetricType::Counter,
        )?;
        for failure in Failure::ALL {
            ConstCounter::new(counts.failed(failure))
                .encode(family.encode_family(&[("failure", failure.as_str())])?)?;
        }
        let (pending, dead) = counts.held();
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let gauges = [
            (
                "postbacks_pending",
                "Events in the database that are still to be delivered",
                number(pending),
            ),
            (
                "postbacks_dead",
                "Events in the database that were given up",
                number(dead),
            ),
            (
                "postbacks_oldest_pending_age_seconds",
                "How long ago the oldest of the pending ones was accepted",
                counts.oldest_age_seconds(),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)?;
        }
        Ok(())
    }
}
