//! Logs and metrics. What they may say is what an operator needs, never a token, an address or a body.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::app::Core;
use crate::app::authorize::{DecisionCounts, Surface};
use crate::app::calls::CallCounts;
use crate::app::limit::{Limit, Shares};
use crate::app::recorder::Recorder;
use crate::domain::decision::Reason;

mod fleet;
mod postbacks;

use fleet::FleetMetrics;
use postbacks::PostbackMetrics;

/// Starts the log on standard error, in JSON or pretty, as this filter says. Once in a process.
pub fn start_log(
    json: bool,
    colour: bool,
    filter: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use tracing_subscriber::fmt::time::SystemTime;
    use tracing_subscriber::{EnvFilter, fmt};
    // The migrations log every table, and the driver would log every statement, were it not told to be silent where it is
    // opened: a filter that somebody asks for can't be trusted with that.
    let filter = EnvFilter::try_new(format!(
        "{filter},sqlx=off,sea_orm=off,sea_orm_migration=warn"
    ))?;
    let log = fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        .with_writer(std::io::stderr);
    if json {
        log.json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    } else {
        log.with_ansi(colour).with_target(false).try_init()
    }
}

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Connections open now.
    pub connections: Gauge,
    /// Connections refused because there were too many.
    pub refused_connections: Counter,
    /// Connections whose clients were asked to open others, for they had reached their age.
    pub aged_connections: Counter,
    /// Whether the database has not been reached since the start.
    pub apart: Gauge,
}

impl Metrics {
    /// All of them, read from where they are counted.
    pub fn new(
        core: Arc<Core>,
        counts: Arc<DecisionCounts>,
        decisions: Arc<Limit>,
        administration: Arc<Shares>,
        watches: Arc<Shares>,
        calls: Arc<CallCounts>,
    ) -> Self {
        let mut registry = Registry::with_prefix("claviger");
        let connections = Gauge::default();
        let refused_connections = Counter::default();
        registry.register("connections", "Connections open now", connections.clone());
        registry.register(
            "refused_connections",
            "Connections refused because there were too many",
            refused_connections.clone(),
        );
        let aged_connections = Counter::default();
        registry.register(
            "aged_connections",
            "Connections whose clients were asked to open others, for they had reached their age",
            aged_connections.clone(),
        );
        let apart = Gauge::default();
        registry.register(
            "started_without_database",
            "1 while decisions rest on what was kept before the start, and the database has not been reached since",
            apart.clone(),
        );
        registry.register_collector(Box::new(PostbackMetrics(core.clone())));
        registry.register_collector(Box::new(FleetMetrics(core.clone())));
        registry.register_collector(Box::new(Counts {
            core,
            calls,
            counts,
            decisions,
            administration,
            watches,
        }));
        Self {
            registry,
            connections,
            refused_connections,
            aged_connections,
            apart,
        }
    }

