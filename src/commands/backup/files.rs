//! A project's files: kept, and listed, by units that see nothing else of the server.

use std::path::{Path, PathBuf};

use super::repository::{KEY, PLACE, STATE};
use crate::{
    commands::Context,
    error::{Error, Result},
    names::{BackupId, ProjectName, ReleaseId},
    projects::backup::{
        ReadingUnit, TREE_PART, excused, missed, reading_unit, reading_units, tags, unkept,
        without, witnessed,
    },
    sys::{
        Owner,
        restic::{self, CACHE, Repository, Summary, last_summary},
        signals,
        systemd::{Ended, Verb},
    },
};

const UNITS: &str = "/run/systemd/system";
const HOSTKIT: &str = "/usr/bin/hostkit";

/// A tree as it was kept.
pub struct Tree {
    pub summary: Summary,
    /// Those of its files that nobody changed meanwhile, and how many others there were.
    pub list: String,
    pub changed: u64,
}

pub fn state_dir(name: &ProjectName) -> PathBuf {
    Path::new(STATE).join(name.as_str())
}

/// Where the units write: empty but while one runs.
fn work_dir(name: &ProjectName) -> PathBuf {
    state_dir(name).join("work")
}

fn earlier_list(name: &ProjectName) -> PathBuf {
    state_dir(name).join("files.list")
}

/// The name of the snapshot that was kept last.
fn earlier_tree(name: &ProjectName) -> PathBuf {
    state_dir(name).join("files.tree")
}

/// Ends what a backup left whose hostkit was killed. Whoever holds the repository may.
pub fn sweep(cx: &Context, name: &ProjectName) -> Result<()> {
    let prefix = reading_units(name);
    for unit in cx.host.list(Path::new(UNITS))? {
        let Some(unit) = unit.to_str().filter(|unit| unit.starts_with(&prefix)) else { continue };
        let is = cx.host.unit(unit)?;
        if is.active != "inactive" && is.active != "failed" {
            cx.host.unit_job(Verb::Stop, unit)?;
        }
        cx.host.reset_failed(unit)?;
        cx.host.remove_file(&Path::new(UNITS).join(unit))?;
    }
    cx.host.remove_tree(&work_dir(name))
}

