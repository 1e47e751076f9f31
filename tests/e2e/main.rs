//! The product end to end, as its users meet it: embedded, and on servers.

mod delivers;
mod demo;
mod down;
mod finds;
mod kinesis;
mod projects;
mod publishes;
mod quarantine;
mod refuses_bodies;
mod refuses_events;
mod refuses_resources;
mod refuses_settings;
mod retries;
mod room;
mod schemas;
mod shutdown;
mod sink_tests;
mod sink_types;
mod status;
mod traces;

use millrace_tests::arrivals;
