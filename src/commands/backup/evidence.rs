//! What one shows an auditor: which backups there are, and which of them came back.

use jiff::Timestamp;
use serde::Serialize;

use super::{drill::Proof, offsite, timer};
use crate::{
    commands::Context,
    error::Result,
    names::{BackupId, ProjectName},
    registry::{Backup, BackupKind, BackupState},
    ui::{Column, Paint, Table, ago, width},
};

/// Show that backups are made, and that they come back
///
/// For each project: the newest backup, when one was last proven by restoring it, and what was
/// compared then. `--json` holds all of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup evidence
  hostkit backup evidence my-shop
  hostkit backup evidence --json > evidence.json")]
pub struct Args {
    /// Only this project
    pub name: Option<String>,
}

#[derive(Serialize)]
struct Evidence {
    host: String,
    at: Timestamp,
    hostkit: &'static str,
    /// Whether backups are made by themselves, and where else they go.
    timer: bool,
    offsite: Option<String>,
    projects: Vec<OfProject>,
}

#[derive(Serialize)]
struct OfProject {
    project: ProjectName,
    complete: usize,
    failed: usize,
    newest: Option<Shown>,
    proven: Option<Shown>,
    /// Complete ones since the newest that was proven.
    unproven_since: usize,
    /// A drill that failed and has had no good one since.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_proven: Option<Shown>,
}

#[derive(Serialize)]
struct Shown {
    backup: BackupId,
    made_at: Timestamp,
    kind: BackupKind,
    bytes: u64,
    is_local: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    copied_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
}

fn shown(backup: &Backup) -> Shown {
    Shown {
        backup: backup.id.clone(),
        made_at: backup.made_at,
        kind: backup.kind,
        bytes: backup.bytes,
        is_local: backup.is_local,
        copied_at: backup.copied_at,
        proven_at: backup.proven_at,
        proof: backup.proof.as_deref().and_then(|text| serde_json::from_str(text).ok()),
    }
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let names: Vec<ProjectName> = match &args.name {
        Some(name) => vec![cx.registry()?.project(&name.parse()?)?.name],
        None => cx.registry()?.projects()?.into_iter().map(|project| project.name).collect(),
    };
    let projects = names.into_iter().map(|name| of(cx, name)).collect::<Result<Vec<_>>>()?;
    let evidence = Evidence {
        host: crate::sys::system::hostname(),
        at: Timestamp::now(),
        hostkit: env!("CARGO_PKG_VERSION"),
        timer: timer::is_on(cx)?,
        offsite: offsite::of(cx)?.map(|there| there.place),
        projects,
    };
    let mut table = Table::new(vec![
        Column::left("PROJECT"),
        Column::left("NEWEST"),
        Column::left("PROVEN"),
        Column::right("COMPLETE"),
        Column::right("FAILED"),
    ]);
    for project in &evidence.projects {
        let when = |shown: &Option<Shown>, time: fn(&Shown) -> Option<Timestamp>| {
            shown.as_ref().and_then(time).map_or("never".into(), ago)
        };
        table.row(vec![
            project.project.to_string(),
            when(&project.newest, |shown| Some(shown.made_at)),
            when(&project.proven, |shown| shown.proven_at),
            project.complete.to_string(),
            project.failed.to_string(),
        ]);
    }
    let elsewhere = evidence.offsite.as_deref().unwrap_or("nowhere else");
    let by = if evidence.timer { "made by a timer" } else { "made by hand: no timer is set" };
    let text = format!(
        "{}\n{by}; kept here and {elsewhere}\n",
        table.render(Paint::of(&std::io::stdout()), width())
    );
    cx.ui.result("backup evidence", args.name.as_deref(), &evidence, &text);
    Ok(())
}

fn of(cx: &mut Context, project: ProjectName) -> Result<OfProject> {
    let all = cx.registry()?.backups(Some(&project))?;
    let count = |state| all.iter().filter(|backup| backup.state == state).count();
    let complete: Vec<&Backup> =
        all.iter().filter(|backup| backup.state == BackupState::Complete).collect();
    let at = complete.iter().position(|backup| backup.proven == Some(true));
    let newer = &complete[..at.unwrap_or(complete.len())];
    Ok(OfProject {
        complete: complete.len(),
        failed: count(BackupState::Failed),
        newest: complete.first().map(|backup| shown(backup)),
        proven: at.map(|at| shown(complete[at])),
        unproven_since: newer.len(),
        not_proven: newer.iter().find(|backup| backup.proven == Some(false)).map(|b| shown(b)),
        project,
    })
}
