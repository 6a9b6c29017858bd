//! Tests of how long is waited.

use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;

use super::*;
use crate::cli::connect::Caller;
use crate::cli::import::progress::Progress;

#[tokio::test]
async fn a_new_stream_has_all_the_patience_however_long_the_server_was_away() {
    let order = Order {
        workspace: String::new(),
        dry_run: false,
        batch_size: 1,
        answer_within: PATIENCE,
        retry_for: PATIENCE * 5,
    };
    let away = Instant::now().checked_sub(PATIENCE * 2).unwrap();
    let mut ledger = Ledger::new(None, Progress::new("keys", None, false));
    let mut transfer = Transfer {
        order: &order,
        ledger: &mut ledger,
        rows: None,
        growing: Batch::default(),
        under_way: VecDeque::new(),
        broken: None,
        interrupted: None,
        heard: away,
        asked: away,
        proving: false,
        pause: FIRST_PAUSE,
    };
    assert!(transfer.patience() < Instant::now());
    let caller = Caller::of("token", None).map_err(|f| f.exit).unwrap();
    let nobody = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let client = Client::new(InterceptedService::new(nobody, caller));
    let before = Instant::now();
    let _line = transfer.connect(&client);
    assert!(transfer.patience() >= before + PATIENCE);
    // How long it has been away still counts for when to give up.
    assert_eq!(transfer.heard, away);
}
