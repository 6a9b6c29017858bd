//! How many calls came out how: counted without a lock, for decisions are among them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// The names of the gRPC status codes, by number.
pub const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Counts by method and status code. Only methods that exist are counted: clients must not make up new ones, and fill the
/// memory.
#[derive(Debug)]
pub struct CallCounts {
    methods: HashMap<String, usize>,
    counts: Vec<[AtomicU64; CODES.len()]>,
}

impl CallCounts {
    /// Counts for these methods, by path (`/package.Service/Method`).
    pub fn new(methods: impl IntoIterator<Item = String>) -> Self {
        let methods: HashMap<_, _> = methods
            .into_iter()
            .enumerate()
            .map(|(i, path)| (path, i))
            .collect();
        let counts = methods.iter().map(|_| Default::default()).collect();
        Self { methods, counts }
    }

    /// The place of a method; none: there is no such method.
    pub fn method(&self, path: &str) -> Option<usize> {
        self.methods.get(path).copied()
    }

    /// Counts a call of the method at this place that was answered with this status code.
    pub fn note(&self, method: usize, code: usize) {
        if let Some(count) = self.counts.get(method).and_then(|row| row.get(code)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All counts that are not 0, with path and code name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        self.methods.iter().flat_map(move |(path, at)| {
            let row = self.counts.get(*at).into_iter().flatten();
            let counted = CODES.into_iter().zip(row);
            counted
                .map(|(code, count)| (path.as_str(), code, count.load(Ordering::Relaxed)))
                .filter(|(_, _, count)| *count > 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_methods_that_exist_are_counted() {
        let calls = CallCounts::new(["/a.B/C".to_owned(), "/a.B/D".to_owned()]);
        assert_eq!(calls.method("/a.B/X"), None);
        let method = calls.method("/a.B/D").unwrap();
        calls.note(method, 16);
        calls.note(method, 16);
        calls.note(method, 99);
        assert_eq!(
            calls.iter().collect::<Vec<_>>(),
            [("/a.B/D", "UNAUTHENTICATED", 2)]
        );
    }
}
