//! What the recorder has gathered, on its way to the records: counts first, for people bill by them; then rows of the
//! request log, as many as there are.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::rows::Rows;
use crate::app::Core;
use crate::app::recorder::Spare;

/// How often counts are added: a crash costs no more than those of this time.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Writes what was recorded until told to stop, and once more then.
pub(super) async fn flush(core: &Core, stop: &CancellationToken) {
    let mut ledger = Ledger::new(core);
    loop {
        let stopped = tokio::select! {
            () = stop.cancelled() => true,
            () = core.recorder.filling() => false,
            () = tokio::time::sleep(FLUSH_INTERVAL) => false,
        };
        ledger.gather();
        ledger.write().await;
        if stopped {
            // Where rows of before were in the way, those behind them are still to be taken.
            ledger.gather();
            ledger.write().await;
            return;
        }
    }
}

struct Ledger<'c> {
    core: &'c Core,
    /// Room for what each part of the recorder gives away, used again and again.
    spares: Vec<Spare>,
    counts: Counts,
    rows: Rows,
}

impl<'c> Ledger<'c> {
    fn new(core: &'c Core) -> Self {
        let replica = core.recorder.replica();
        Self {
            core,
            spares: (0..core.recorder.parts())
                .map(|_| Spare::default())
                .collect(),
            counts: Counts::new(replica),
            rows: Rows::new(replica),
        }
    }

    /// Takes what was gathered; rows only while none wait here: those that can't be written yet are counted where they are
    /// made, and nothing grows without bound.
    fn gather(&mut self) {
        let take_rows = self.rows.is_empty();
        let index = self.core.index.now();
        let view = index.view();
        for (part, spare) in self.spares.iter_mut().enumerate() {
            self.core.recorder.take(part, take_rows, spare);
            // What a deleted workspace left goes with it.
            let known = |workspace: &str| view.workspace(workspace).map(|w| w.id.clone());
            self.counts.add(spare, &known);
            self.rows.add(spare, &known);
            spare.gathered.clear();
        }
        self.rows.close_gaps();
    }

    async fn write(&mut self) {
        self.counts.write(self.core).await;
        let mut counted = Instant::now();
        while self.rows.write_some(self.core).await {
            if counted.elapsed() >= FLUSH_INTERVAL {
                self.gather();
                self.counts.write(self.core).await;
                counted = Instant::now();
            }
        }
    }
}
