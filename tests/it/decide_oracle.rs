//! The decision function against the naive one: the same answer to every question about every small world.

use std::cell::RefCell;
use std::collections::BTreeMap;

use claviger::decide::{
    self, Attributes, Check, Claims, Demand, Headers, Outcome, Presented as Given, Step, Verdict,
};
use claviger::domain::decision::Reason;
use claviger::domain::network;
use claviger::domain::token::{LookupKey, TokenDigest};
use claviger::index::Index;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::harness::{SOAK, figure};
use crate::oracle::{self, Answer, Presented, Question, World, questions::question, worlds::world};

/// How many questions are asked, ten to each world; more with `make soak`.
const CASES: u32 = if SOAK { 1_000_000 } else { 100_000 };
const QUESTIONS_PER_WORLD: u32 = 10;

struct List<'a>(&'a [(Vec<u8>, Vec<u8>)]);

impl Headers for List<'_> {
    fn for_each<'h>(&'h self, each: &mut dyn FnMut(&'h [u8], &'h [u8])) {
        for (name, value) in self.0 {
            each(name, value);
        }
    }
}

impl Claims for Question {
    fn for_each<'c>(&'c self, _: &str, claim: &str, each: &mut dyn FnMut(&'c [u8])) {
        let found = self.claims.iter().filter(|(name, _)| name == claim);
        found.for_each(|(_, value)| each(value.as_bytes()));
    }
}

/// The same world as the index has it.
fn indexed(world: &World) -> Index {
    let lookup = LookupKey::new(&[7; 32]);
    let index = Index::new(lookup.clone(), 1);
    for workspace in &world.workspaces {
        let own = world.scopes.iter().filter(|s| s.workspace == workspace.id);
        index.put_workspace(workspace, &own.cloned().collect::<Vec<_>>(), 1);
    }
    for subscription in &world.subscriptions {
        index.put_subscription(subscription);
    }
    let routes = world.routes.iter();
    index.put_routes(routes.map(|r| (r.workspace.clone(), r.id.clone(), Some(r.clone()))));
    for principal in &world.principals {
        index.put_principal(principal);
    }
    for key in &world.keys {
        let mut key = key.clone();
        for secret in &mut key.secrets {
            secret.tag = lookup.tag(&TokenDigest::of(&world.tokens[&secret.id]));
        }
        index.put_key(&key);
    }
    index.set_loaded(1);
    index
}

/// Which check a reason is of.
fn check_of(reason: Reason) -> Option<Check> {
    Some(match reason {
        Reason::Ok => return None,
        Reason::NothingDemanded | Reason::RouteUnknown => Check::Demand,
        Reason::FactorMissing => Check::Factors,
        Reason::NoCredential | Reason::AmbiguousCredential => Check::Credential,
        Reason::UnknownKey => Check::Identity,
        Reason::SecretRevoked
        | Reason::KeyDeleted
        | Reason::KeyDisabled
        | Reason::KeyExpired
        | Reason::PrincipalDisabled => Check::Life,
        Reason::IpNotAllowed | Reason::IpUnknown => Check::Network,
        Reason::PresentationNotAllowed => Check::Presentation,
        Reason::SubscriptionNotAllowed => Check::Subscription,
        Reason::InsufficientScope => Check::Scopes,
        // Both are of two checks: what can't be decoded is never looked up, and neither is what is missing altogether.
        Reason::MalformedCredential | Reason::WorkspaceDisabled => return None,
    })
}

/// The trace tells the same story as the decision: every check once and in order, the same one decides for the same reason,
/// the same are in shadow, and no token is in the words.
#[track_caller]
fn agree(verdict: &Verdict<'_>, explained: &Verdict<'_>, steps: &[Step], world: &World) {
    let told = |v: &Verdict<'_>| {
        let key = v.key.map(|(key, secret)| (key.id(), secret.id()));
        let shadowed: Vec<_> = v.shadowed.iter().collect();
        (
            v.reason,
            key,
            v.subscription.to_owned(),
            shadowed,
            v.carried,
        )
    };
    assert_eq!(told(verdict), told(explained));
    assert_eq!(
        steps.iter().map(|s| s.check).collect::<Vec<_>>(),
        Check::ALL
    );
    let shadowed = steps.iter().filter_map(|step| match step.outcome {
        Outcome::Shadowed(reason) => Some(reason),
        _ => None,
    });
    // What a grandfathered route records only is the last.
    let recorded = verdict.shadowed.iter().chain(verdict.grandfathered);
    assert_eq!(shadowed.collect::<Vec<_>>(), recorded.collect::<Vec<_>>());
    let decided = steps
        .iter()
        .position(|step| matches!(step.outcome, Outcome::Failed(_)));
    match decided {
        None => assert_eq!(verdict.reason, Reason::Ok, "{steps:?}"),
        Some(at) => {
            assert_eq!(steps[at].outcome, Outcome::Failed(verdict.reason));
            assert!(check_of(verdict.reason).is_none_or(|check| check == steps[at].check));
            let later = &steps[at + 1..];
            assert!(later.iter().all(|s| s.outcome == Outcome::NotReached));
        }
    }
    for step in steps {
        assert!(!step.detail.is_empty(), "{step:?}");
        for token in world.tokens.values() {
            let token = String::from_utf8_lossy(token);
            assert!(!step.detail.contains(&*token), "{step:?}");
        }
    }
}

