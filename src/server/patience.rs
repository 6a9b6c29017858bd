//! Steps of the start that a busy database may not let through at once.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::app::ports::StoreError;

/// How long a start goes on trying with a database that it could reach before.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Takes a step again and again while the database gives no connection, or no answer in time: who exits then is only started
/// anew, and asks for more. A step that fails must leave nothing behind.
pub(super) async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    step: impl Fn() -> F,
) -> Result<T, StoreError> {
    let begun = Instant::now();
    loop {
        match step().await {
            Err(StoreError::Unavailable(why)) if begun.elapsed() < PATIENCE => {
                tracing::warn!(
                    error = why,
                    "the database gives no answer; the start goes on trying"
                );
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_step_is_tried_again_while_the_database_gives_no_answer_and_not_when_it_gives_a_bad_one()
     {
        for (bad, tries) in [(false, 3), (true, 2)] {
            let tried = AtomicU32::new(0);
            let done = patiently(async || match tried.fetch_add(1, Ordering::Relaxed) {
                0 => Err(StoreError::Unavailable("busy".to_owned())),
                1 if bad => Err(StoreError::Corrupt("no database of ours".to_owned())),
                1 => Err(StoreError::Unavailable("busy".to_owned())),
                n => Ok(n),
            });
            assert_eq!(done.await.is_err(), bad);
            assert_eq!(tried.load(Ordering::Relaxed), tries);
        }
    }
}
