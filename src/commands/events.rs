//! `hostkit events`: who did what, when, and how it ended.

use super::Context;
use crate::{
    error::Result,
    names::ProjectName,
    registry::Event,
    ui::{Column, Paint, Table, elapsed},
};

/// Show who did what, when, and how it ended
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit events
  hostkit events my-shop --last 5
  hostkit events --json")]
pub struct Args {
    /// Only events of this project; it may be gone by now
    pub name: Option<String>,

    /// How many, the newest
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: u32,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name = args.name.as_deref().map(str::parse::<ProjectName>).transpose()?;
    let events = cx.registry()?.events(name.as_ref(), args.last)?;
    let text =
        if events.is_empty() { "nothing was done yet\n".to_owned() } else { render(&events) };
    cx.ui.result("events", name.as_ref().map(ProjectName::as_str), &events, &text);
    Ok(())
}

fn render(events: &[Event]) -> String {
    let paint = Paint::of(&std::io::stdout());
    let mut table = Table::new(vec![
        Column::left("WHEN"),
        Column::left("WHO").gives_way_to(8),
        Column::left("PROJECT").gives_way_to(8),
        Column::left("WHAT"),
        Column::left("ENDED"),
        Column::right("TOOK"),
        Column::left("").gives_way_to(10),
    ]);
    for event in events {
        let when = event.at.to_zoned(jiff::tz::TimeZone::system());
        let ended = match event.outcome.as_str() {
            "done" => paint.green("done"),
            "undone" => paint.yellow("undone"),
            other => paint.red(other),
        };
        let took = u64::try_from(event.milliseconds).unwrap_or(0);
        table.row(vec![
            when.strftime("%-d %b %H:%M:%S").to_string(),
            event.actor.clone(),
            event.project.clone().unwrap_or_else(|| "-".into()),
            event.verb.clone(),
            ended,
            if took == 0 { "-".into() } else { elapsed(std::time::Duration::from_millis(took)) },
            event.detail.clone().unwrap_or_default().replace('\n', " "),
        ]);
    }
    table.render(paint, crate::ui::width())
}
