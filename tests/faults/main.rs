//! What breaks, and what holds all the same: every event that was acknowledged is delivered at least once, quarantined, or
//! dropped with a report; what comes again was unsettled when it broke. Real processes, a real Redis and PostgreSQL.
//!
//! Each takes seconds; with `MILLRACE_FAULTS=long` (`make faults`), minutes. Where chance decides, the seed is printed, and
//! `MILLRACE_TEST_SEED` has it again.

mod batches;
mod chaos;
mod cluster;
mod configuration;
mod crashes;
mod deleted;
mod failover;
mod full;
mod kills;
mod lag;
mod moves;
mod outages;
mod poison;
mod receivers;
mod redis;
mod restored;
mod rolling;
mod upgrade;
mod windows;
