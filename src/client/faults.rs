//! What the log is told of faults: when they begin and when they are over, however many requests they meet.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{Allowed, Refusal};

/// So many answers in a row, and a fault counts as over: one that comes and goes would fill the log else.
const ANSWERS_IN_A_ROW: u32 = 16;

/// The faults of one layer and its clones.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Answers that are still to come until the fault is over; 0: there is none.
    to_come: AtomicU32,
    /// Nothing was demanded of some request: that is in the service's code, and is not over until that is changed.
    nothing_demanded: AtomicBool,
}

impl Faults {
    /// Logs what asking about a request came to.
    pub(super) fn heard(&self, answer: &Result<Allowed, Refusal>) {
        let first = match answer {
            Ok(_) => return self.answered(),
            // Anybody can cause it, as often as they like.
            Err(Refusal::Denied(denied)) => {
                tracing::debug!(
                    reason = denied.reason.as_str_name(),
                    key_id = denied.key_id,
                    "a request was denied"
                );
                return self.answered();
            }
            Err(Refusal::NothingDemanded) => !self.nothing_demanded.swap(true, Ordering::Relaxed),
            Err(
                Refusal::Overloaded
                | Refusal::TimedOut(_)
                | Refusal::Undecided(_)
                | Refusal::Unusable(_),
            ) => self.to_come.swap(ANSWERS_IN_A_ROW, Ordering::Relaxed) == 0,
        };
        let Err(refusal) = answer else { return };
        if first {
            tracing::warn!(cause = %refusal, "requests can't be authorized, and are refused");
        } else {
            tracing::debug!(cause = %refusal, "a request could not be authorized");
        }
    }

    fn answered(&self) {
        // As long as there is no fault this only reads: requests on several cores do not get into each other's way.
        if self.to_come.load(Ordering::Relaxed) == 0 {
            return;
        }
        let before = self
            .to_come
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if before == Ok(1) {
            tracing::info!("requests are authorized again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;
    use crate::client::Denied;
    use crate::grpc::proto::v1;

    /// Notes the levels of what is logged by this module.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<Level>>>);

    impl Subscriber for Log {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().ends_with("client::faults")
        }

        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(*event.metadata().level());
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// The levels at which something was logged meanwhile.
    fn levels(work: impl FnOnce()) -> Vec<Level> {
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), work);
        std::mem::take(&mut *log.0.lock().unwrap())
    }

    fn down() -> Result<Allowed, Refusal> {
        Err(Refusal::TimedOut(Duration::ZERO))
    }

    fn allowed() -> Result<Allowed, Refusal> {
        Ok(Allowed::of(v1::CheckResponse::default()))
    }

    #[test]
    fn a_fault_is_told_when_it_begins_and_when_it_is_over_whatever_it_meets() {
        let faults = Faults::default();
        let heard = |answer| levels(|| faults.heard(&answer));
        assert!(heard(allowed()).is_empty());
        for _ in 0..2 {
            assert_eq!(heard(down()), [Level::WARN]);
            assert_eq!(heard(down()), [Level::DEBUG]);
            assert_eq!(heard(Err(Refusal::Overloaded)), [Level::DEBUG]);
            for _ in 1..ANSWERS_IN_A_ROW {
                assert!(heard(allowed()).is_empty());
            }
            // Not over yet, and it begins to count anew.
            assert_eq!(heard(down()), [Level::DEBUG]);
            for _ in 1..ANSWERS_IN_A_ROW {
                assert!(heard(allowed()).is_empty());
            }
            // A denial is an answer too.
            let denied = Denied::of(v1::CheckResponse::default());
            assert_eq!(
                heard(Err(Refusal::Denied(denied))),
                [Level::DEBUG, Level::INFO]
            );
            assert!(heard(allowed()).is_empty());
        }
    }

    #[test]
    fn a_demand_that_is_missing_is_told_once() {
        let faults = Faults::default();
        let heard = |answer| levels(|| faults.heard(&answer));
        assert_eq!(heard(Err(Refusal::NothingDemanded)), [Level::WARN]);
        assert!(heard(allowed()).is_empty());
        assert_eq!(heard(Err(Refusal::NothingDemanded)), [Level::DEBUG]);
        assert_eq!(heard(down()), [Level::WARN]);
    }
}
