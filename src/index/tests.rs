//! What the feed may do to the index, in whatever order it comes.

use super::digest::{Digest, Kind, Pieces, Walk};
use super::*;
use crate::domain::key::KeySettings;
use crate::domain::route::{Route, RouteSettings};
use crate::domain::secret::{Secret, Slot};
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

/// What a load of one key comes to.
fn digest_of(key: &Key) -> Digest {
    let mut pieces = Pieces::default();
    pieces.put_key(key);
    pieces.end()
}

fn walk(index: &Arc<Index>) -> Digest {
    let mut walk = Walk::begin(index.clone());
    while walk.step() {}
    walk.end()
}

/// A key with one secret.
fn key_with_secret(revision: u64) -> Key {
    let tag = Tag::from_bytes([9; 32]);
    let id = SecretId::from_u128(3);
    let now = Time::from_micros(1);
    Key {
        secrets: vec![Secret::new(id, Slot::Primary, tag, Origin::Generated, now)],
        ..key(revision, true)
    }
}

#[test]
fn a_key_that_leads_to_another_state_of_its_principal_is_seen_in_the_digest() {
    let index = Arc::new(index());
    let (key, ada) = (bound_to(1, "ada"), principal("ada", 2, true));
    let mut pieces = Pieces::default();
    pieces.put_key(&key);
    pieces.put_principal(&ada);
    let equal = pieces.end();
    index.put_key(&key);
    index.put_principal(&ada);
    assert_eq!(walk(&index), equal);
    let name = Owned(ada.workspace.clone(), ada.id.clone());
    let right = index.principals.pin().get(&name).cloned();
    index.writer().slots.put(&name, None);
    assert_ne!(
        walk(&index).of(Kind::Principals),
        equal.of(Kind::Principals)
    );
    index.writer().slots.put(&name, right);
    assert_eq!(walk(&index), equal);
}

#[test]
fn a_tag_that_leads_nowhere_or_to_a_state_of_before_is_seen_in_the_digest() {
    let index = Arc::new(index());
    let key = key_with_secret(5);
    index.put_key(&key);
    let (equal, place) = (digest_of(&key), Id::of(key.secrets[0].tag.index()));
    assert_eq!(walk(&index), equal);
    let differs = |index: &Arc<Index>| {
        let found = walk(index);
        assert_eq!(found.of(Kind::Keys), equal.of(Kind::Keys));
        found.of(Kind::Secrets) != equal.of(Kind::Secrets)
    };
    let record = index.tags.pin().remove(&place).unwrap().clone();
    assert!(differs(&index));
    index.tags.pin().insert(place, record.clone());
    assert_eq!(walk(&index), equal);
    // Where nothing that is known leads.
    let elsewhere = Id::of(77);
    index.tags.pin().insert(elsewhere, record.clone());
    assert!(differs(&index));
    index.tags.pin().remove(&elsewhere);
    index.put_key(&key);
    index.tags.pin().insert(place, record);
    assert!(differs(&index));
}

#[test]
fn a_walk_sees_the_index_as_it_was_when_it_began() {
    let index = Arc::new(index());
    index.put_key(&key_with_secret(5));
    let before = walk(&index);
    let mut walk = Walk::begin(index.clone());
    walk.changes_key(key(5, true).id);
    index.remove_key(key(5, true).id);
    let mut other = key(6, false);
    other.id = KeyId::from_u128(5);
    walk.changes_key(other.id);
    index.put_key(&other);
    while walk.step() {}
    assert_eq!(walk.end(), before);
    assert_eq!(self::walk(&index), digest_of(&other));
}

#[test]
fn an_index_beside_another_goes_on_with_what_decisions_left_there() {
    let before = Arc::new(index());
    let now = Time::from_micros(7_000_000);
    let route = Route {
        workspace: workspace(1, true).id,
        id: "orders".parse().unwrap(),
        settings: RouteSettings::default(),
        keyless: true,
        create_time: now,
        update_time: now,
        revision: 1,
    };
    let routes = || {
        [(
            route.workspace.clone(),
            route.id.clone(),
            Some(route.clone()),
        )]
    };
    before.put_key(&key_with_secret(5));
    before.put_routes(routes());
    let usage = |index: &Index| {
        let record = index.keys.pin().get(&id_of(key(5, true).id)).cloned();
        record.unwrap().secrets[0].usage.clone()
    };
    let uses = |index: &Index| {
        let table = index.routes_of("acme").unwrap();
        table.get("orders").unwrap().uses.clone()
    };
    let beside = Index::beside(&before, 2);
    beside.put_key(&key_with_secret(3));
    beside.put_routes(routes());
    beside.set_loaded(9);
    usage(&before).touch(now);
    assert_eq!(usage(&beside).last_used(), Some(now));
    assert!(Arc::ptr_eq(&uses(&before), &uses(&beside)));
    // It does not hold on to the one before.
    assert_eq!(Arc::strong_count(&before), 1);
    assert_eq!(beside.applied(), Revision { epoch: 2, n: 9 });
}

#[test]
fn what_is_refused_in_doubt_is_so_in_the_index_that_takes_the_place() {
    let live = Live::new(index());
    live.whole().put_key(&key(5, true));
    live.whole().put_workspace(&workspace(5, true), &[], 5);
    live.close(&[key(5, true).id], &[workspace(5, true).id]);
    let beside = Index::beside(&live.whole(), 2);
    beside.put_key(&key(3, true));
    beside.put_workspace(&workspace(3, true), &[], 3);
    beside.set_loaded(3);
    assert!(is_open(&beside));
    let closed = live.closed();
    assert_eq!(live.replace(beside).epoch(), 1);
    assert_eq!(live.epoch(), 2);
    assert!(!is_open(&live.now()));
    // What is put in again is refused, too, until the doubt is lifted.
    live.whole().put_key(&key(4, true));
    assert!(!is_open(&live.now()));
    live.whole().lift(&closed);
    live.whole().put_key(&key(4, true));
    assert!(is_open(&live.now()));
}
