//! hostkit turns a bare server into a deployment platform.
pub mod archive;
pub mod caller;
pub mod commands;
pub mod config;
pub mod envfile;
pub mod error;
pub mod journal;
pub mod names;
pub mod plan;
pub mod projects;
pub mod registry;
pub mod release;
pub mod secret;
pub mod steps;
pub mod sys;
pub mod templates;
pub mod ui;
