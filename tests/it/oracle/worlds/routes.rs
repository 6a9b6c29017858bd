//! Routes of small worlds: three places, each of which may have a route.

use claviger::domain::route::{
    Factor, HeaderDemand, Route, RouteSettings, SubscriptionSource, ValueTag,
};
use claviger::domain::time::Time;
use claviger::domain::token::LookupKey;
use claviger::domain::workspace::Location;
use proptest::prelude::*;
use proptest::sample::select;

use super::{CATALOGUE, SUBSCRIPTIONS, rarely, some_of};
use crate::oracle::routes::TRACKING_VALUE;

/// Which route may stand where; no two are equally specific.
const PLACES: [(&str, &str, &[&str]); 4] = [
    ("all", "/orders", &[]),
    ("post", "/orders", &["POST"]),
    ("one", "/orders/{s}", &[]),
    ("rest", "/{rest=**}", &[]),
];

fn factor(workspace: &'static str) -> impl Strategy<Value = Option<Factor>> {
    let header = |demand| Factor::Header {
        name: "x-track".to_owned(),
        demand,
        forward: false,
    };
    let jwt = |values: &[&str]| Factor::Jwt {
        payload: "jwt_payload".to_owned(),
        claim: "scope".to_owned(),
        values: values.iter().map(|v| (*v).to_owned()).collect(),
    };
    let tag = ValueTag::of(
        &LookupKey::new(&[7; 32]),
        workspace,
        TRACKING_VALUE.as_bytes(),
    );
    let all = vec![
        jwt(&[]),
        jwt(&["good"]),
        header(HeaderDemand::Present),
        header(HeaderDemand::OneOf(vec![tag])),
        header(HeaderDemand::Key("hooks".to_owned())),
    ];
    (rarely(40), select(all)).prop_map(|(some, factor)| some.then_some(factor))
}

fn settings(
    workspace: &'static str,
    (_, path, methods): (&'static str, &'static str, &'static [&'static str]),
) -> impl Strategy<Value = RouteSettings> {
    let capture = || SubscriptionSource::Capture("s".to_owned());
    let mut sources = vec![
        SubscriptionSource::None,
        SubscriptionSource::Header("x-sub".to_owned()),
        SubscriptionSource::Fixed(SUBSCRIPTIONS[0].parse().unwrap()),
    ];
    if path.contains("{s}") {
        sources = vec![SubscriptionSource::None, capture(), capture()];
    }
    let locations = select(vec![
        Vec::new(),
        Vec::new(),
        vec![Location::Header("x-api-key".to_owned())],
        vec![Location::Bearer, Location::Query("key".to_owned())],
    ]);
    let scopes = || prop_oneof![2 => Just(Vec::new()), 1 => some_of(&CATALOGUE[..2])];
    (
        (scopes(), scopes()),
        select(sources),
        factor(workspace),
        locations,
        rarely(10),
    )
        .prop_map(
            move |((all_of, any_of), subscription, factor, locations, public)| {
                let texts = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
                // As saving does: a JWT and a key do not share a header.
                let jwt = matches!(factor, Some(Factor::Jwt { .. }));
                let mixed = jwt && locations.contains(&Location::Bearer);
                RouteSettings {
                    path: Some(path.parse().unwrap()),
                    methods: texts(methods.to_vec()),
                    all_of: texts(all_of),
                    any_of: texts(any_of),
                    subscription,
                    factors: factor.into_iter().collect(),
                    locations: if mixed { Vec::new() } else { locations },
                    public,
                    ..RouteSettings::default()
                }
            },
        )
}

/// Routes of `acme` and `beta`, in half of the worlds none.
pub(super) fn routes() -> impl Strategy<Value = Vec<Route>> {
    let place = |workspace: &'static str,
                 place: (&'static str, &'static str, &'static [&'static str])| {
        (rarely(40), rarely(30), settings(workspace, place)).prop_map(
            move |(there, keyless, settings)| {
                there.then(|| Route {
                    workspace: workspace.parse().unwrap(),
                    id: place.0.parse().unwrap(),
                    settings,
                    keyless,
                    create_time: Time::from_micros(0),
                    update_time: Time::from_micros(0),
                    revision: 1,
                })
            },
        )
    };
    let all: Vec<_> = ["acme", "beta"]
        .into_iter()
        .flat_map(|w| PLACES.map(|p| place(w, p)))
        .collect();
    (any::<bool>(), all).prop_map(|(some, routes)| {
        let routes = routes.into_iter().flatten();
        routes.filter(|_| some).collect()
    })
}
