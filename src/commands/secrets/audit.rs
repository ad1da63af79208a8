//! Who read and wrote which secret.

use crate::{
    commands::Context,
    error::Result,
    names::ProjectName,
    ui::{Column, Paint, Table, ago, width},
};

/// Show who read and wrote which secret, and for what
///
/// Read is what goes to somebody: to a deploy and its processes, to a person, to a backup. The
/// newest come last; of each project the last 20000 stay, also when the project is gone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets audit my-shop
  hostkit secrets audit my-shop --secret SMTP_PASSWORD
  hostkit secrets audit --last 200")]
pub struct Args {
    /// Project whose secrets; without it of all, and of the master key
    pub name: Option<String>,

    /// Of this secret alone
    #[arg(long, value_name = "KEY")]
    secret: Option<String>,

    /// How many
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: u32,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name = args.name.as_deref().map(str::parse::<ProjectName>).transpose()?;
    let all = cx.registry()?.secret_audit(name.as_ref(), args.secret.as_deref(), args.last)?;
    let mut table = Table::new(vec![
        Column::left("WHEN"),
        Column::left("BY").gives_way_to(8),
        Column::left("WHAT"),
        Column::left("PROJECT"),
        Column::left("SECRET").gives_way_to(12),
        Column::right("VERSION"),
        Column::left("RELEASE").extra(),
    ]);
    for one in &all {
        table.row(vec![
            ago(one.at),
            one.actor.clone(),
            one.what.clone(),
            one.project.clone().unwrap_or_default(),
            one.name.clone().unwrap_or_default(),
            one.version.map_or(String::new(), |version| version.to_string()),
            one.release.clone().unwrap_or_default(),
        ]);
    }
    let text = if all.is_empty() {
        "nobody has read or written a secret\n".to_owned()
    } else {
        table.render(Paint::of(&std::io::stdout()), width())
    };
    cx.ui.result("secrets audit", name.as_ref().map(ProjectName::as_str), &all, &text);
    Ok(())
}
