//! The product end to end, as its users meet it: embedded, and on servers.

mod accounts;
mod commands;
mod delivers;
mod demo;
mod describes;
mod down;
mod explains;
mod finds;
mod kinesis;
mod projects;
mod publishes;
mod publishing_rights;
mod quarantine;
mod refuses_bodies;
mod refuses_events;
mod refuses_resources;
mod refuses_settings;
mod restricted_keys;
mod retries;
mod rolls_up;
mod room;
mod schemas;
mod shutdown;
mod sink_tests;
mod sink_types;
mod status;
mod token_rotation;
mod traces;

use millrace_tests::arrivals;
