//! Secrets as files: where systemd finds them for a project's processes, and nobody else does.

use std::{collections::BTreeMap, path::PathBuf};

use super::Maker;
use crate::{
    envfile::EnvFile,
    error::Result,
    names::ProjectName,
    plan::{Lane, Plan},
    secret::Secret,
    steps::{Contents, Dir, File, Gone, Judge, Owner, Text},
};

/// Secrets that processes read from files, and those that are files no more.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    pub files: BTreeMap<String, Secret>,
    pub gone: Vec<String>,
}

/// Root's alone, as all that it lies in.
pub fn credentials_dir(name: &ProjectName) -> PathBuf {
    format!("/var/lib/hostkit/deploys/{name}/credentials").into()
}

/// The same for the build of a release, which may have others.
pub fn build_secrets_dir(name: &ProjectName) -> PathBuf {
    format!("/run/hostkit/secrets/{name}").into()
}

pub(super) fn add(plan: &mut Plan, name: &ProjectName, credentials: Option<&Credentials>) {
    let Some(Credentials { files, .. }) = credentials else { return };
    let dir = credentials_dir(name);
    if !files.is_empty() {
        let contents = Contents::GoesToo;
        let at = Dir { path: dir.clone(), owner: Owner::ROOT, mode: 0o700, contents };
        plan.step(Lane::Files, at);
    }
    for (key, value) in files {
        plan.step(
            Lane::Files,
            File {
                path: dir.join(key),
                owner: Owner::ROOT,
                mode: 0o600,
                text: Text::Opaque(value.clone()),
                judge: Judge::Nobody,
            },
        );
    }
}

/// What no process of the new release wants: to be added when the old ones have ended.
pub(super) fn add_gone(plan: &mut Plan, name: &ProjectName, credentials: Option<&Credentials>) {
    for key in credentials.iter().flat_map(|credentials| &credentials.gone) {
        plan.step(Lane::Files, Gone { path: credentials_dir(name).join(key) });
    }
}

impl Maker<'_> {
    /// The secrets that processes have: files of their own, the others in `.env`.
    pub(super) fn secrets(&self, plan: &mut Plan, env: String) -> Result<String> {
        let Some(all) = self.facts.secrets.as_ref().filter(|all| !all.is_empty()) else {
            return Ok(env);
        };
        let is_file =
            |key: &String| self.spec().is_some_and(|spec| spec.secret_files.contains(key));
        let (files, variables): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.iter().map(|(k, v)| (k.clone(), v.clone())).partition(|(key, _)| is_file(key));
        add(plan, &self.project.name, Some(&Credentials { files, gone: Vec::new() }));
        let mut file = EnvFile::parse(&env)?;
        for (key, value) in &variables {
            file.set(key, value.expose())?;
        }
        Ok(file.to_string())
    }
}
