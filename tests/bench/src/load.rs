//! What is published, to whom, and how fast.

use std::sync::Arc;

/// Accounts with sinks that are known to the router.
#[derive(Clone, Debug)]
pub(crate) struct Audience {
    /// Whose events are published, in turn.
    pub(crate) accounts: Arc<[String]>,
    /// Sinks of each account; each gets every event of its account.
    pub(crate) sinks: usize,
}

impl Audience {
    /// Accounts of several audiences that have the same number of sinks.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let accounts = self.accounts.iter().chain(&*other.accounts).cloned().collect();
        Self { accounts, sinks: self.sinks }
    }
}

/// One run of the generator.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) audience: Audience,
    pub(crate) events: usize,
    /// Events of an account before the next account has its turn.
    pub(crate) in_a_row: usize,
    /// Events of a publish.
    pub(crate) batch: usize,
    /// Publishes that wait for their answer, where none has its time.
    pub(crate) in_flight: usize,
    /// Events a second; `None`: as fast as they are taken.
    pub(crate) rate: Option<u32>,
    /// Most events that are published and not received; `None`: any number.
    pub(crate) undelivered: Option<usize>,
    /// Accounts of the audience, from the end, whose events are not awaited: their sinks do not take them.
    pub(crate) lost_accounts: usize,
    /// Whether the text in the events is random letters.
    pub(crate) incompressible: bool,
}

impl Load {
    /// As fast as it is delivered: batches of 100, 800 events on their way.
    pub(crate) fn steady(audience: &Audience, events: usize) -> Self {
        Self {
            audience: audience.clone(),
            events,
            in_a_row: 1,
            batch: 100,
            in_flight: 4,
            rate: None,
            undelivered: Some(800),
            lost_accounts: 0,
            incompressible: false,
        }
    }

    /// One by one, at a pace.
    pub(crate) fn paced(audience: &Audience, events: usize, rate: u32) -> Self {
        let steady = Self::steady(audience, events);
        Self { batch: 1, rate: Some(rate), undelivered: None, ..steady }
    }

    /// Deliveries that are awaited.
    pub(crate) fn deliveries(&self) -> usize {
        let accounts = self.audience.accounts.len();
        let round = accounts * self.in_a_row;
        let awaited = (accounts - self.lost_accounts) * self.in_a_row;
        let rest = (self.events % round).min(awaited);
        (self.events / round * awaited + rest) * self.audience.sinks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lost_accounts_get_is_not_awaited() {
        let audience = Audience { accounts: (0..10).map(|n| n.to_string()).collect(), sinks: 3 };
        let load = Load { lost_accounts: 1, ..Load::steady(&audience, 20) };
        assert_eq!(load.deliveries(), 18 * 3);
        let ending_within_the_lost = Load { lost_accounts: 2, ..Load::steady(&audience, 29) };
        assert_eq!(ending_within_the_lost.deliveries(), 24 * 3);
        let in_a_row = Load { in_a_row: 5, events: 95, ..ending_within_the_lost };
        assert_eq!(in_a_row.deliveries(), (40 + 40) * 3);
    }
}
