//! Limits on what one host and one key are sent: nobody is flooded, and nobody holds up the others.

use std::collections::HashMap;
use std::hash::Hash;

use crate::app::ports::outbox::Spared;
use crate::domain::id::KeyId;
use crate::domain::time::Time;

/// What one host gets: so many attempts at once, so many a second, so many in a burst.
const OF_HOST: Rate = Rate {
    at_once: 16,
    a_second: 100,
    burst: 200,
};
/// What one key gets.
const OF_KEY: Rate = Rate {
    at_once: 4,
    a_second: 20,
    burst: 100,
};
/// How many are named to the database as not to be asked for.
const NAMED: usize = 1_000;

#[derive(Debug, Clone, Copy)]
struct Rate {
    at_once: u32,
    a_second: i64,
    burst: i64,
}

/// What hosts and keys were sent of late.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    places: Buckets<String>,
    keys: Buckets<KeyId>,
}

impl Throttle {
    /// Whether an attempt may begin; if so it is counted.
    pub(super) fn admit(&mut self, place: &str, key: KeyId, now: Time) -> bool {
        let (place, key) = (
            self.places.of(place.to_owned(), OF_HOST, now),
            self.keys.of(key, OF_KEY, now),
        );
        let may = place.is_open(OF_HOST) && key.is_open(OF_KEY);
        if may {
            place.take();
            key.take();
        }
        may
    }

    /// An attempt has ended.
    pub(super) fn done(&mut self, place: &str, key: KeyId, now: Time) {
        self.places.of(place.to_owned(), OF_HOST, now).under_way -= 1;
        self.keys.of(key, OF_KEY, now).under_way -= 1;
    }

    /// Who gets nothing now.
    pub(super) fn spared(&mut self, now: Time) -> Spared {
        Spared {
            places: self.places.closed(OF_HOST, now),
            keys: self.keys.closed(OF_KEY, now),
        }
    }
}

/// A thousandth of an attempt is the unit of what is left.
const ONE: i64 = 1_000;

#[derive(Debug)]
struct Bucket {
    under_way: i64,
    left: i64,
    at: Time,
}

impl Bucket {
    fn refill(&mut self, rate: Rate, now: Time) {
        let passed = (now.micros() - self.at.micros()).clamp(0, 60_000_000);
        let gained = passed * rate.a_second / 1_000;
        if gained > 0 {
            self.left = (self.left + gained).min(rate.burst * ONE);
            self.at = now;
        }
    }

    fn is_open(&self, rate: Rate) -> bool {
        self.left >= ONE && self.under_way < i64::from(rate.at_once)
    }

    fn take(&mut self) {
        self.left -= ONE;
        self.under_way += 1;
    }
}

#[derive(Debug)]
struct Buckets<K>(HashMap<K, Bucket>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn of(&mut self, who: K, rate: Rate, now: Time) -> &mut Bucket {
        let bucket = self.0.entry(who).or_insert(Bucket {
            under_way: 0,
            left: rate.burst * ONE,
            at: now,
        });
        bucket.refill(rate, now);
        bucket
    }

    /// Those that get nothing; who is as if never seen is forgotten.
    fn closed(&mut self, rate: Rate, now: Time) -> Vec<K> {
        self.0.retain(|_, bucket| {
            bucket.refill(rate, now);
            bucket.under_way > 0 || bucket.left < rate.burst * ONE
        });
        let closed = self.0.iter().filter(|(_, bucket)| !bucket.is_open(rate));
        closed.map(|(who, _)| who.clone()).take(NAMED).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u128) -> KeyId {
        KeyId::from_u128(n)
    }

    #[test]
    fn a_key_gets_few_at_once_and_others_are_not_held_up() {
        let (mut throttle, now) = (Throttle::default(), Time::from_micros(1));
        let begun = (0..10)
            .filter(|_| throttle.admit("a:443", key(1), now))
            .count();
        assert_eq!(begun, 4);
        assert_eq!(throttle.spared(now).keys, [key(1)]);
        assert!(throttle.admit("a:443", key(2), now));
        throttle.done("a:443", key(1), now);
        assert_eq!(throttle.spared(now).keys, []);
        assert!(throttle.admit("a:443", key(1), now));
    }

    #[test]
    fn a_host_gets_few_at_once_however_many_keys_lead_to_it() {
        let (mut throttle, now) = (Throttle::default(), Time::from_micros(1));
        let begun = (0..40)
            .filter(|n| throttle.admit("a:443", key(*n), now))
            .count();
        assert_eq!(begun, 16);
        assert_eq!(throttle.spared(now).places, ["a:443"]);
        assert!(throttle.admit("b:443", key(99), now));
    }

    #[test]
    fn a_burst_is_followed_by_a_rate_and_rest_is_forgotten() {
        let (mut throttle, mut now) = (Throttle::default(), Time::from_micros(1));
        let rush = |throttle: &mut Throttle, now| {
            let mut begun = 0;
            while throttle.admit("a:443", key(1), now) {
                throttle.done("a:443", key(1), now);
                begun += 1;
            }
            begun
        };
        assert_eq!(rush(&mut throttle, now), 100);
        now = now.plus(std::time::Duration::from_secs(1));
        assert_eq!(rush(&mut throttle, now), 20);
        now = now.plus(std::time::Duration::from_secs(60));
        assert_eq!(throttle.spared(now).keys, []);
        assert_eq!((throttle.keys.0.len(), throttle.places.0.len()), (0, 0));
    }
}
