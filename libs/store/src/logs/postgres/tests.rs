//! How much a statement that writes logs may hold.

use super::*;

fn sizes(ids: &[usize]) -> Vec<usize> {
    let entry = |bytes: &usize| ErrorEntry {
        id: LogId::from_slice(&[0; 16]).expect("as long as one"),
        reported: Timestamp::from_millis(0),
        account: millrace_domain::AccountSid::from_u128(1),
        sink: millrace_domain::SinkSid::from_u128(1),
        error_code: 0,
        http_status: 0,
        attempt: 1,
        detail: "x".repeat(1_024),
        event_ids: vec!["x".repeat(*bytes)],
    };
    let rows: Vec<_> = ids.iter().map(entry).collect();
    groups(&rows).iter().rev().map(|group| group.len()).collect()
}

#[test]
fn a_statement_is_bounded_in_rows_and_in_ids() {
    assert_eq!(sizes(&[10; ROWS_MAX + 1]), [ROWS_MAX, 1]);
    assert_eq!(sizes(&[ID_BYTES_MAX / 2; 5]), [2, 2, 1]);
    assert_eq!(sizes(&[2 * ID_BYTES_MAX, 1, 1]), [1, 2], "the largest goes alone");
}
