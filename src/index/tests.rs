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