fn decided(world: &World, index: &Index, question: &Question) -> Answer {
    let headers;
    let presented = match &question.credential {
        Presented::Token(token, presentation) => Given::Token(token, *presentation),
        Presented::Http {
            headers: list,
            path,
        } => {
            headers = List(list);
            Given::Http {
                headers: &headers,
                path,
            }
        }
    };
    let asked = decide::Question {
        workspace: &question.workspace,
        presented,
        source_ip: question.source_ip.map(network::canonical),
        all_of: Demand::List(&question.all_of),
        any_of: Demand::List(&question.any_of),
        subscription: question.subscription.as_deref().unwrap_or(""),
        must_demand: question.via_envoy,
        attributes: Attributes {
            route: &question.route,
            method: question.method.as_bytes(),
            host: b"",
            path: match &question.credential {
                Presented::Token(..) => b"",
                Presented::Http { path, .. } => path,
            },
            claims: Some(question),
        },
    };
    let view = index.view();
    let verdict = decide::decide(&asked, &view, question.now);
    let (explained, steps) = decide::explain(&asked, &view, question.now);
    agree(&verdict, &explained, &steps, world);
    let allow = verdict.is_allow();
    Answer {
        allow,
        reason: verdict.reason,
        key: verdict.key.map(|(key, _)| key.id()),
        secret: verdict.key.map(|(_, secret)| secret.id()),
        subscription: Some(verdict.subscription.to_owned()).filter(|s| allow && !s.is_empty()),
        shadowed: verdict.shadowed.iter().collect(),
        route: verdict.route().map(|r| r.id.as_str().to_owned()),
        grandfathered: verdict.grandfathered,
    }
}

#[test]
fn the_decision_is_the_one_that_the_documents_describe() {
    let config = Config {
        cases: CASES / QUESTIONS_PER_WORLD,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let reached = RefCell::new(BTreeMap::<Reason, u32>::new());
    let grandfathered = RefCell::new(BTreeMap::<Reason, u32>::new());
    let shadowed = RefCell::new(BTreeMap::<Reason, u32>::new());
    let questions = prop::collection::vec(question(), QUESTIONS_PER_WORLD as usize);
    let outcome = runner.run(&(world(), questions), |(world, questions)| {
        let index = indexed(&world);
        for question in &questions {
            let expected = oracle::decide(&world, question);
            prop_assert_eq!(
                &decided(&world, &index, question),
                &expected,
                "{:?}",
                question
            );
            *reached.borrow_mut().entry(expected.reason).or_default() += 1;
            if let Some(reason) = expected.grandfathered.filter(|_| expected.allow) {
                *grandfathered.borrow_mut().entry(reason).or_default() += 1;
            }
            for reason in expected.shadowed {
                *shadowed.borrow_mut().entry(reason).or_default() += 1;
            }
        }
        Ok(())
    });
    if let Err(fault) = outcome {
        panic!("{fault}");
    }
    let reached = reached.into_inner();
    figure(&format!(
        "decisions compared with a naive second implementation and with their own trace: {}, 0 differ; by reason {reached:?}",
        reached.values().sum::<u32>()
    ));
    for reason in Reason::ALL {
        assert!(
            reached.contains_key(&reason),
            "{reason:?} was never reached"
        );
    }
    for reason in [
        Reason::NoCredential,
        Reason::UnknownKey,
        Reason::IpNotAllowed,
        Reason::SubscriptionNotAllowed,
        Reason::InsufficientScope,
    ] {
        assert!(
            grandfathered.borrow().contains_key(&reason),
            "{reason:?} never passed a grandfathered route"
        );
    }
    let restrictions = Reason::IpNotAllowed.index()..=Reason::InsufficientScope.index();
    for reason in &Reason::ALL[restrictions] {
        assert!(
            shadowed.borrow().contains_key(reason),
            "{reason:?} was never in shadow"
        );
    }
}
