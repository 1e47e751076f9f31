//! `millrace demo`, as the README has it run: on a server of its own that ends with it.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use millrace_tests::binary;
use tokio::{task::spawn_blocking, time::timeout};

/// Longest run: it waits a minute for what does not arrive.
const PATIENCE: Duration = Duration::from_secs(110);

#[tokio::test]
async fn the_demo_ends_well_with_every_event_counted_once() {
    let mut demo = Command::new(binary());
    demo.arg("demo").stdin(Stdio::null());
    let run = spawn_blocking(move || demo.output().expect("it starts"));
    let run = timeout(PATIENCE, run).await.expect("it ends").expect("no panic");
    let (told, table) = (text(&run.stderr), text(&run.stdout));
    assert!(run.status.success(), "{told}{table}");
    assert!(told.contains("publishing 1101 events to 2 sinks"), "{told}");
    assert!(table.contains("every event arrived, every signature is right"), "{table}");
    let rows = ["batched", "flaky"].map(|name| row(&table, name));
    for [published, matched, delivered, requests, retried, duplicates] in rows {
        assert_eq!((published, delivered, duplicates), (1_101, matched, 0), "{table}");
        assert!(matched > 300 && requests > 0 && matches!(retried, 0 | 3), "{table}");
    }
    let [batched, flaky] = rows;
    assert!(batched[3] < batched[2], "several events a request: {table}");
    // And one of what it refused, should that be told in time.
    let requests = flaky[2] + 3..=flaky[2] + 4;
    assert!(requests.contains(&flaky[3]), "an event a request, and what it refused: {table}");
}

/// The numbers of a row, before the times.
fn row(table: &str, name: &str) -> [u32; 6] {
    let line = table.lines().find(|line| line.contains(name)).expect("a row");
    let numbers = line.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(|n| n.parse().ok());
    numbers.take(6).collect::<Vec<u32>>().try_into().expect("six numbers")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
