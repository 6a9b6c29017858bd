//! Whether a request is off the record, where the decision did not come to its key.

use super::extract::{decode_basic, decode_percent};
use super::{Presented, Question, Verdict, locations};
use crate::domain::route::{Factor, HeaderDemand};
use crate::domain::token::{self, TokenDigest};
use crate::domain::workspace::Location;
use crate::index::View;

/// How many values of one request are looked up; of a request that has more, nothing is recorded.
const MOST: usize = 8;

/// Whether anything that a request presents is of a key that is off the record. For denials that were decided before it was
/// looked at whose the credential is: what is recorded of them must not betray such a key either.
pub fn is_off_the_record(question: &Question<'_>, verdict: &Verdict<'_>, view: &View<'_>) -> bool {
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
            let locations = locations(verdict.locations());
            let locations = &*locations;
            let factors = verdict.route().map(|route| &*route.settings.factors);
            let factors = factors.unwrap_or_default();
            let is_place = |name: &[u8]| {
                name.eq_ignore_ascii_case(b"authorization")
                    || is_header(locations, name)
                    || is_factor(factors, name)
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

/// Whether a route demands a further key in this header.
fn is_factor(factors: &[Factor], name: &[u8]) -> bool {
    factors.iter().any(|factor| match factor {
        Factor::Header {
            name: own,
            demand: HeaderDemand::Key(_),
            ..
        } => name.eq_ignore_ascii_case(own.as_bytes()),
        _ => false,
    })
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
