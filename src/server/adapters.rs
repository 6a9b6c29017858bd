//! The world behind two ports of the use cases: the clock and the operating system's randomness.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use rand::TryRng as _;
use rand::rngs::SysRng;
use rustix::time::ClockId;

use crate::app::ports::{Clock, Entropy, EntropyError};
use crate::domain::time::Time;

/// The system's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock: everybody else takes the time from it"
    )]
    fn now(&self) -> Time {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The time since the machine was started, with the time that it slept where the system counts that.
pub(super) fn since_boot() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = rustix::time::clock_gettime(CLOCK);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The name of the machine.
pub(super) fn machine_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The operating system's random bytes.
#[derive(Debug, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        SysRng.try_fill_bytes(buffer).map_err(|_| EntropyError)
    }
}

/// A number from 0 to 1, for moments that must not fall together; nothing secret hangs on it.
pub(super) fn any_share() -> f64 {
    let random = RandomState::new().hash_one(());
    #[expect(clippy::cast_precision_loss, reason = "any fraction will do")]
    let share = random as f64 / u64::MAX as f64;
    share
}
