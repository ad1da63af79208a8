//! What a project's Redis user may do: everything in its own database, and nothing anywhere else.
//!
//! Each word is there because a probe got across without it; the isolation tests are the proof.

use crate::{names::ProjectName, steps::Version};

pub(super) struct Rules {
    pub(super) commands: Vec<String>,
    pub(super) channels: Vec<String>,
    pub(super) selector: (Vec<String>, Vec<String>),
}

pub(super) fn of(project: &ProjectName, n: u32, version: Version) -> Rules {
    let select = format!("+select|{n}");
    let mut commands: Vec<&str> = vec![
        "+@read",
        "+@write",
        "+@keyspace",
        "+@connection",
        "+@transaction",
        "+@scripting",
        "+@pubsub",
        "+@blocking",
        "-@admin",
        "-@dangerous",
        // Of the dangerous ones those that stay within the database.
        "+keys",
        "+flushdb",
        "+sort",
        "+sort_ro",
        "+info",
        "+restore",
        "+role",
        "+command",
        "+time",
        // Whatever reaches another database, or what all of them share.
        "-select",
        &select,
        "-move",
        "-copy",
        "-swapdb",
        "-function",
        "-fcall",
        "-fcall_ro",
        "-script",
        "+script|load",
        "+script|exists",
        "-client",
        "+client|id",
        "+client|getname",
        "+client|setname",
        "+client|reply",
        "+client|info",
        "-pubsub",
        "+pubsub|numsub",
        "+pubsub|shardnumsub",
        "-memory",
        "+memory|usage",
    ];
    // An older server refuses to start from a file that names a command it does not know.
    if version >= (Version { major: 7, minor: 2 }) {
        commands.push("+client|setinfo");
    }
    let channels = [
        format!("&{project}:*"),
        format!("&/{n}.*"),
        // Celery subscribes to these by pattern, and a pattern is matched literally.
        format!("&/{n}.celery.pidbox"),
        format!("&/{n}.celeryev/*"),
        format!("&/{n}.celeryev/worker.*"),
        format!("&/{n}.celeryev/task.*"),
        format!("&__keyspace@{n}__:*"),
        format!("&__keyevent@{n}__:*"),
    ];
    // Results of tasks are found by ids that can't be guessed, so their channels may be named but
    // not matched by pattern: this selector lacks PSUBSCRIBE.
    let results = ["&celery-task-meta-*", "&celery-taskset-meta-*", "&chord-unlock-*"];
    Rules {
        commands: commands.into_iter().map(String::from).collect(),
        channels: channels.into(),
        selector: (
            ["+subscribe", "+publish"].map(String::from).into(),
            results.map(String::from).into(),
        ),
    }
}
