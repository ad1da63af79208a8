//! Plans and differences on the screen.

use serde::Serialize;

use super::Context;
use crate::{
    names::ProjectName,
    plan::{Difference, Sign},
    ui::{Paint, count, painted_diff},
};

#[derive(Serialize)]
struct Preview<'a> {
    dry_run: bool,
    changes: &'a [Difference],
}

/// What a command would change, and that it did not.
pub fn preview(cx: &Context, command: &str, project: Option<&ProjectName>, changes: &[Difference]) {
    let paint = Paint::of(&std::io::stdout());
    let name = project.map(|name| format!(" {name}")).unwrap_or_default();
    let text = if changes.is_empty() {
        format!("hostkit {command}{name} would change nothing\n")
    } else {
        let changed = count(changes.len(), "thing");
        format!(
            "{}\nhostkit {command}{name} would change {changed}; nothing is done yet\n",
            listing(changes, paint)
        )
    };
    let data = Preview { dry_run: true, changes };
    cx.ui.result(command, project.map(ProjectName::as_str), &data, &text);
}

/// Differences, part by part.
pub fn listing(changes: &[Difference], paint: Paint) -> String {
    let mut text = String::new();
    let mut part = None;
    for Difference { sign, part: of, what, differs, diff } in changes {
        if part != Some(of) {
            text.push_str(&format!(
                "{}{}\n",
                if part.is_some() { "\n" } else { "" },
                paint.bold(of)
            ));
            part = Some(of);
        }
        let (mark, why) = match sign {
            Sign::Create => (paint.green("+"), String::new()),
            Sign::Change => (paint.yellow("~"), format!(": {differs}")),
            Sign::Remove => (paint.red("-"), format!(": {differs}")),
        };
        text.push_str(&format!("  {mark} {what}{why}\n"));
        if let Some(diff) = diff {
            text.push_str(&painted_diff(diff, paint));
        }
    }
    text
}
