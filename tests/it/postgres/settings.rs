//! A setting that is changed on one process holds on the other: for changes at once, for decisions as soon as it has polled.

use super::{Stage, administrator};
use crate::api::settings_live::{SETTINGS, set_stage};
use crate::harness::figure;

#[test]
fn every_setting_that_is_changed_on_one_process_is_in_force_on_the_other_without_a_restart() {
    let stage = Stage::set();
    let (one, other) = (stage.process("one"), stage.process("other"));
    let (one, other) = (administrator(&one), administrator(&other));
    set_stage(&one);
    for live in SETTINGS {
        // The workspace may not have come to it yet.
        let seen = (live.probe)(&one);
        assert_eq!(seen, live.before, "{:?}", live.paths);
        live.change(&one);
        let waited = live.wait(&other);
        figure(&format!(
            "PostgreSQL, two processes: `{}` changed on one is seen on the other after {waited:.0?}, its probe included",
            live.paths.join("`, `")
        ));
    }
}
