//! Both faces over real sockets and a real SQLite store.

mod accounts;
mod audit;
mod auth;
mod body;
mod codes;
mod contract;
mod explain;
mod grpc;
mod harness;
mod logs;
mod matrix;
mod news;
mod openapi;
mod paging;
mod postgres;
mod process;
mod quarantine;
mod refusals;
mod request_ids;
mod rest;
mod schemas;
mod sink_settings;
mod sink_types;
mod watch;
