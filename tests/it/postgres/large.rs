//! The large set of keys, on PostgreSQL.

use super::Stage;
use crate::harness::{Process, ROOT_KEY, register};

#[test]
fn a_set_that_was_cut_off_half_way_and_resumed_is_exactly_what_the_file_holds() {
    register(ROOT_KEY);
    let stage = Stage::set();
    let data = stage.folder.data();
    let environment = [
        ("CLAVIGER_DATABASE_URL", &*stage.database.url),
        ("CLAVIGER_ROOT_KEY", ROOT_KEY),
    ];
    crate::large::moves_in("PostgreSQL", &stage.folder, &data, || {
        Process::start_with(&stage.folder, &[], &environment)
    });
}
