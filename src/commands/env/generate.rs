//! Secrets that hostkit makes, and whom it shows them to.

use std::{collections::BTreeMap, str::FromStr};

use super::{Value, file_of, write};
use crate::{
    caller::Caller,
    commands::{Context, checkpoint::take},
    envfile::EnvFile,
    error::Result,
    names::ProjectName,
    registry::{CheckpointKind, Project},
    secret::Kind,
};

/// What `--generate` is to make.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// What the release says of the variable, else what is usual.
    AsUsual,
    For(Kind),
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(Self::AsUsual) } else { text.parse().map(Self::For) }
    }
}

/// A variable with what was made for it.
pub struct Secret<'a> {
    pub key: &'a str,
    pub value: &'a Value,
    /// What it is for, if anybody said.
    pub about: &'a str,
}

/// What is shown of secrets to whoever made them: all to operators, and to others no value.
pub struct Shown<'a> {
    secrets: Vec<Secret<'a>>,
    is_operator: bool,
}

impl<'a> Shown<'a> {
    pub fn of(cx: &Context, secrets: impl IntoIterator<Item = Secret<'a>>) -> Self {
        let is_operator = matches!(cx.caller, Caller::Root | Caller::Operator { .. });
        Self { secrets: secrets.into_iter().collect(), is_operator }
    }

    /// For a program.
    pub fn values(&self) -> Option<BTreeMap<&'a str, &'a str>> {
        let all = || self.secrets.iter().map(|one| (one.key, one.value.expose())).collect();
        (self.is_operator && !self.secrets.is_empty()).then(all)
    }

    /// For a person.
    pub fn text(&self, name: &ProjectName) -> String {
        let Some(first) = self.secrets.first() else { return String::new() };
        let again = format!("hostkit env get {name} {}", first.key);
        if !self.is_operator {
            let keys: Vec<&str> = self.secrets.iter().map(|one| one.key).collect();
            return format!("made: {} (operators are shown it: {again})\n", keys.join(", "));
        }
        let line = |one: &Secret<'_>| {
            let about = if one.about.is_empty() { "" } else { "  — " };
            format!("  {}  {}{about}{}\n", one.key, one.value.expose(), one.about)
        };
        let lines: String = self.secrets.iter().map(line).collect();
        format!("\n{lines}shown this once; later: {again}\n")
    }
}

/// Adds variables to a project's environment, whose lock is held: all of them or none.
pub fn add<'a>(
    cx: &mut Context,
    project: &Project,
    verb: &'static str,
    variables: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Result<()> {
    let mut file = file_of(cx, project)?;
    let mut keys = Vec::new();
    for (key, value) in variables {
        file.set(key, value.expose())?;
        keys.push(key);
    }
    let text = file.to_string();
    EnvFile::parse(&text)?;
    let note = format!("{verb}: {}", keys.join(", "));
    let before = take::take(cx, project, CheckpointKind::Env, Some(&note))?;
    let written = write(cx, project, verb, &text);
    if written.is_err() {
        take::forget(cx, &project.name, &before.id)?;
    }
    written
}
