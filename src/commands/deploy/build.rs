//! The commands of a build, each in a unit of its own.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    stage::{Stage, Unit},
    tools,
};
use crate::{
    commands::Context,
    error::{Error, Result},
    projects::{Phase, Recipe, Serves},
    registry::Live,
    release::{Process, Route, Spec},
    sys::{FileKind, Owner, links::Copied},
};

/// Where Python's packages are installed, in each release.
pub(super) const INSTALLED: &str = "venv";

impl Stage<'_> {
    /// Runs the steps of a build; says how many there were.
    pub fn build(&mut self, cx: &Context, recipe: &mut Recipe, install: bool) -> Result<usize> {
        for step in &recipe.steps {
            if let Some(missing) = step.needs.iter().find(|program| !tools::is_installed(program)) {
                return Err(Error::not_ready("program_missing", format!("`{missing}` is missing"))
                    .caused_by(format!("`{}` needs it", step.title))
                    .hint(format!(
                        "install it on the server: `{}`",
                        tools::how_to_install(missing)
                    )));
            }
        }
        let mut count = 0;
        let taken = install && self.take_over(cx, recipe)?;
        let last = recipe.steps.iter().rposition(|step| step.fills_venv);
        let changed = |stage: &Self| cx.host.last_changed(&stage.dir().join(INSTALLED)).ok();
        let mut since = if taken || last.is_none() { changed(self) } else { None };
        for (at, step) in recipe.steps.iter().enumerate() {
            if !install && step.phase == Phase::Install || taken && step.fills_venv {
                continue;
            }
            self.phase(cx, &step.title, |stage| Ok(((), stage.run_step(cx, recipe, step)?)))?;
            count += 1;
            if Some(at) == last {
                since = changed(self);
            }
        }
        match since {
            Some(since) => self.check_installed(cx, recipe, since)?,
            None => recipe.spec.installs = None,
        }
        Ok(count)
    }

    /// Takes over what the live release has installed, where this one would install the same.
    fn take_over(&mut self, cx: &Context, recipe: &Recipe) -> Result<bool> {
        let same = |live: &&Live| {
            live.spec.installs.is_some() && live.spec.installs == recipe.spec.installs
        };
        let Some(live) = self.project.live.as_ref().filter(same) else { return Ok(false) };
        let from = self.dir_of(live);
        let is = |name: &str, kind: FileKind| -> Result<bool> {
            Ok(cx.host.meta(&from.join(name))?.is_some_and(|meta| meta.kind == kind))
        };
        let is_there = is(".complete", FileKind::File)? && is(INSTALLED, FileKind::Directory)?;
        if !is_there || self.holds(cx, INSTALLED)? {
            return Ok(false);
        }
        self.phase(cx, "dependencies", |stage| {
            let here = stage.link_live(cx, live, Some(INSTALLED))?;
            cx.host.rename(&here, &stage.dir().join(INSTALLED))?;
            Ok((true, format!("as in {}", live.id)))
        })
    }

    /// What was installed is for another release to take over only as it was installed: what a
    /// build put there goes with the tree that it came from.
    fn check_installed(&self, cx: &Context, recipe: &mut Recipe, since: (i64, u64)) -> Result<()> {
        let installed = self.dir().join(INSTALLED);
        let is_there = cx.host.meta(&installed)?.is_some_and(|m| m.kind == FileKind::Directory);
        if !is_there || cx.host.last_changed(&installed)? != since {
            recipe.spec.installs = None;
        }
        Ok(())
    }

    pub fn dir_of(&self, live: &Live) -> PathBuf {
        self.name().home().join("releases").join(live.id.as_str())
    }

    /// Gives the live release, or one directory of it, second names: beside the release to be,
    /// since whoever unpacked may still hold a handle of that, and it has to be whole first.
    pub fn link_live(&self, cx: &Context, live: &Live, part: Option<&str>) -> Result<PathBuf> {
        let (from, release) = (self.dir_of(live), self.release_dir());
        let here = self.dir().with_extension(part.unwrap_or("whole"));
        let copied = Copied {
            owner: Owner::new(self.project.uid, self.project.uid),
            places: (&from.to_string_lossy(), &release.to_string_lossy()),
            named_in: &["bin", INSTALLED],
        };
        let old = part.map_or_else(|| from.clone(), |part| from.join(part));
        cx.host.link_tree(&old, &here, &copied)?;
        Ok(here)
    }

    /// Where the build put the files of routes that were found, if not in the likeliest place.
    pub fn settle_routes(&self, cx: &Context, recipe: &mut Recipe) -> Result<()> {
        for route in &mut recipe.routes {
            let Serves::Files { directory, candidates, .. } = &mut route.serves else { continue };
            let likeliest = std::iter::once(&*directory).chain(&*candidates).cloned();
            for candidate in likeliest.collect::<Vec<_>>() {
                if self.holds(cx, &format!("{candidate}/index.html"))? {
                    let served = recipe.spec.routes.iter_mut().filter_map(Route::files_mut);
                    for files in served.filter(|files| files.at == *directory) {
                        files.at.clone_from(&candidate);
                    }
                    *directory = candidate;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Runs what has to run once before requests move: migrations, and steps of the manifest's.
    pub fn prepare(
        &mut self,
        cx: &Context,
        process: &Process,
        spec: &Spec,
        (seconds, memory): (u64, u64),
    ) -> Result<()> {
        let command = self.absolute(&process.command);
        let environment: Vec<(String, String)> =
            crate::projects::release_environment(self.project, spec).into_iter().collect();
        self.phase(cx, &process.name, |stage| {
            let unit = Unit {
                title: "prepare",
                command: &command,
                environment: &environment,
                overrides: &BTreeMap::new(),
                directory: &process.directory,
                input: None,
                is_staged: false,
                seconds,
                memory,
            };
            stage.run(cx, &unit)?;
            Ok(((), command.join(" ")))
        })
    }

    pub(super) fn absolute(&self, command: &[String]) -> Vec<String> {
        let mut words = command.to_vec();
        if let Some(program) = words.first_mut()
            && program.contains('/')
            && !program.starts_with('/')
        {
            *program = self.release_dir().join(&*program).display().to_string();
        }
        words
    }
}

pub(super) fn of_build<'a>(recipe: &'a Recipe, command: &'a [String]) -> Unit<'a> {
    Unit {
        title: "build",
        command,
        environment: &[],
        overrides: &recipe.build_environment,
        directory: "",
        input: None,
        is_staged: true,
        seconds: recipe.timeout,
        memory: recipe.memory,
    }
}
