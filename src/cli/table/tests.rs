//! Tests of the tables.

use super::*;

const NOW: i64 = 1_767_225_600;

fn look(width: Option<u16>) -> Look<'static> {
    Look {
        now: OffsetDateTime::from_unix_timestamp(NOW).unwrap(),
        width,
        colour: false,
        widths: None,
    }
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: NOW + seconds,
        nanos: 0,
    })
}

fn keys_of_a_shop() -> Vec<v1::Key> {
    vec![
        v1::Key {
            id: "key_0198f0a1b2c3d4e5f60718293a4b5c6d".to_owned(),
            display_name: "shop".to_owned(),
            scopes: vec!["orders:read".to_owned(), "orders:write".to_owned()],
            subscriptions: vec!["gold".to_owned()],
            state: 1,
            expire_time: at(30 * 86_400),
            last_used_time: at(-7_300),
            ..Default::default()
        },
        v1::Key {
            id: "key_0198f0a1b2c3d4e5f60718293a4b5c6e".to_owned(),
            display_name: "ol\u{1b}[31md".to_owned(),
            state: 2,
            ..Default::default()
        },
    ]
}

#[test]
fn keys_are_listed_with_state_and_name_first() {
    assert_eq!(
        keys(&keys_of_a_shop(), look(None)),
        "\
STATE     NAME      ID                                    SCOPES                     SUBSCRIPTIONS  EXPIRES     LAST USED
ACTIVE    shop      key_0198f0a1b2c3d4e5f60718293a4b5c6d  orders:read, orders:write  gold           in 30 days  2 hours ago
DISABLED  ol\u{fffd}[31md  key_0198f0a1b2c3d4e5f60718293a4b5c6e  -                          -              never       never"
    );
}

#[test]
fn a_narrow_terminal_wraps_everything_but_ids() {
    let text = keys(&keys_of_a_shop(), look(Some(100)));
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert!(
        text.contains("key_0198f0a1b2c3d4e5f60718293a4b5c6d"),
        "{text}"
    );
}

#[test]
fn colour_is_there_only_when_wanted() {
    let mut coloured = look(None);
    coloured.colour = true;
    assert!(keys(&keys_of_a_shop(), coloured).contains("\u{1b}["));
    assert!(!keys(&keys_of_a_shop(), look(None)).contains('\u{1b}'));
}

#[test]
fn a_key_shows_its_settings_then_its_secrets_then_its_warnings() {
    let key = v1::Key {
        secrets: vec![v1::Secret {
            id: "sec_1".to_owned(),
            slot: 1,
            state: 1,
            origin: 2,
            weak: true,
            hint: "…-see".to_owned(),
            create_time: at(-86_400),
            ..Default::default()
        }],
        warnings: vec![v1::Warning {
            code: "WEAK_SECRET".to_owned(),
            message: "a secret is weak".to_owned(),
        }],
        enforcement: Some(v1::Enforcement {
            scopes: 2,
            ..Default::default()
        }),
        workspace: "default".to_owned(),
        etag: "1f".to_owned(),
        ..keys_of_a_shop().remove(0)
    };
    assert_eq!(
        super::key(&key, look(None)),
        "\
id              key_0198f0a1b2c3d4e5f60718293a4b5c6d
name            shop
state           ACTIVE
workspace       default
description     -
scopes          orders:read, orders:write
subscriptions   gold
networks        any
expires         2026-01-31T00:00:00Z (in 30 days)
labels          -
postback        -
off the record  no
created         -
changed         -
last used       2025-12-31T21:58:20Z (2 hours ago)
etag            1f
in shadow       scopes

SLOT     STATE   SECRET  HINT   ORIGIN                 CREATED    ENDS  LAST USED
PRIMARY  ACTIVE  sec_1   …-see  EXTERNAL_TOKEN (weak)  1 day ago  -     never

warning: a secret is weak (WEAK_SECRET)"
    );
}

#[test]
fn times_are_spoken_of() {
    let now = look(None).now;
    for (seconds, words) in [
        (0, "now"),
        (-9, "now"),
        (-59, "59 seconds ago"),
        (60, "in 1 minute"),
        (-3_600, "1 hour ago"),
        (-3 * 86_400, "3 days ago"),
        (729 * 86_400, "in 729 days"),
        (-731 * 86_400, "2 years ago"),
    ] {
        assert_eq!(relative(now, &at(seconds).unwrap()), words);
    }
}

#[test]
fn a_workspace_says_what_is_default() {
    let workspace = v1::Workspace {
        id: "acme".to_owned(),
        ..Default::default()
    };
    let text = super::workspace(&workspace, look(None));
    assert!(text.contains("credentials in  default"), "{text}");
    assert!(text.contains("state           ENABLED"), "{text}");
    assert!(workspaces(&[workspace], look(None)).starts_with("STATE    ID    NAME"));
}

#[test]
fn a_decision_is_in_its_first_line() {
    let text = check(&v1::CheckResponse {
        decision: 2,
        reason: 16,
        http_status: 403,
        challenge: "Bearer error=\"insufficient_scope\"".to_owned(),
        shadowed: vec![12],
        ..Default::default()
    });
    assert!(
        text.starts_with("decision        DENY (INSUFFICIENT_SCOPE)\nhttp status     403\n"),
        "{text}"
    );
    assert!(text.ends_with("in shadow       IP_NOT_ALLOWED"), "{text}");
}

const KEY: &str = "key_0198f0a1b2c3d4e5f60718293a4b5c6d";
const EVENT: &str = "evt_0198f0a1b2c3d4e5f60718293a4b5c6d";
const LONG: &str = "the warehouse of the northern branch, as it was called before the move";

fn long_names(count: usize) -> Vec<String> {
    (1..=count)
        .map(|n| format!("warehouse:orders:read-{n}"))
        .collect()
}

/// What the newer commands show, with long values in every place.
fn long_tables(look: Look<'_>) -> Vec<(&'static str, String, &'static str)> {
    let decision = v1::LoggedDecision {
        time: at(-1),
        decision: v1::Decision::Deny.into(),
        reason: v1::Reason::SubscriptionNotAllowed.into(),
        key_id: KEY.to_owned(),
        subscription: "northern-warehouse".to_owned(),
        source_ip: "2001:db8:1234:5678:9abc:def0:1234:5678".to_owned(),
        method: "DELETE".to_owned(),
        path: format!("/v1/{}", "a-long-part/".repeat(12)),
        ..Default::default()
    };
    let delivery = v1::Delivery {
        id: EVENT.to_owned(),
        key_id: KEY.to_owned(),
        r#type: "message.delivered.to.the.warehouse".to_owned(),
        state: v1::delivery::State::Pending.into(),
        failure: v1::delivery::Failure::AddressRefused.into(),
        create_time: at(-100),
        next_attempt_time: at(100),
        ..Default::default()
    };
    let event = v1::AuditEvent {
        time: at(-1),
        actor: KEY.to_owned(),
        action: "REGENERATE_SECRET".to_owned(),
        workspace: "northern-warehouse".to_owned(),
        resource_kind: "KEY".to_owned(),
        resource_id: KEY.to_owned(),
        changed_fields: vec!["settings.allowed_cidrs".to_owned(); 4],
        revision: "0a1b2c3d.1234567".to_owned(),
        ..Default::default()
    };
    let principal = v1::Principal {
        id: "somebody.with.a.long.name@warehouse.example".to_owned(),
        display_name: LONG.to_owned(),
        scopes: long_names(9),
        workspace: "northern-warehouse".to_owned(),
        update_time: at(-1),
        ..Default::default()
    };
    let route = v1::Route {
        id: "orders-of-the-northern-warehouse".to_owned(),
        display_name: LONG.to_owned(),
        hosts: vec!["api.northern-warehouse.example".to_owned(); 3],
        path: "/v1/{subscription}/orders/{order}/positions/{position}".to_owned(),
        required_scopes: long_names(3),
        ..Default::default()
    };
    let report = v1::ShadowReport {
        key_id: KEY.to_owned(),
        display_name: LONG.to_owned(),
        needed_cidrs: vec!["2001:db8:1234::/48".to_owned(); 8],
        counts: vec![v1::ShadowCount {
            route: "orders-of-the-northern-warehouse".to_owned(),
            reason: v1::Reason::IpNotAllowed.into(),
            count: 123_456_789,
            ..Default::default()
        }],
        ..Default::default()
    };
    let needs = v1::KeyHygiene {
        key: Some(v1::Key {
            id: KEY.to_owned(),
            display_name: "shop".to_owned(),
            ..Default::default()
        }),
        findings: vec![v1::HygieneFinding {
            kind: v1::hygiene_finding::Kind::OverScoped.into(),
            message: format!("it never made use of {}", long_names(9).join(", ")),
            ..Default::default()
        }],
        safe_slots: vec![v1::Slot::Primary.into()],
    };
    vec![
        (
            "decisions",
            decisions(&[decision.clone(), decision], look),
            KEY,
        ),
        (
            "deliveries",
            deliveries(&[delivery.clone(), delivery], look),
            EVENT,
        ),
        ("audit", audit_events(&[event.clone(), event], look), KEY),
        (
            "principals",
            principals(&[principal], look),
            "somebody.with.a.long.name@warehouse.example",
        ),
        (
            "routes",
            routes(&[route], look),
            "orders-of-the-northern-warehouse",
        ),
        ("shadow", shadow_reports(&[report], look), KEY),
        ("hygiene", hygiene(&[needs], look), KEY),
        ("keys", keys(&keys_of_a_shop(), look), KEY),
    ]
}

#[test]
fn long_values_stay_within_eighty_columns_with_their_names_and_ids_whole() {
    for (what, text, id) in long_tables(look(Some(80))) {
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{what}:\n{text}");
        assert!(text.contains(id), "{what}:\n{text}");
        // A column too narrow for its own name has letters below each other.
        for name in [
            "STATE",
            "REASON",
            "ACTOR",
            "SCOPES",
            "NETWORKS NEEDED",
            "WITHOUT KEY",
        ] {
            let wide = long_tables(look(None));
            let (_, wide, _) = wide.iter().find(|(other, ..)| *other == what).unwrap();
            assert_eq!(
                text.contains(name),
                wide.contains(name),
                "{what}: {name}\n{text}"
            );
        }
        let mut words = text.split_whitespace();
        let letter = |word: &str| word.len() == 1 && word.chars().all(char::is_alphabetic);
        assert!(!words.any(letter), "{what}:\n{text}");
    }
}

#[test]
fn a_table_that_a_terminal_has_no_room_for_has_each_column_on_a_line() {
    let mut shop = keys_of_a_shop();
    shop.truncate(1);
    assert_eq!(
        keys(&shop, look(Some(60))),
        "\
STATE          ACTIVE
NAME           shop
ID             key_0198f0a1b2c3d4e5f60718293a4b5c6d
SCOPES         orders:read, orders:write
SUBSCRIPTIONS  gold
EXPIRES        in 30 days
LAST USED      2 hours ago"
    );
}
