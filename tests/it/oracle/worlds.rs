//! Small worlds. Alphabets are tiny, so that tokens, names and moments collide all the time.

use std::time::Duration;

use claviger::domain::id::{KeyId, SecretId};
use claviger::domain::key::{Enforcement, Key, KeySettings};
use claviger::domain::principal::{Principal, ScopeSource};
use claviger::domain::scope::Grant;
use claviger::domain::secret::{Origin, Secret, Slot};
use claviger::domain::time::Time;
use claviger::domain::token::{Tag, Token};
use claviger::domain::workspace::{
    Location, Presentation, Scope, Subscription, UndemandedScopes, UnmatchedRequests, Workspace,
    WorkspaceSettings,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::World;

mod routes;

/// The moment around which things happen.
pub(crate) const NOON: Time = Time::from_micros(1_800_000_000_000_000);

const WORKSPACES: [&str; 3] = ["acme", "beta", "system"];
const SUBSCRIPTIONS: [&str; 2] = ["basic", "pro"];
const PRINCIPALS: [&str; 2] = ["joe", "crane-7@docks"];
const CATALOGUE: [&str; 3] = ["orders:read", "orders:write", "hooks"];
const GRANTS: [&str; 7] = [
    "orders:read",
    "orders:write",
    "hooks",
    "orders:*",
    "claviger:*",
    "claviger:keys:read",
    "ord:*",
];
pub(crate) const PRESENTATIONS: [Presentation; 4] = [
    Presentation::Header,
    Presentation::Bearer,
    Presentation::Basic,
    Presentation::Query,
];

/// Tokens that a key may have, with the prefix where we made them; `clv_looks…` looks like ours and is not.
pub(crate) fn tokens() -> Vec<(&'static str, String)> {
    let own = |prefix: &'static str, n| {
        (
            prefix,
            Token::generate(prefix, &[n; 32]).reveal().to_owned(),
        )
    };
    let foreign = |text: &str| ("", text.to_owned());
    vec![
        own("clv", 1),
        own("clv", 2),
        own("acme_live", 3),
        own("acme", 4),
        foreign("clv_looks-like-ours-but-is-not"),
        foreign("a.token.with-two-dots"),
        foreign("plus+slash/percent%41=equals"),
        foreign("zz"),
    ]
}

pub(crate) fn moment() -> impl Strategy<Value = Time> {
    let second = Duration::from_secs(1);
    select(vec![NOON.minus(second), NOON, NOON.plus(second)])
}

fn rarely(percent: u32) -> impl Strategy<Value = bool> {
    (0..100_u32).prop_map(move |n| n < percent)
}

fn maybe_moment(percent: u32) -> impl Strategy<Value = Option<Time>> {
    (rarely(percent), moment()).prop_map(|(some, t)| some.then_some(t))
}

fn some_of<T: Clone + std::fmt::Debug + 'static>(
    all: &[T],
) -> impl Strategy<Value = Vec<T>> + use<T> {
    subsequence(all.to_vec(), 0..=all.len())
}

fn settings() -> impl Strategy<Value = WorkspaceSettings> {
    let locations = [
        Location::Bearer,
        Location::Basic,
        Location::Header("x-api-key".to_owned()),
        Location::Header("apikey".to_owned()),
        Location::Query("apikey".to_owned()),
        Location::Query("key".to_owned()),
    ];
    let undemanded = select(vec![
        UndemandedScopes::Default,
        UndemandedScopes::Allow,
        UndemandedScopes::Deny,
    ]);
    let prefix = select(vec![
        None,
        Some(String::new()),
        Some("acme_live".to_owned()),
    ]);
    let places = (
        rarely(20),
        some_of(&locations),
        rarely(40),
        some_of(&PRESENTATIONS),
    );
    let unmatched =
        prop_oneof![4 => Just(UnmatchedRequests::Default), 1 => Just(UnmatchedRequests::Deny)];
    let shadow = (rarely(10), rarely(10), rarely(10), rarely(10));
    (places, undemanded, prefix, unmatched, shadow).prop_map(
        |(
            (own, locations, own_ways, ways),
            undemanded_scopes,
            token_prefix,
            unmatched_requests,
            shadow,
        )| WorkspaceSettings {
            locations: if own { locations } else { Vec::new() },
            presentations: if own_ways {
                ways.into_iter().collect()
            } else {
                Default::default()
            },
            undemanded_scopes,
            unmatched_requests,
            token_prefix,
            enforcement: Enforcement {
                shadow_network: shadow.0,
                shadow_presentation: shadow.1,
                shadow_subscription: shadow.2,
                shadow_scopes: shadow.3,
            },
            ..WorkspaceSettings::default()
        },
    )
}

