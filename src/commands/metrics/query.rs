//! `hostkit metrics query`: what an expression of Prometheus' comes to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::check_set_up;
use crate::{
    commands::Context,
    error::Result,
    names::ProjectName,
    sys::prometheus::{self, Sample},
    ui::{Column, Paint, Table, count, width},
};

/// Ask for figures of a project by an expression of Prometheus'
///
/// The expression is worked out over the figures of all projects; of what it comes to, series of
/// other projects are left out. One that adds series up adds up all projects' unless it names the
/// label: sum(requests_total{project="my-shop"}). So this is for operators alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit metrics query my-shop up
  hostkit metrics query my-shop 'rate(requests_total{project=\"my-shop\"}[5m])'
  hostkit metrics query my-shop 'requests_total[2m]' --json")]
pub struct Args {
    /// Project whose series to show
    pub name: String,

    /// Expression in `PromQL`
    #[arg(value_name = "PROMQL")]
    expression: String,
}

#[derive(Serialize)]
struct Answer {
    /// vector, matrix, scalar or string.
    kind: String,
    samples: Vec<Shown>,
    /// How many samples of other projects there were.
    left_out: usize,
}

#[derive(Serialize)]
struct Shown {
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// As Prometheus writes it: a number, NaN, +Inf or -Inf.
    value: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    check_set_up(cx)?;
    let answered = prometheus::query(&args.expression)?;
    let all = answered.samples.len();
    let mine = |sample: &Sample| sample.labels.get("project").is_none_or(|of| of == name.as_str());
    let samples: Vec<Shown> = answered.samples.into_iter().filter(mine).map(shown).collect();
    let left_out = all - samples.len();
    let answer = Answer { kind: answered.kind, samples, left_out };
    let text = told(&answer, Paint::of(&std::io::stdout()));
    cx.ui.result("metrics query", Some(name.as_str()), &answer, &text);
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "a millisecond is as fine as it gets")]
fn shown(sample: Sample) -> Shown {
    let at = Timestamp::from_millisecond((sample.at * 1e3).round() as i64).ok();
    Shown { labels: sample.labels, at, value: sample.value }
}

/// A series as an expression names one. What a project says of itself is no command to a terminal.
fn series(labels: &BTreeMap<String, String>) -> String {
    let own = labels.iter().filter(|(key, _)| *key != "__name__");
    let own: Vec<String> = own.map(|(key, value)| format!("{key}={value:?}")).collect();
    let name = labels.get("__name__").map(String::as_str).unwrap_or_default();
    match &own[..] {
        [] => name.to_owned(),
        own => format!("{name}{{{}}}", own.join(", ")),
    }
}

fn told(answer: &Answer, paint: Paint) -> String {
    let Answer { kind, samples, left_out } = answer;
    let is_matrix = kind == "matrix";
    let mut columns = vec![Column::left("SERIES").gives_way_to(20), Column::right("VALUE")];
    columns.extend(is_matrix.then(|| Column::left("AT")));
    let mut table = Table::new(columns);
    for Shown { labels, at, value } in samples {
        let mut cells = vec![series(labels), value.escape_debug().to_string()];
        if is_matrix {
            cells.push(at.map(|at| at.to_string()).unwrap_or_default());
        }
        table.row(cells);
    }
    let mut text = match samples.len() {
        0 => "nothing\n".to_owned(),
        _ => table.render(paint, width()),
    };
    if *left_out > 0 {
        text.push_str(&format!("{} of other projects left out\n", count(*left_out, "sample")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_no_command_to_a_terminal() {
        let labels = [("__name__", "up"), ("a", "\u{1b}[2J\"x"), ("project", "shop")];
        let labels: BTreeMap<String, String> =
            labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(series(&labels), r#"up{a="\u{1b}[2J\"x", project="shop"}"#);
        assert_eq!(series(&BTreeMap::new()), "");
    }
}
