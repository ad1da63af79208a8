//! The suite that counts: every promise, on real servers.

#![expect(clippy::unwrap_used, reason = "a test may end where it can't go on")]
#![allow(unreachable_pub, reason = "a harness is made to be used")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test may say what it saw")]
#![allow(clippy::too_many_lines, reason = "a table of cases is as long as there are cases")]
#![allow(clippy::disallowed_methods, reason = "tests run programs and write files themselves")]

mod alert;
mod aliases;
mod app;
mod backup;
mod backup_cycles;
mod backup_elsewhere;
mod backup_faults;
mod backup_hardship;
mod backup_parts;
mod backup_s3;
mod bus;
mod chaos;
mod checkpoint;
mod db;
mod delete;
mod deploy;
mod detours;
mod doctor;
mod edge;
mod environment;
mod examples;
mod exec;
mod first;
mod git;
mod halext;
mod hardship;
mod hostile;
mod init;
mod input;
mod isolation;
mod logs;
mod managers;
mod many;
mod metrics;
mod mysql;
mod package;
mod people;
mod php;
mod project;
mod redis;
mod registry;
mod routes;
mod secrets;
mod storage;
mod stubborn;
mod syscalls;
mod tls;
mod trouble;
mod units;
mod validate;
mod vault;
mod verbs;
mod vps;
