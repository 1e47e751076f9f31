//! What puts a batch off: its first event whose document is not compiled yet, and all that come after it, so that they stay in
//! order.

use millrace_domain::{Refusal, event::CloudEvent};

use super::Batch;
use crate::validate::Wanted;

/// What was put off.
#[derive(Debug)]
pub(super) enum PutOff {
    /// An event that has an id, and what is known of it.
    Event { event: Box<CloudEvent<'static>>, of: Of, waits_for: Option<Wanted> },
    /// The refusal of what is no event.
    Refusal(String, Refusal),
}

/// What is known of an event beside itself.
#[derive(Debug)]
pub(super) struct Of {
    /// The id that it was given by its producer; empty: none.
    given: String,
    /// Whose it says it is.
    account: Option<String>,
}

impl Batch<'_> {
    /// Routes what was put off, in order, each once its document is compiled; mostly there is nothing.
    pub(crate) async fn catch_up(&mut self) {
        if !self.put_off.is_empty() {
            Box::pin(self.route_put_off()).await;
        }
    }

    async fn route_put_off(&mut self) {
        for put_off in std::mem::take(&mut self.put_off) {
            match put_off {
                PutOff::Refusal(id, refusal) => self.reject(id, refusal),
                PutOff::Event { event, of, waits_for } => {
                    self.route_later(*event, &of, waits_for).await;
                }
            }
        }
    }

    async fn route_later(
        &mut self,
        event: CloudEvent<'static>,
        Of { given, account }: &Of,
        waits_for: Option<Wanted>,
    ) {
        let account = account.as_deref();
        let (event, wanted) = match waits_for {
            Some(wanted) => (event, wanted),
            None => {
                self.route(event, given, account, None);
                match self.put_off.pop() {
                    // Of a version that none before it is of.
                    Some(PutOff::Event { event, waits_for: Some(wanted), .. }) => (*event, wanted),
                    _ => return,
                }
            }
        };
        let compiled = self.origin.validators.compile(wanted).await;
        self.route(event, given, account, Some(&compiled));
    }

    /// Puts an event off: until `waits_for` is compiled, if it is told, and what was put off before it is routed.
    pub(super) fn put_off(
        &mut self,
        event: CloudEvent<'_>,
        given: &str,
        account: Option<&str>,
        waits_for: Option<Wanted>,
    ) {
        let event = Box::new(event.into_owned());
        let of = Of { given: given.to_owned(), account: account.map(str::to_owned) };
        self.put_off.push(PutOff::Event { event, of, waits_for });
    }
}
