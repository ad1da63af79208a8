//! `deploy --only PART`: one directory of the source, and all the rest as it is live.

use super::{build::INSTALLED, stage::Stage};
use crate::{
    commands::Context,
    error::{Error, Result},
    projects::Recipe,
    sys::FileKind,
};

/// What each release has for itself.
const OWN: [&str; 2] = [".complete", ".release"];

/// A directory at the top of a tree.
pub(super) fn check(part: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_own = part.starts_with('.') || part == INSTALLED;
    if part.is_empty() || part.len() > 100 || is_own || !part.chars().all(fits) {
        return Err(Error::usage("bad_part", "`--only` wants a directory at the top of the tree")
            .hint("for example `--only frontend`"));
    }
    Ok(())
}

impl Stage<'_> {
    /// Puts the one part of what was unpacked into a tree that is otherwise the live release's.
    /// Its files get second names, where nobody else reaches them until all of it is there.
    pub fn keep_the_rest(&mut self, cx: &Context, part: &str) -> Result<()> {
        let name = self.name().clone();
        let live = self.project.live.as_ref().ok_or_else(|| {
            Error::conflict("nothing_live", format!("{name} has no release yet"))
                .hint("deploy all of it first")
        })?;
        let (came, old) = (self.dir().join(part), self.dir_of(live));
        let is_dir = |meta: Option<crate::sys::Meta>| {
            meta.is_some_and(|meta| meta.kind == FileKind::Directory)
        };
        if !is_dir(cx.host.meta(&came)?) {
            return Err(Error::usage("no_part", format!("the source has no directory `{part}`")));
        }
        if !is_dir(cx.host.meta(&old.join(part))?) {
            return Err(Error::conflict("no_part", format!("the live release has no `{part}`"))
                .hint("deploy all of it: leave `--only` out"));
        }
        self.phase(cx, "the rest", |stage| {
            let whole = stage.link_live(cx, live, None)?;
            for own in OWN {
                cx.host.remove_file(&whole.join(own))?;
            }
            cx.host.remove_tree(&whole.join(part))?;
            cx.host.rename(&came, &whole.join(part))?;
            cx.host.remove_tree(&stage.dir())?;
            cx.host.rename(&whole, &stage.dir())?;
            Ok(((), format!("as in {}", live.id)))
        })
    }

    /// Leaves the steps that concern the part. Where it brings packages, they are installed anew;
    /// else they are what they were, and known for no more than they were.
    pub fn build_only(&self, cx: &Context, recipe: &mut Recipe, part: &str) -> Result<()> {
        let below = format!("{part}/");
        let is_in = |directory: &str| directory == part || directory.starts_with(&below);
        let installs = recipe.steps.iter().any(|step| step.fills_venv && is_in(&step.directory));
        recipe.steps.retain(|step| if step.fills_venv { installs } else { is_in(&step.directory) });
        if installs {
            cx.host.remove_tree(&self.dir().join(INSTALLED))?;
        } else if self.project.live.as_ref().map(|live| &live.spec.installs)
            != Some(&recipe.spec.installs)
        {
            recipe.spec.installs = None;
        }
        Ok(())
    }
}
