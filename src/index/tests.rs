//! What the feed may do to the index, in whatever order it comes.

use super::*;
use crate::domain::key::KeySettings;
use crate::domain::workspace::WorkspaceSettings;

fn index() -> Index {
    Index::new(LookupKey::new(&[7; 32]), 1)
}

fn key(revision: u64, enabled: bool) -> Key {
    let now = Time::from_micros(1);
    Key {
        id: KeyId::new(now, [1; 10]),
        workspace: "acme".parse().unwrap(),
        settings: KeySettings {
            display_name: "key".to_owned(),
            enabled,
            ..KeySettings::default()
        },
        secrets: Vec::new(),
        create_time: now,
        update_time: now,
        delete_time: None,
        purge_time: None,
        revision,
    }
}

fn workspace(revision: u64, enabled: bool) -> Workspace {
    let now = Time::from_micros(1);
    Workspace {
        id: "acme".parse().unwrap(),
        display_name: "Acme".to_owned(),
        enabled,
        settings: WorkspaceSettings::default(),
        create_time: now,
        update_time: now,
        revision,
    }
}

fn is_open(index: &Index) -> bool {
    let keys = index.keys.pin();
    keys.get(&id_of(key(0, true).id))
        .is_some_and(|record| record.enabled && !record.is_closed())
}

#[test]
fn a_late_re_read_never_brings_an_old_state_back() {
    let index = index();
    index.put_key(&key(5, false));
    index.put_key(&key(4, true));
    assert!(!is_open(&index), "disabled at revision 5");
    index.put_key(&key(6, true));
    assert!(is_open(&index));

    index.put_workspace(&workspace(5, false), &[], 5);
    index.put_workspace(&workspace(4, true), &[], 4);
    assert!(!index.view().workspace("acme").unwrap().enabled);
}

#[test]
fn what_is_in_doubt_is_refused_until_it_is_put_in_again() {
    let index = index();
    index.put_key(&key(5, true));
    index.put_workspace(&workspace(5, true), &[], 5);
    index.close(&[key(5, true).id], &[workspace(5, true).id]);
    assert!(!is_open(&index));
    assert!(index.view().workspace("acme").unwrap().is_closed());
    // What was read before the doubt arose does not end it.
    index.put_key(&key(6, true));
    index.put_workspace(&workspace(6, true), &[], 6);
    assert!(!is_open(&index));
    assert!(index.view().workspace("acme").unwrap().is_closed());
    // Nor does what ends an older doubt end a newer one.
    let older = index.closed();
    index.close(&[key(5, true).id], &[]);
    index.lift(&older);
    index.put_key(&key(6, true));
    assert!(!is_open(&index));
    // The change in doubt was not made: the state that is read again has the revision it had.
    index.lift(&index.closed());
    index.put_key(&key(6, true));
    index.put_workspace(&workspace(6, true), &[], 6);
    assert!(is_open(&index));
    assert!(!index.view().workspace("acme").unwrap().is_closed());
}

fn principal(id: &str, revision: u64, enabled: bool) -> Principal {
    let now = Time::from_micros(1);
    Principal {
        workspace: workspace(1, true).id,
        id: id.parse().unwrap(),
        display_name: String::new(),
        enabled,
        scopes: Vec::new(),
        create_time: now,
        update_time: now,
        revision,
    }
}

fn bound_to(number: u8, principal: &str) -> Key {
    let mut key = key(1, true);
    key.id = KeyId::new(Time::from_micros(1), [number; 10]);
    key.settings.principal = Some(principal.parse().unwrap());
    key
}

/// The revision of a key's principal, as a view shows it to a decision about this key after one about `first`.
fn seen_of(index: &Index, first: Option<&Key>, key: &Key) -> Option<u64> {
    let view = index.view();
    if let Some(first) = first {
        view.principal_of(view.key(first.id).unwrap());
    }
    let record = view.key(key.id).unwrap();
    let seen = view.principal_of(record).map(|p| p.revision);
    assert_eq!(view.principal_of(record).map(|p| p.revision), seen);
    seen
}

#[test]
fn keys_see_their_principal_as_it_is_whichever_came_first() {
    let index = index();
    let (early, late, other) = (bound_to(1, "ada"), bound_to(2, "ada"), bound_to(3, "bob"));
    index.put_key(&early);
    index.put_key(&other);
    let sees = |expected: Option<u64>, late: Option<&Key>| {
        for key in [Some(&early), late].into_iter().flatten() {
            assert_eq!(seen_of(&index, None, key), expected);
            assert_eq!(
                seen_of(&index, Some(&other), key),
                expected,
                "as the second"
            );
        }
    };
    sees(None, None);
    index.put_principal(&principal("ada", 2, true));
    sees(Some(2), None);
    index.put_key(&late);
    sees(Some(2), Some(&late));
    index.put_principal(&principal("ada", 4, false));
    index.put_principal(&principal("ada", 3, true));
    sees(Some(4), Some(&late));
    index.remove_principal(&workspace(1, true).id, &"ada".parse().unwrap());
    sees(None, Some(&late));
    index.put_principal(&principal("ada", 6, true));
    sees(Some(6), Some(&late));
    assert_eq!(seen_of(&index, Some(&early), &other), None);

    // A key that is bound to another one sees that.
    let mut moved = bound_to(1, "bob");
    moved.revision = 7;
    index.put_principal(&principal("bob", 5, true));
    index.put_key(&moved);
    assert_eq!(seen_of(&index, None, &moved), Some(5));
    assert_eq!(seen_of(&index, Some(&moved), &late), Some(6));

    index.remove_workspace(&workspace(1, true).id);
    assert_eq!(seen_of(&index, None, &moved), None);
    assert_eq!(seen_of(&index, Some(&moved), &late), None);
}

#[test]
fn principals_of_keys_that_are_gone_are_forgotten() {
    let index = index();
    for n in 0..5_000_u32 {
        let mut bound = bound_to(1, &format!("user-{n}"));
        bound.revision = u64::from(n);
        index.put_key(&bound);
    }
    // One is in use; the others wait to be swept, with the sets that only their keys had.
    let waiting = index.writer().slots.len();
    assert!(waiting <= 2_100, "{waiting}");
}

#[test]
fn nothing_of_a_deleted_workspace_stays() {
    let index = index();
    index.put_workspace(&workspace(1, true), &[], 1);
    index.put_subscription(&Subscription {
        workspace: workspace(1, true).id,
        id: "s1".parse().unwrap(),
        display_name: String::new(),
        enabled: true,
        create_time: Time::from_micros(1),
        update_time: Time::from_micros(1),
        revision: 2,
    });
    assert!(index.view().subscription_enabled("acme", "s1"));
    index.remove_workspace(&workspace(1, true).id);
    assert!(!index.view().subscription_enabled("acme", "s1"));
}
