//! What backups take.

use serde::Serialize;

use super::repository::{self, PLACE, here};
use crate::{
    commands::Context,
    error::Result,
    names::ProjectName,
    registry::BackupState,
    ui::{Column, Paint, Table, bytes, width},
};

/// Show what backups take
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup stats")]
pub struct Args {}

#[derive(Serialize)]
struct Stats {
    repository: &'static str,
    /// Bytes on the disk, each piece counted once.
    bytes: u64,
    free: Option<u64>,
    projects: Vec<OfProject>,
}

#[derive(Serialize)]
struct OfProject {
    project: Option<ProjectName>,
    backups: usize,
    /// Bytes that the newest one read, and that all of them added.
    newest: u64,
    stored: u64,
}

pub fn run(_args: &Args, cx: &mut Context) -> Result<()> {
    let all = cx.registry()?.all_backups()?;
    let is_there = cx.host.meta(&std::path::Path::new(PLACE).join("config"))?.is_some();
    let size = if is_there {
        let _alone = repository::alone(cx, "backup stats")?;
        cx.host.repository_size(&here())?
    } else {
        0
    };
    let mut projects: Vec<OfProject> = Vec::new();
    for backup in all.iter().filter(|b| b.state == BackupState::Complete && b.is_local) {
        match projects.iter_mut().find(|of| of.project == backup.project) {
            Some(of) => {
                of.backups += 1;
                of.stored += backup.stored;
            }
            None => projects.push(OfProject {
                project: backup.project.clone(),
                backups: 1,
                newest: backup.bytes,
                stored: backup.stored,
            }),
        }
    }
    let mut table = Table::new(vec![
        Column::left("PROJECT"),
        Column::right("BACKUPS"),
        Column::right("NEWEST"),
        Column::right("ADDED"),
    ]);
    for of in &projects {
        let name = of.project.as_ref().map_or("(the server)".into(), ToString::to_string);
        table.row(vec![name, of.backups.to_string(), bytes(of.newest), bytes(of.stored)]);
    }
    let free = cx.host.free_space(PLACE.as_ref())?.map(|(free, _)| free);
    let text = format!(
        "{}\n{PLACE} takes {}{}\n",
        table.render(Paint::of(&std::io::stdout()), width()),
        bytes(size),
        free.map_or(String::new(), |free| format!(", and {} are free", bytes(free)))
    );
    let stats = Stats { repository: PLACE, bytes: size, free, projects };
    cx.ui.result("backup stats", None, &stats, &text);
    Ok(())
}
