//! Whether a request is off the record, also where the decision did not come to its key.

use super::extract::{decode_basic, decode_percent};
use super::{Presented, Question, Verdict, locations};
use crate::domain::decision::Reason;
use crate::domain::token::{self, TokenDigest};
use crate::domain::workspace::Location;
use crate::index::{RouteRecord, View};

/// How many values of one request are looked up; of a request that has more, nothing is recorded.
const MOST: usize = 8;

impl Verdict<'_> {
    /// Whether a key that was recognised is off the record.
    pub fn is_off_the_record(&self) -> bool {
        let known = self.key.into_iter().chain(self.factor_key);
        known.into_iter().any(|(key, _)| key.off_the_record)
    }

    /// Whether the request may hold a credential of which nobody looked whose it is: the decision came before, or passes
    /// without a key, or never came to what the route demands beside the key.
    fn may_hold_more(&self) -> bool {
        let of_key = match self.grandfathered.unwrap_or(self.reason) {
            // A route that is open asks for no key.
            Reason::Ok | Reason::WorkspaceDisabled => self.key.is_none(),
            Reason::NothingDemanded
            | Reason::RouteUnknown
            | Reason::AmbiguousCredential
            | Reason::MalformedCredential => true,
            _ => false,
        };
        let demands_another = |route: &RouteRecord| {
            let mut factors = route.settings.factors.iter();
            factors.any(|factor| factor.key_header().is_some())
        };
        of_key || !self.is_allow() && self.route().is_some_and(demands_another)
    }
}

/// Whether anything that a request presents is of a key that is off the record. Where it was decided before it was looked at
/// whose a credential is, what is recorded must not betray such a key either.
pub fn is_off_the_record(question: &Question<'_>, verdict: &Verdict<'_>, view: &View<'_>) -> bool {
    verdict.is_off_the_record() || verdict.may_hold_more() && presents_one(question, verdict, view)
}

fn presents_one(question: &Question<'_>, verdict: &Verdict<'_>, view: &View<'_>) -> bool {
    let mut search = Search {
        view,
        seen: 0,
        veiled: false,
    };
    match question.presented {
        Presented::Token(bytes, _) => search.look(bytes),
        // Nothing is recorded of what is only explained.
        Presented::Supposed { .. } => return true,
        Presented::Http { headers, path } => {
            // Which route it meant is not always known: each place counts where this workspace, or any route of it, takes
            // keys from.
            let own = verdict.workspace.map(|workspace| &*workspace.locations);
            let locations = locations(own.unwrap_or_default());
            let routes = view.routes(question.workspace);
            let is_place = |name: &[u8]| {
                name.eq_ignore_ascii_case(b"authorization")
                    || is_header(&locations, name)
                    || routes.is_some_and(|routes| routes.takes_keys_from(name))
            };
            headers.for_each(&mut |name, value| {
                if is_place(name) {
                    search.header(value);
                }
            });
            let query = path.splitn(2, |b| *b == b'?').nth(1).unwrap_or_default();
            for parameter in query.split(|b| *b == b'&') {
                let value = parameter.splitn(2, |b| *b == b'=').nth(1);
                if let Some(bytes) = decode_percent(value.unwrap_or_default()).bytes() {
                    search.look(bytes);
                }
            }
        }
    }
    search.veiled
}

fn is_header(locations: &[Location], name: &[u8]) -> bool {
    locations
        .iter()
        .any(|l| matches!(l, Location::Header(own) if name.eq_ignore_ascii_case(own.as_bytes())))
}

struct Search<'s, 'v> {
    view: &'s View<'v>,
    seen: usize,
    veiled: bool,
}

impl Search<'_, '_> {
    /// A value may be several, joined by commas, each behind the name of a scheme.
    fn header(&mut self, value: &[u8]) {
        for word in value.split(|b| matches!(b, b' ' | b'\t' | b',')) {
            self.look(word);
            if let Some(bytes) = decode_basic(word).bytes() {
                self.look(bytes);
            }
        }
    }

    fn look(&mut self, credential: &[u8]) {
        if self.veiled || !(token::MIN_EXTERNAL_LEN..=token::MAX_LEN).contains(&credential.len()) {
            return;
        }
        self.seen += 1;
        let tag = self.view.lookup_key().tag(&TokenDigest::of(credential));
        let known = self.view.holders(&tag).any(|(key, _)| key.off_the_record);
        self.veiled = known || self.seen > MOST;
    }
}
