//! `hostkit doctor`: every prerequisite and every invariant, each by name.

pub mod backups;
pub mod host;
pub mod projects;
pub mod tls;

use serde::Serialize;

use super::{Context, init, recover, repair};
use crate::{
    error::{Error, Result},
    names::ProjectName,
    sys::systemd::Verb,
    ui::{Paint, count},
};

/// Check the server and every project, and say what mends what is wrong
///
/// Exits with 0 only if everything holds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit doctor
  hostkit doctor --fix
  hostkit doctor --json | jq '.data.checks[] | select(.ok | not)'")]
pub struct Args {
    /// Mend what can be mended without a person's decision, then check again
    #[arg(long)]
    fix: bool,
}

/// One thing that must hold.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What is checked: `nginx`, `my-shop: unit`.
    pub name: String,
    pub ok: bool,
    /// What is wrong; what was found where all is well.
    pub finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What `--fix` can do about it.
    #[serde(skip)]
    pub cure: Option<Cure>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cure {
    Init,
    Recover,
    Repair(ProjectName),
    Start(&'static str),
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    fixed: Vec<String>,
    checks: Vec<Check>,
}

impl Check {
    pub fn fine(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self { name: name.into(), ok: true, finding: finding.into(), fix: None, cure: None }
    }

    pub fn wrong(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self { ok: false, ..Self::fine(name, finding) }
    }

    /// A check that ended in an error: its cause is the finding and its hint the fix.
    pub fn error(name: impl Into<String>, error: &Error) -> Self {
        Self { fix: error.hint.clone(), ..Self::wrong(name, error.to_string()) }
    }

    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    #[must_use]
    pub fn cure(mut self, cure: Cure) -> Self {
        self.cure = Some(cure);
        self
    }
}

/// Whether all holds decides the exit code; it is no error.
pub fn run(args: &Args, cx: &mut Context) -> Result<bool> {
    let mut checks = examine(cx);
    let mut fixed = Vec::new();
    if args.fix {
        fixed = mend(cx, &checks);
        checks = examine(cx);
    }
    let ok = checks.iter().all(|check| check.ok);
    let text = render(&checks, &fixed, Paint::of(&std::io::stdout()), cx.ui.voice.verbose);
    cx.ui.result("doctor", None, &Report { ok, fixed, checks }, &text);
    Ok(ok)
}

fn examine(cx: &mut Context) -> Vec<Check> {
    let mut checks = host::checks(cx);
    checks.extend(projects::checks(cx));
    checks
}

/// Applies each cure once. What one of them can't do is told by the second look.
fn mend(cx: &mut Context, checks: &[Check]) -> Vec<String> {
    let mut cures: Vec<&Cure> = Vec::new();
    for cure in checks.iter().filter(|check| !check.ok).filter_map(|check| check.cure.as_ref()) {
        if !cures.contains(&cure) {
            cures.push(cure);
        }
    }
    cures.sort_by_key(|cure| match cure {
        Cure::Start(_) => 0,
        Cure::Recover => 1,
        Cure::Init => 2,
        Cure::Repair(_) => 3,
    });
    let mut fixed = Vec::new();
    for cure in cures {
        let (what, result) = match cure {
            Cure::Init => ("hostkit init".to_owned(), init::again(cx).map(|_| ())),
            Cure::Recover => ("hostkit recover".to_owned(), recover::all(cx)),
            Cure::Repair(name) => {
                (format!("hostkit repair {name}"), repair::one(cx, name).map(|_| ()))
            }
            Cure::Start(unit) => {
                let _ = cx.host.reset_failed(unit);
                (format!("systemctl start {unit}"), cx.host.unit_job(Verb::Start, unit))
            }
        };
        match result {
            Ok(()) => fixed.push(what),
            Err(error) => cx.ui.note(format!("`{what}` did not help: {error}")),
        }
    }
    fixed
}

fn render(checks: &[Check], fixed: &[String], paint: Paint, verbose: bool) -> String {
    let mut text = String::new();
    for what in fixed {
        text.push_str(&format!("{} mended by `{what}`\n", paint.check()));
    }
    for Check { name, ok, finding, fix, .. } in checks {
        if *ok && !verbose && name.contains(": ") {
            continue;
        }
        let mark = if *ok { paint.check() } else { paint.cross() };
        text.push_str(&format!("  {mark} {name:<28}  {finding}\n"));
        if let (false, Some(fix)) = (ok, fix) {
            text.push_str(&format!("    {}  {fix}\n", paint.green("hint:")));
        }
    }
    let wrong = checks.iter().filter(|check| !check.ok).count();
    text.push_str(&match wrong {
        0 => format!("\nall {} hold\n", count(checks.len(), "check")),
        n => format!("\n{} of {} do not hold\n", n, count(checks.len(), "check")),
    });
    text
}
