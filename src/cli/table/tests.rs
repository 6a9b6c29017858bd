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
