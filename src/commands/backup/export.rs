//! A backup as plain files, for a program that knows nothing of us.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{bring::Source, find, repository, restore, tag, whereabouts};
use crate::{
    commands::Context,
    error::{Context as _, Error, Result},
    names::{BackupId, ProjectName},
    projects::backup::{TREE_PART, Witness, tags},
    sys::Owner,
};

/// Write a backup down as plain files
///
/// Makes a directory with the database's dump (for `pg_restore`), the files (`files.tar`), the
/// environment and the record. It is not encrypted, and root alone may read it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup export my-shop --to /root/my-shop
  hostkit backup export my-shop 20261121-093012 --to /mnt/usb/my-shop")]
pub struct Args {
    /// Project whose backup to write down
    pub name: String,

    /// The backup; the newest unless it is named
    id: Option<String>,

    /// The directory to make
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(Serialize)]
struct Exported<'a> {
    backup: &'a BackupId,
    path: String,
    files: Vec<String>,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let backup = find(cx, Some(&name), args.id.as_deref())?;
    let to = cx.started_in.join(&args.to);
    if to.symlink_metadata().is_ok() {
        return Err(Error::conflict("exists", format!("`{}` is there already", to.display())));
    }
    let _open = repository::open(cx, &format!("backup export {name}"))?;
    let at = whereabouts(cx, &backup)?;
    let of = tag(backup.project.as_ref());
    let record = restore::record(cx, &at, of, &backup.id)?;
    let source = Source { at: &at, of: of.to_owned(), record: &record };
    cx.host.make_dir(&to, Owner::ROOT, 0o700)?;
    let files = write(cx, &source, &to);
    if files.is_err() {
        cx.host.remove_tree(&to)?;
    }
    let files = files?;
    cx.record(Some(&name), "backup export", Ok(()))?;
    let text = format!("{} is in {}: {}\n", backup.id, to.display(), files.join(", "));
    let data = Exported { backup: &backup.id, path: to.display().to_string(), files };
    cx.ui.result("backup export", Some(name.as_str()), &data, &text);
    Ok(())
}

fn write(cx: &Context, source: &Source<'_>, to: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for part in &source.record.parts {
        let path = to.join(part.what.stream());
        source.into_file(cx, part, &path)?;
        files.push(part.what.stream().to_owned());
        if matches!(part.witness, Witness::Files { .. }) {
            let path = to.join("files.tar");
            let failed = || format!("could not write `{}`", path.display());
            cx.host.write(&path, b"", Owner::ROOT, 0o600)?;
            let mut file = std::fs::File::options().write(true).open(&path).context(failed)?;
            let tags = tags(&source.of, &source.record.id, TREE_PART);
            cx.host.read_tree(source.at, &tags, "/", |mut archive| {
                std::io::copy(&mut archive, &mut file).context(failed).map(|_| ())
            })?;
            files.push("files.tar".into());
        }
    }
    let text = source.record.text()?;
    cx.host.write(&to.join("record.json"), text.as_bytes(), Owner::ROOT, 0o600)?;
    files.push("record.json".into());
    Ok(files)
}
