//! `hostkit show`: what a project is, and the files that hostkit made for it.

use serde::Serialize;

use super::{Context, facts, project::info};
use crate::{
    caller::Caller,
    error::Result,
    plan::{Ground, Plan},
    registry::Project,
    steps::{AnyStep, Check, File, Step},
    sys::Owner,
    ui::Paint,
};

/// Show all about a project, or the files that make it
///
/// With `--config` it prints each file as hostkit makes it, its path before it: units, site, sudo
/// rules, the wall's, the environment. Values of secrets are hidden. Nothing is changed. A
/// project's own user sees those that it could read by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit show my-shop
  hostkit show my-shop --config
  hostkit show my-shop --config --json | jq -r '.data.files[].path'")]
pub struct Args {
    /// Project to show
    pub name: String,

    /// Print the files that hostkit made for it
    #[arg(long)]
    config: bool,
}

#[derive(Serialize)]
struct Config {
    files: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    /// What it belongs to: unit, site, access.
    part: String,
    path: String,
    mode: String,
    text: String,
    /// Whether the server has it so.
    in_place: bool,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    if !args.config {
        return info::show(cx, "show", &project);
    }
    let plan = facts::plan_of(cx, &project, Ground::Known)?;
    let config = Config { files: files(cx, &project, &plan)? };
    let text = render(&config, &args.name, Paint::of(&std::io::stdout()));
    cx.ui.result("show", Some(project.name.as_str()), &config, &text);
    Ok(())
}

/// Those of the one list of all that a project is, as far as the caller may see them.
fn files(cx: &Context, project: &Project, plan: &Plan) -> Result<Vec<Shown>> {
    let mut files = Vec::new();
    for planned in &plan.steps {
        let AnyStep::File(file) = &planned.step else { continue };
        if !may_see(&cx.caller, project, file) {
            continue;
        }
        let part = plan.parts.get(planned.part).map(|part| part.title.clone());
        files.push(Shown {
            part: part.unwrap_or_default(),
            path: file.path.display().to_string(),
            mode: format!("{:04o}", file.mode),
            text: file.masked()?,
            in_place: matches!(file.check(&cx.host), Ok(Check::InPlace)),
        });
    }
    Ok(files)
}

/// A project's user is shown no more than it could read.
fn may_see(caller: &Caller, project: &Project, file: &File) -> bool {
    let Owner { uid, gid } = file.owner;
    match caller {
        Caller::Root | Caller::Operator { .. } => true,
        Caller::Project { .. } => {
            file.mode & 0o004 != 0
                || gid == project.uid && file.mode & 0o040 != 0
                || uid == project.uid && file.mode & 0o400 != 0
        }
        Caller::Anybody { .. } | Caller::Stranger { .. } => false,
    }
}

fn render(config: &Config, name: &str, paint: Paint) -> String {
    let mut text = String::new();
    for file in &config.files {
        let differs = if file.in_place { "" } else { "; the server has it otherwise" };
        let head = format!("# {} ({}, {}{differs})", file.path, file.part, file.mode);
        text.push_str(&format!("{}\n{}\n\n", paint.bold(&head), file.text.trim_end()));
    }
    if config.files.iter().any(|file| !file.in_place) {
        text.push_str(&format!("# what differs, line by line: hostkit drift {name}\n"));
    }
    text
}
