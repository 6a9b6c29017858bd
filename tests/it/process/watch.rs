//! A watch whose caller takes no messages: it ends, its place is free, and the caller hears why.

use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::{self, insights_client::InsightsClient};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_types::StatusExt as _;

use crate::harness::{Folder, Process, Target, between_looks, get, key};

/// A message waits for a minute; whoever looks for its end waits for longer.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn who_takes_no_messages_for_a_minute_is_told_so_and_loses_the_place() {
    let process = Process::start(&Folder::of_suite(), &[]);
    let admin = process.admin();
    let open = || {
        let text = get(&Target::Tcp(process.http), "/metrics", &[]).text();
        let is_open = "claviger_under_way{kind=\"watch\"} 1";
        text.lines().any(|line| line == is_open)
    };
    // There is room for no more than a part of a message on its way.
    let endpoint = Endpoint::from_shared(format!("http://{}", process.grpc())).unwrap();
    let channel = {
        let _in_runtime = admin.runtime.enter();
        endpoint.initial_stream_window_size(1_024).connect_lazy()
    };
    let mut request = admin.request(v1::WatchEventsRequest::default());
    request.set_timeout(2 * PATIENCE);
    let mut messages = admin
        .runtime
        .block_on(async { InsightsClient::new(channel).watch_events(request).await })
        .unwrap()
        .into_inner();
    assert!(open());
    // More than is under way anywhere between the two.
    let began = Instant::now();
    let mut made = 0;
    while open() {
        assert!(began.elapsed() < PATIENCE, "the place is still held");
        if made < 200 {
            admin.make("default", key(&format!("key {made}"), &[]));
            made += 1;
        } else {
            between_looks();
        }
    }
    let end = admin.runtime.block_on(async {
        loop {
            match messages.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    });
    let end = end.expect("it ends with a word why");
    let details = end.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    assert_eq!(
        (end.code(), reason),
        (Code::ResourceExhausted, Some("TOO_SLOW"))
    );
}