fn secret() -> impl Strategy<Value = (usize, Secret)> {
    (
        0..tokens().len(),
        rarely(15),
        maybe_moment(12),
        maybe_moment(6),
    )
        .prop_map(|(token, weak, retire_time, revoke_time)| {
            let prefix = tokens()[token].0.to_owned();
            let origin = match &*prefix {
                "" => Origin::ExternalToken,
                _ => Origin::Generated,
            };
            let id = SecretId::from_u128(0);
            let born = Time::from_micros(0);
            let secret = Secret {
                weak,
                prefix,
                retire_time,
                revoke_time,
                ..Secret::new(id, Slot::Primary, Tag::default(), origin, born)
            };
            (token, secret)
        })
}

fn key() -> impl Strategy<Value = (Key, Vec<(usize, Secret)>)> {
    let nets =
        ["192.0.2.0/24", "2001:db8::/32"].map(|n| claviger::domain::network::parse(n).unwrap());
    let lists = (
        prop_oneof![1 => some_of(&GRANTS), 1 => Just(GRANTS[..4].to_vec())],
        prop_oneof![3 => Just(Vec::new()), 2 => some_of(&SUBSCRIPTIONS)],
        prop_oneof![3 => Just(Vec::new()), 2 => some_of(&nets)],
    );
    let enforcement = (rarely(20), rarely(20), rarely(20), rarely(20));
    let life = (rarely(94), maybe_moment(12), maybe_moment(5));
    let workspace = prop_oneof![6 => Just("acme"), 2 => Just("beta"), 1 => Just("system")];
    let sources = vec![ScopeSource::Explicit, ScopeSource::Principal];
    let principal = prop_oneof![3 => Just(None), 2 => select(PRINCIPALS.to_vec()).prop_map(Some)];
    (
        (workspace, select(sources), principal),
        lists,
        enforcement,
        life,
        prop::collection::vec(secret(), 1..=3),
    )
        .prop_map(
            |(
                (workspace, scope_source, principal),
                (grants, subscriptions, allowed_cidrs),
                shadow,
                (enabled, expire_time, delete_time),
                secrets,
            )| {
                let key = Key {
                    id: KeyId::from_u128(0),
                    workspace: workspace.parse().unwrap(),
                    settings: KeySettings {
                        display_name: "a key".to_owned(),
                        scopes: granting(&grants),
                        scope_source,
                        principal: principal.map(|id| id.parse().unwrap()),
                        subscriptions: subscriptions.iter().map(|s| s.parse().unwrap()).collect(),
                        allowed_cidrs,
                        enabled,
                        expire_time,
                        enforcement: Enforcement {
                            shadow_network: shadow.0,
                            shadow_presentation: shadow.1,
                            shadow_subscription: shadow.2,
                            shadow_scopes: shadow.3,
                        },
                        ..KeySettings::default()
                    },
                    secrets: Vec::new(),
                    create_time: Time::from_micros(0),
                    update_time: Time::from_micros(0),
                    delete_time,
                    purge_time: None,
                    revision: 1,
                };
                (key, secrets)
            },
        )
}