    /// The metrics as `OpenMetrics` text.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// What is counted elsewhere without a metrics library: decisions must not pay for one.
#[derive(Debug)]
struct Counts {
    core: Arc<Core>,
    calls: Arc<CallCounts>,
    counts: Arc<DecisionCounts>,
    decisions: Arc<Limit>,
    administration: Arc<Shares>,
    watches: Arc<Shares>,
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "calls",
            "Calls by method and gRPC status",
            None,
            MetricType::Counter,
        )?;
        for (path, code, count) in self.calls.iter() {
            let labels = [("method", path.trim_start_matches('/')), ("code", code)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "decisions",
            "Decisions by door and reason",
            None,
            MetricType::Counter,
        )?;
        for surface in Surface::ALL {
            for reason in Reason::ALL {
                let labels = [("surface", surface.as_str()), ("reason", reason.as_str())];
                ConstCounter::new(self.counts.of(surface, reason))
                    .encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "shadowed",
            "Denials that a restriction in shadow only reported",
            None,
            MetricType::Counter,
        )?;
        for reason in Reason::ALL {
            ConstCounter::new(self.counts.shadowed(reason))
                .encode(family.encode_family(&[("reason", reason.as_str())])?)?;
        }
        let mut family = encoder.encode_descriptor(
            "grandfathered",
            "Requests let through without a good key by routes that are grandfathered, by what would have denied them",
            None,
            MetricType::Counter,
        )?;
        for reason in Reason::ALL {
            ConstCounter::new(self.counts.grandfathered(reason))
                .encode(family.encode_family(&[("reason", reason.as_str())])?)?;
        }
        let mut family = encoder.encode_descriptor(
            "shed",
            "Calls refused because too many were under way",
            None,
            MetricType::Counter,
        )?;
        for (kind, shed) in [
            ("decision", self.decisions.shed()),
            ("administration", self.administration.shed()),
            ("watch", self.watches.shed()),
        ] {
            ConstCounter::new(shed).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        let mut family =
            encoder.encode_descriptor("under_way", "Calls under way", None, MetricType::Gauge)?;
        for (kind, under_way) in [
            ("decision", self.decisions.under_way()),
            ("administration", self.administration.under_way()),
            ("watch", self.watches.under_way()),
        ] {
            let n = i64::try_from(under_way).unwrap_or(i64::MAX);
            ConstGauge::new(n).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        let leaked = encoder.encode_descriptor(
            "leaked_secrets",
            "Secrets that were reported as found in public, each once",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(self.core.leaked.load(Ordering::Relaxed)).encode(leaked)?;
        records(&mut encoder, &self.core.recorder)?;
        let (keys, secrets) = self.core.index.len();
        let gauges = [
            ("index_keys", "Keys in the index, dead ones too", keys),
            (
                "index_secrets",
                "Secrets in the index, dead ones too",
                secrets,
            ),
            (
                "applied_revision",
                "Number of the last change in force",
                usize::try_from(self.core.index.applied().n).unwrap_or(usize::MAX),
            ),
            (
                "loaded",
                "1 once the index is whole",
                usize::from(self.core.index.is_loaded()),
            ),
        ];
        for (name, help, value) in gauges {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)?;
        }
        Ok(())
    }
}

/// How recording goes: what waits, what was dropped, what failed.
fn records(
    encoder: &mut DescriptorEncoder<'_>,
    recorder: &Recorder,
) -> Result<(), std::fmt::Error> {
    let counts = recorder.counts();
    let counters = [
        (
            "request_log_written",
            "Rows of the request log that were written",
            &counts.written,
        ),
        (
            "request_log_dropped",
            "Rows of the request log that are missing, for more came than could be written",
            &counts.dropped,
        ),
    ];
    for (name, help, counter) in counters {
        let counter = counter.load(Ordering::Relaxed);
        let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(counter).encode(descriptor)?;
    }
    let gauges = [
        (
            "request_log_queued",
            "Rows of the request log that wait to be written",
            recorder.queued(),
        ),
        (
            "usage_pending",
            "Counts that wait to be added to usage, as of the last second",
            counts.pending_usage.load(Ordering::Relaxed),
        ),
    ];
    for (name, help, gauge) in gauges {
        let gauge = i64::try_from(gauge).unwrap_or(i64::MAX);
        let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(gauge).encode(descriptor)?;
    }
    let mut family = encoder.encode_descriptor(
        "flush_failures",
        "Writes of what decisions left behind that failed, and are tried again",
        None,
        MetricType::Counter,
    )?;
    for (kind, failures) in [
        ("usage", &counts.failed_usage),
        ("request_log", &counts.failed_log),
        ("last_used", &counts.failed_last_used),
    ] {
        let failures = failures.load(Ordering::Relaxed);
        ConstCounter::new(failures).encode(family.encode_family(&[("kind", kind)])?)?;
    }
    Ok(())
}
