//! A database that goes back under a running process, as a restored backup or a fail-over to a standby that lags makes it.

use claviger::grpc::proto::v1::Decision;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{Stage, administrator};
use crate::harness::{Admin, key};

/// A change is refused, and says why.
fn assert_refused(admin: &Admin, id: &str) {
    let refused = admin.enable(id, false).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let reason = refused.get_details_error_info().unwrap().reason;
    assert_eq!(reason, "DATABASE_REPLACED");
}

#[test]
fn a_change_on_a_database_that_went_back_is_never_answered_as_made() {
    let stage = Stage::set();
    let process = stage.process("one");
    let admin = administrator(&process);
    let made = admin.make("default", key("made", &[]));
    stage.database.sql(
        "UPDATE counter SET n = n - 1; DELETE FROM changes WHERE revision > (SELECT n FROM counter)",
    );
    assert_refused(&admin, &made.id);
    // Others go on writing, until the numbers fit again; what was missed in between is missed for good.
    stage.database.sql("UPDATE counter SET n = n + 5");
    assert_refused(&admin, &made.id);
    let decision = admin.decide("default", &made.token);
    assert_eq!(decision.decision(), Decision::Allow);

    drop(process);
    let process = stage.process("one");
    let admin = administrator(&process);
    admin.enable(&made.id, false).unwrap();
    let decision = admin.decide("default", &made.token);
    assert_eq!(decision.decision(), Decision::Deny);
}

#[test]
fn a_change_in_another_history_is_never_answered_as_made() {
    let stage = Stage::set();
    let process = stage.process("one");
    let admin = administrator(&process);
    let made = admin.make("default", key("made", &[]));
    stage
        .database
        .sql("UPDATE meta SET epoch = epoch + 1; UPDATE counter SET n = n + 1000");
    assert_refused(&admin, &made.id);
}
