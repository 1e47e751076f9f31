//! What every driver must do, against the stub.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use millrace_sinks::conformance::{self, Behaviour, Peer, SECRET};
use millrace_testkit::aws::{Aws, Course};

use super::*;

struct Stub {
    aws: Aws,
    driver: Arc<Kinesis>,
    /// Records and requests before the check.
    before: (usize, usize),
}

#[tokio::test]
async fn the_driver_conforms() {
    conformance::run(stub).await;
}

async fn stub(deadline: Duration) -> Stub {
    let aws = Aws::start().await;
    aws.trust(ROLE, SECRET);
    aws.stream(STREAM);
    let driver = Kinesis::new(Options { deadline, ..options(&aws.url()) });
    // The first request of a driver reads what the system trusts, which a busy machine takes longer for than the deadline.
    let sink = sink_of(STREAM, ROLE, SECRET);
    millrace_testkit::eventually("it delivers", || async {
        let attempt = driver.deliver(&sink, &events(1), NOW).await;
        (attempt.outcomes == [Outcome::Delivered]).then_some(())
    })
    .await;
    let before = (aws.records().len(), aws.puts());
    Stub { aws, driver: Arc::new(driver), before }
}

#[async_trait]
impl Peer for Stub {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::clone(&self.driver) as Arc<dyn Driver>
    }

    fn sink(&self) -> SinkSpec {
        sink_of(STREAM, ROLE, SECRET)
    }

    async fn behave(&self, behaviour: Behaviour) -> bool {
        let failing = match &behaviour {
            Behaviour::TakesAllBut(ids) => ids.clone(),
            _ => BTreeSet::new(),
        };
        self.aws.fail_keys(failing);
        let throttled = "ProvisionedThroughputExceededException";
        let echo = Course::Refuse(400, "AccessDeniedException", "not with hunter2hunter2hunter2");
        // The role is had; of STS a test of a sink asks again.
        let (put, assume) = match behaviour {
            Behaviour::Takes | Behaviour::TakesAllBut(_) => (Course::Ordinary, Course::Ordinary),
            Behaviour::Throttles => (Course::Refuse(400, throttled, "slower"), Course::Ordinary),
            Behaviour::Fails => {
                (Course::Refuse(500, "InternalFailureException", "it fails"), Course::Ordinary)
            }
            Behaviour::Hangs => (Course::Hang, Course::Ordinary),
            Behaviour::Echoes => (echo.clone(), echo),
        };
        self.aws.otherwise(put, assume);
        true
    }

    async fn taken(&self) -> Vec<String> {
        self.aws.records().iter().skip(self.before.0).map(|record| record.id()).collect()
    }

    async fn requests(&self) -> Option<usize> {
        Some(self.aws.puts() - self.before.1)
    }
}