/// A world: two workspaces and `system`, some of which may be missing or disabled, and up to eight keys.
pub(crate) fn world() -> impl Strategy<Value = World> {
    let workspace = |id: &'static str| {
        (rarely(95), rarely(90), settings()).prop_map(move |(there, enabled, settings)| {
            there.then(|| Workspace {
                id: id.parse().unwrap(),
                display_name: String::new(),
                enabled,
                settings,
                create_time: Time::from_micros(0),
                update_time: Time::from_micros(0),
                revision: 1,
            })
        })
    };
    let workspaces = WORKSPACES.map(workspace);
    let scope = (rarely(80), some_of(&PRESENTATIONS));
    let scopes = prop::collection::vec(scope, 2 * CATALOGUE.len());
    let subscriptions = prop::collection::vec((rarely(90), rarely(80)), 2 * SUBSCRIPTIONS.len());
    let principal = (
        rarely(95),
        rarely(80),
        prop_oneof![2 => some_of(&GRANTS), 1 => Just(GRANTS[..4].to_vec())],
    );
    let principals = prop::collection::vec(principal, 2 * PRINCIPALS.len());
    let keys = prop::collection::vec(key(), 3..=8);
    (
        workspaces,
        scopes,
        subscriptions,
        principals,
        keys,
        routes::routes(),
    )
        .prop_map(
            |(workspaces, scopes, subscriptions, principals, keys, routes)| {
                let mut world = World {
                    workspaces: workspaces.into_iter().flatten().collect(),
                    ..World::default()
                };
                let owners = |all: &'static [&'static str]| {
                    let of = move |w: &'static str| all.iter().map(move |one| (w, *one));
                    ["acme", "beta"].into_iter().flat_map(of)
                };
                world.scopes = owners(&CATALOGUE)
                    .zip(scopes)
                    .filter(|(_, (there, _))| *there)
                    .map(declared)
                    .collect();
                world.subscriptions = owners(&SUBSCRIPTIONS)
                    .zip(subscriptions)
                    .filter(|(_, (there, _))| *there)
                    .map(bought)
                    .collect();
                world.routes = routes
                    .into_iter()
                    .filter(|r| world.workspaces.iter().any(|w| w.id == r.workspace))
                    .collect();
                world.principals = owners(&PRINCIPALS)
                    .zip(principals)
                    .filter(|(_, (there, _, _))| *there)
                    .map(known)
                    .collect();
                let there = |key: &Key| world.workspaces.iter().any(|w| w.id == key.workspace);
                let keys: Vec<_> = keys.into_iter().filter(|(key, _)| there(key)).collect();
                for (n, (key, secrets)) in keys.into_iter().enumerate() {
                    add(&mut world, n as u128, key, secrets);
                }
                world
            },
        )
}

fn granting(grants: &[&str]) -> Vec<Grant> {
    grants.iter().map(|g| Grant::parse(g).unwrap()).collect()
}

fn known(
    ((workspace, id), (_, enabled, grants)): ((&str, &str), (bool, bool, Vec<&str>)),
) -> Principal {
    Principal {
        workspace: workspace.parse().unwrap(),
        id: id.parse().unwrap(),
        display_name: String::new(),
        enabled,
        scopes: granting(&grants),
        create_time: Time::from_micros(0),
        update_time: Time::from_micros(0),
        revision: 1,
    }
}

fn declared(
    ((workspace, name), (_, presentations)): ((&str, &str), (bool, Vec<Presentation>)),
) -> Scope {
    Scope {
        workspace: workspace.parse().unwrap(),
        name: name.to_owned(),
        display_name: String::new(),
        description: String::new(),
        presentations: presentations.into_iter().collect(),
        implies: Vec::new(),
        create_time: Time::from_micros(0),
        update_time: Time::from_micros(0),
        revision: 1,
    }
}

fn bought(((workspace, id), (_, enabled)): ((&str, &str), (bool, bool))) -> Subscription {
    Subscription {
        workspace: workspace.parse().unwrap(),
        id: id.parse().unwrap(),
        display_name: String::new(),
        enabled,
        create_time: Time::from_micros(0),
        update_time: Time::from_micros(0),
        revision: 1,
    }
}

/// Adds a key with those of its secrets whose tokens its workspace does not have yet: they are unique within one.
fn add(world: &mut World, n: u128, mut key: Key, secrets: Vec<(usize, Secret)>) {
    key.id = KeyId::from_u128(n + 1);
    let of_workspace = world.keys.iter().filter(|k| k.workspace == key.workspace);
    let mut taken: Vec<Vec<u8>> = of_workspace
        .flat_map(|k| &k.secrets)
        .map(|s| world.tokens[&s.id].clone())
        .collect();
    for (m, (token, mut secret)) in secrets.into_iter().enumerate() {
        let token = tokens()[token].1.clone().into_bytes();
        if taken.contains(&token) {
            continue;
        }
        secret.id = SecretId::from_u128((n + 1) * 16 + m as u128);
        taken.push(token.clone());
        world.tokens.insert(secret.id, token);
        key.secrets.push(secret);
    }
    world.keys.push(key);
}
