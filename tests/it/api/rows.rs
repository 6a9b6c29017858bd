//! Every RPC with a request that is good, whose it is, and requests that are not good. What each row must withstand is in
//! `coverage`.

use prost::Message;

/// What belongs to the tenant that the requests are about.
#[derive(Clone)]
pub(crate) struct Names {
    pub(crate) workspace: String,
    /// A key with two secrets, and the id of its SECONDARY one.
    pub(crate) key: String,
    pub(crate) secret: String,
    pub(crate) token: String,
    /// A key that is deleted, and one to delete.
    pub(crate) deleted: String,
    pub(crate) spare: String,
    pub(crate) subscription: String,
    pub(crate) spare_subscription: String,
    pub(crate) scope: String,
    pub(crate) spare_scope: String,
    pub(crate) principal: String,
    pub(crate) spare_principal: String,
    /// A workspace without keys.
    pub(crate) spare_workspace: String,
    /// An event of the key.
    pub(crate) event: String,
    pub(crate) route: String,
    pub(crate) spare_route: String,
    /// The process itself.
    pub(crate) replica: String,
}

/// What an administrator of another tenant is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// `NOT_FOUND`, word for word what is said of something that does not exist.
    NotFound,
    /// The call is for keys of `system`: refused whatever it names, in the same words whether that exists or not.
    SystemOnly,
    /// Success, with nothing of other tenants in the answer.
    Filtered,
    /// Success: it is about no tenant.
    Shared,
    /// The RPC knows no callers: whoever reaches the listener may call.
    Open,
}

/// One RPC.
pub(crate) struct Row {
    pub(crate) rpc: &'static str,
    /// The right it needs.
    pub(crate) right: &'static str,
    pub(crate) foreign: Foreign,
    pub(crate) good: Vec<u8>,
    /// Requests with one fault each, and the field that must be named.
    pub(crate) bad: Vec<(String, Vec<u8>)>,
    /// Why the good request is `FAILED_PRECONDITION` on a stage with one process, for whoever may make it.
    pub(crate) refused: Option<&'static str>,
}

/// What a request waits for.
pub(crate) type Waiting<M> = fn(&mut M) -> (&mut i32, &mut Option<prost_types::Duration>);

/// Times that nobody can wait for: seconds and nanoseconds.
pub(crate) const BAD_WAITS: [(i64, i32); 5] =
    [(-1, 0), (0, -1), (61, 0), (60, 1), (i64::MAX, 999_999_999)];

pub(crate) const READ: &str = "claviger:keys:read";
pub(crate) const WRITE: &str = "claviger:keys:write";
pub(crate) const REVEAL: &str = "claviger:keys:reveal";
pub(crate) const DIRECTORY: &str = "claviger:directory:write";
pub(crate) const SETTINGS: &str = "claviger:settings:write";
pub(crate) const INSIGHTS: &str = "claviger:insights:read";
pub(crate) const PUBLISH: &str = "claviger:postbacks:publish";
pub(crate) const ROUTES: &str = "claviger:routes:write";
pub(crate) const RIGHTS: [&str; 8] = [
    READ, WRITE, REVEAL, DIRECTORY, SETTINGS, ROUTES, INSIGHTS, PUBLISH,
];

/// Builds a row: a good request, and ways to spoil it.
pub(crate) struct Spoil<M> {
    good: M,
    row: Row,
}

impl<M: Message + Clone> Spoil<M> {
    pub(crate) fn new(rpc: &'static str, right: &'static str, foreign: Foreign, good: M) -> Self {
        let row = Row {
            rpc,
            right,
            foreign,
            good: good.encode_to_vec(),
            bad: Vec::new(),
            refused: None,
        };
        Self { good, row }
    }

    /// The request with a fault, and the field that must be named for it (or one of several, separated by `|`).
    pub(crate) fn bad(mut self, field: &str, spoil: impl FnOnce(&mut M)) -> Self {
        let mut request = self.good.clone();
        spoil(&mut request);
        self.row
            .bad
            .push((field.to_owned(), request.encode_to_vec()));
        self
    }

    /// Ids that make a call repeatable are UUIDs of version 4 or 7.
    pub(crate) fn bad_request_id(self, field: fn(&mut M) -> &mut String) -> Self {
        let mut out = self;
        for id in [
            "nonsense",
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            &"0".repeat(2_000),
            "3f2b8c1e-6d4a-4c9b-8e7f-00000000000g",
        ] {
            out = out.bad("request_id", |r| id.clone_into(field(r)));
        }
        out
    }

    /// What a change may wait for, and for how long.
    pub(crate) fn bad_wait(self, wait: Waiting<M>) -> Self {
        let mut out = self;
        for unknown in [99, -1] {
            out = out.bad("wait", |r| *wait(r).0 = unknown);
        }
        for (seconds, nanos) in BAD_WAITS {
            let deadline = prost_types::Duration { seconds, nanos };
            out = out.bad("wait_deadline", |r| *wait(r).1 = Some(deadline));
        }
        out
    }

    /// Whatever was good about it, this answer stands in the way; see `Row::refused`.
    pub(crate) fn refused(mut self, reason: &'static str) -> Self {
        self.row.refused = Some(reason);
        self
    }

    pub(crate) fn done(self) -> Row {
        self.row
    }
}

pub(crate) const CONTROL: &str = "bell\u{7}";
