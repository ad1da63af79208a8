//! Packages that only a build needs: as long as nothing that decides about them changes, they are
//! not installed again.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    build::of_build,
    stage::{Stage, Unit},
    tools,
};
use crate::{
    commands::Context,
    error::Result,
    projects::{BuildStep, Recipe},
    sys::{Cmd, FileKind, Owner, signals},
};

const MODULES: &str = "node_modules";

/// Packing them may take so long; after that they are installed again the next time.
const SLOWEST: Duration = Duration::from_mins(5);

/// Variables of a project that npm goes by, or what it runs.
const STEER: [&str; 3] = ["npm_", "NPM_", "NODE_"];

impl Stage<'_> {
    /// Runs one step of a build; says what is worth telling of it.
    pub(super) fn run_step(
        &mut self,
        cx: &Context,
        recipe: &Recipe,
        step: &BuildStep,
    ) -> Result<String> {
        let command = self.absolute(&step.command);
        let unit = |command| Unit {
            environment: &step.environment,
            directory: &step.directory,
            ..of_build(recipe, command)
        };
        let Some(kept) = self.kept(cx, step)? else {
            self.run(cx, &unit(&command))?;
            return Ok(String::new());
        };
        let top = self.dir().join(&step.directory);
        let from = kept.display().to_string();
        let unpack = ["/usr/bin/tar", "--zstd", "-xf", &from].map(str::to_owned);
        let is_free = cx.host.meta(&top.join(MODULES))?.is_none();
        if is_free && is(cx, &kept, FileKind::File)? {
            match self.run(cx, &unit(&unpack)) {
                Ok(()) => return Ok("as before".into()),
                // Whatever is wrong with it: from where they came they come again.
                Err(_) => cx.host.remove_file(&kept)?,
            }
            signals::check()?;
        }
        self.run(cx, &unit(&command))?;
        if !is(cx, &top.join(MODULES), FileKind::Directory)? {
            return Ok(String::new());
        }
        let (aside, part) = (self.dir().with_extension("modules"), kept.with_extension("part"));
        let done = self.keep(cx, &top.join(MODULES), &aside, &part);
        let done = done.and_then(|()| cx.host.rename(&part, &kept));
        cx.host.remove_tree(&aside)?;
        match done {
            Ok(()) => self.run(cx, &unit(&unpack))?,
            Err(why) => {
                cx.host.remove_file(&part)?;
                signals::check()?;
                cx.ui.note(format!("its packages are not kept for the next build: {why}"));
                self.run(cx, &unit(&command))?;
            }
        }
        Ok(String::new())
    }

    /// Where the packages of a step are kept, once they are.
    fn kept(&self, cx: &Context, step: &BuildStep) -> Result<Option<PathBuf>> {
        let Some(digest) = &step.modules else { return Ok(None) };
        let env = cx.host.read_text(&self.name().env_file())?.unwrap_or_default();
        let steers = |line: &&str| STEER.iter().any(|start| line.trim_start().starts_with(start));
        let mut sum = Sha256::new();
        sum.update(format!("{digest} {}\n", tools::node()));
        for line in env.lines().filter(steers) {
            sum.update(format!("{line}\n"));
        }
        let name = data_encoding::HEXLOWER.encode(&sum.finalize());
        Ok(Some(self.name().home().join(format!("releases/.kept/{name}.tar.zst"))))
    }

    /// Before any build sees them, so that the next one finds them as they were installed. They are
    /// made final first: whoever holds a handle can add nothing, and nothing of others' is packed.
    fn keep(&self, cx: &Context, modules: &Path, aside: &Path, part: &Path) -> Result<()> {
        let (dir, owner) = (part.with_file_name(""), Owner::new(0, self.project.uid));
        cx.host.make_dir(&dir, owner, 0o750)?;
        for old in cx.host.list(&dir)? {
            cx.host.remove_file(&dir.join(old))?;
        }
        cx.host.make_dir(aside, Owner::ROOT, 0o700)?;
        cx.host.rename(modules, &aside.join(MODULES))?;
        cx.host.freeze(&aside.join(MODULES), self.project.uid)?;
        let tar = Cmd::new("/usr/bin/tar").limit(SLOWEST).args(["--zstd", "-cf"]).arg(part);
        let tar = tar.arg("-C").arg(aside).args(["--", MODULES]);
        cx.host.run(&tar, "keep the packages of a build")?.success()?;
        cx.host.set_meta(part, owner, 0o640)?;
        let sync = Cmd::new("/usr/bin/sync").args(["--"]).arg(part);
        cx.host
            .run(&sync, &format!("write `{}` to the disk", part.display()))
            .and_then(|ran| ran.success().map(|_| ()))
    }
}

fn is(cx: &Context, path: &Path, kind: FileKind) -> Result<bool> {
    Ok(cx.host.meta(path)?.is_some_and(|meta| meta.kind == kind))
}