/// Keeps `shared/` and a release.
pub fn keep(
    cx: &Context,
    name: &ProjectName,
    id: &BackupId,
    repository: &Repository,
    release: Option<&ReleaseId>,
) -> Result<Tree> {
    let home = name.home();
    let mut trees = vec![("shared".to_owned(), home.join("shared"))];
    trees.extend(release.map(|id| ("release".to_owned(), home.join("releases").join(id.as_str()))));
    let paths: Vec<String> = trees.iter().map(|(_, dir)| dir.display().to_string()).collect();
    open_work(cx, name)?;
    let known = std::fs::metadata(earlier_list(name)).is_ok();
    if known {
        let list = cx.host.read_long(&earlier_list(name))?;
        cx.host.write(&work_dir(name).join("known"), &list, Owner::ROOT, 0o600)?;
    }
    let mut keep: Vec<String> = [restic::PROGRAM, "--repo", "/repository", "--cache-dir", "/cache"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    keep.extend(["backup", "--json", "--host", "hostkit", "--tag"].map(str::to_owned));
    keep.push(tags(name.as_str(), id, TREE_PART).join(","));
    if let Some(parent) = parent(cx, name, repository)? {
        keep.extend(["--parent".to_owned(), parent]);
    }
    let (ended, _, err) = run(cx, name, &trees, &[digest(&trees, "before", "known")], false)?;
    check(&ended, &err)?;
    let before = read(cx, name, "before")?;
    let home = format!("{}/", home.display());
    let places = [format!("{home}shared"), paths.last().cloned().unwrap_or_default()];
    let left_out = unkept(&before, ["shared", "release"].into_iter().zip(places));
    cx.host.write(&work_dir(name).join("exclude"), &left_out, Owner::ROOT, 0o600)?;
    keep.extend(["--exclude-file".to_owned(), "/work/exclude".into()]);
    keep.extend(paths.iter().cloned());
    let (ended, out, err) = run(cx, name, &trees, &[keep], true)?;
    let missing = unread(&ended, &err)?;
    let after = digest(&trees, "after", "before");
    let (ended, _, err) = run(cx, name, &trees, &[after], false)?;
    check(&ended, &err)?;
    let last = read(cx, name, "after")?;
    let gone = excused(&missing, (&before, &last), &trees).map_err(|item| {
        Error::failed("could not read the project's files")
            .caused_by(format!("restic could not read `{item}`, which nobody moved meanwhile"))
    })?;
    let (list, changed) = witnessed(&before, &last);
    let (list, less) = without(&list, &gone);
    cx.host.write(&earlier_list(name), last.as_bytes(), Owner::ROOT, 0o600)?;
    let summary = last_summary(&out);
    cx.host.write(&earlier_tree(name), summary.snapshot_id.as_bytes(), Owner::ROOT, 0o600)?;
    cx.host.remove_tree(&work_dir(name))?;
    Ok(Tree { summary, list, changed: changed + less })
}

/// The list of trees that came back.
pub fn list(cx: &Context, name: &ProjectName, trees: &[(String, PathBuf)]) -> Result<String> {
    open_work(cx, name)?;
    let (ended, _, err) = run(cx, name, trees, &[digest(trees, "back", "none")], false)?;
    check(&ended, &err)?;
    let back = read(cx, name, "back")?;
    cx.host.remove_tree(&work_dir(name))?;
    Ok(back)
}

fn read(cx: &Context, name: &ProjectName, file: &str) -> Result<String> {
    let bytes = cx.host.read_long(&work_dir(name).join(file))?;
    String::from_utf8(bytes).map_err(|_| Error::failed("a list of files is no text"))
}

fn open_work(cx: &Context, name: &ProjectName) -> Result<()> {
    for dir in [Path::new(STATE), &state_dir(name)] {
        if cx.host.meta(dir)?.is_none() {
            cx.host.make_dir(dir, Owner::ROOT, 0o700)?;
        }
    }
    cx.host.remove_tree(&work_dir(name))?;
    cx.host.make_dir(&work_dir(name), Owner::ROOT, 0o700)
}

fn digest(trees: &[(String, PathBuf)], to: &str, known: &str) -> Vec<String> {
    let mut words: Vec<String> =
        [HOSTKIT, "digest", "--to"].into_iter().map(str::to_owned).collect();
    words.extend([format!("/work/{to}"), "--known".into(), format!("/work/{known}")]);
    words.extend(trees.iter().map(|(label, dir)| format!("{label}={}", dir.display())));
    words
}

/// What was kept last, whose unchanged files need not be read again.
fn parent(cx: &Context, name: &ProjectName, at: &Repository) -> Result<Option<String>> {
    // As it was told when it was kept, if it is still there: to ask the repository takes its time.
    let told = cx.host.read_text(&earlier_tree(name))?.unwrap_or_default();
    let told = told.trim();
    if told.len() >= 8 && told.bytes().all(|b| b.is_ascii_hexdigit()) {
        let kept = cx.host.list(&Path::new(&at.place).join("snapshots"))?;
        if kept.iter().any(|id| id.to_str().is_some_and(|id| id.starts_with(told))) {
            return Ok(Some(told.to_owned()));
        }
    }
    let of = [format!("project={name}"), format!("part={TREE_PART}")];
    Ok(cx.host.snapshots(at, &of)?.pop().map(|snapshot| snapshot.id))
}

/// Runs commands in one unit: how that ended, and what they said.
fn run(
    cx: &Context,
    name: &ProjectName,
    trees: &[(String, PathBuf)],
    commands: &[Vec<String>],
    with_repository: bool,
) -> Result<(Ended, String, String)> {
    let work = work_dir(name);
    let (out, err) = (work.join("out"), work.join("err"));
    let reads: Vec<String> = trees.iter().map(|(_, dir)| dir.display().to_string()).collect();
    let mut writes = vec![format!("{}:/work", work.display())];
    if with_repository {
        writes.extend([format!("{PLACE}:/repository"), format!("{CACHE}:/cache")]);
    }
    let (out_name, err_name) = (out.display().to_string(), err.display().to_string());
    let text = reading_unit(
        &ReadingUnit {
            project: name,
            title: "read its files",
            commands,
            key: with_repository.then_some(KEY),
            out: &out_name,
            err: &err_name,
            reads: &reads,
            writes: &writes,
        },
        &cx.templates()?,
    )?;
    // Two of one process have two names: systemd would take the second for the first.
    let number = if with_repository { "keep" } else { "list" };
    let nonce = jiff::Timestamp::now().as_microsecond();
    let unit = format!("{}{}-{number}-{nonce}.service", reading_units(name), std::process::id());
    let file = Path::new(UNITS).join(&unit);
    for path in [&out, &err] {
        cx.host.write(path, b"", Owner::ROOT, 0o600)?;
    }
    cx.host.write(&file, text.as_bytes(), Owner::ROOT, 0o644)?;
    let ended = cx.host.attend(&unit, signals::check);
    if ended.is_err() {
        let _ = cx.host.unit_job(Verb::Stop, &unit);
        let _ = cx.host.reset_failed(&unit);
    }
    cx.host.remove_file(&file)?;
    let said = |path: &Path| -> Result<String> {
        Ok(String::from_utf8_lossy(&cx.host.read_long(path)?).into_owned())
    };
    Ok((ended?, said(&out)?, said(&err)?))
}

fn check(ended: &Ended, err: &str) -> Result<()> {
    if ended.result == "success" {
        return Ok(());
    }
    Err(failed(ended, err, err.lines().map(str::trim).filter(|line| !line.is_empty())))
}

/// What restic did not read, where nothing else went wrong.
fn unread(ended: &Ended, err: &str) -> Result<Vec<String>> {
    if ended.result == "success" {
        return Ok(Vec::new());
    }
    let found = missed(err);
    let is_partial = ended.result == "exit-code" && ended.status == 3;
    match found {
        Ok(missed) if is_partial && !missed.is_empty() => Ok(missed),
        Ok(missed) => Err(failed(ended, err, missed.iter().map(String::as_str))),
        Err(wrong) => Err(failed(ended, err, wrong.iter().map(String::as_str))),
    }
}

fn failed<'a>(ended: &Ended, err: &str, wrong: impl Iterator<Item = &'a str>) -> Error {
    let mut why: Vec<&str> = wrong.take(5).collect();
    let how = format!("{} ({})", ended.result, ended.status);
    if why.is_empty() {
        why.push(&how);
    }
    let error = Error::failed("could not read the project's files").caused_by(why.join("\n"));
    // Only restic's own words: the rest are names of files.
    let own: Vec<&str> = err.lines().filter(|line| !line.starts_with('{')).collect();
    match restic::explained(Error::failed("").caused_by(own.join("\n"))) {
        known if known.code != "failed" => known,
        _ => error,
    }
}
