//! Brings a backup back to a place of its own, and compares it with what was seen when it was made.

use std::{path::PathBuf, time::Instant};

use serde::{Deserialize, Serialize};

use super::{
    bring::{Source, check_room},
    files, find, repository, restore, tag, whereabouts,
};
use crate::{
    commands::{Context, checkpoint::take, db::mysql, secrets::transfer::Exported},
    error::{Context as _, Error, Kind, Result},
    names::{BackupId, ProjectName},
    projects::backup::{What, Witness, compare},
    registry::{Backup, Project},
    steps::{Database, Step, drill, mysql_drill},
    sys::{FileKind, Owner, moment::Shape, signals::Changing},
    ui::{count, elapsed},
};

/// Prove that a backup comes back
///
/// Restores it into a database and a directory of its own, compares schema, rows and files with
/// what was seen when it was made, runs the project's own check, and takes all of that away again.
/// The backup is marked as proven, or as unproven. The project itself is not touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup drill my-shop
  hostkit backup drill my-shop 20261121-093012

Exit codes: 6 where it does not come back as it was")]
pub struct Args {
    /// Project whose backup to prove
    pub name: String,

    /// The backup; the newest unless it is named
    id: Option<String>,
}

/// What a drill found: for an auditor.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Proof {
    pub proven: bool,
    pub checks: Vec<Checked>,
    pub milliseconds: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Checked {
    pub what: String,
    pub ok: bool,
    pub found: String,
}

#[derive(Serialize)]
struct Told<'a> {
    backup: &'a BackupId,
    #[serde(flatten)]
    proof: &'a Proof,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.living_project(&name)?;
    let backup = find(cx, Some(&name), args.id.as_deref())?;
    let open = repository::open(cx, &format!("backup drill {name}"))?;
    let proof = prove(cx, &name, &backup)?;
    drop(open);
    let text: String = proof
        .checks
        .iter()
        .map(|checked| {
            let mark = if checked.ok { "ok" } else { "WRONG" };
            format!("  {mark:<6} {:<12} {}\n", checked.what, checked.found)
        })
        .collect();
    let took = elapsed(std::time::Duration::from_millis(proof.milliseconds));
    if !proof.proven {
        return Err(unproven(&name, &backup.id, &proof));
    }
    let text = format!("{text}{} is proven ({took})\n", backup.id);
    let told = Told { backup: &backup.id, proof: &proof };
    cx.ui.result("backup drill", Some(name.as_str()), &told, &text);
    Ok(())
}

pub fn unproven(name: &ProjectName, id: &BackupId, proof: &Proof) -> Error {
    let wrong: Vec<String> = proof
        .checks
        .iter()
        .filter(|checked| !checked.ok)
        .map(|checked| format!("{}: {}", checked.what, checked.found))
        .collect();
    Error::new(Kind::Unhealthy, "unproven", format!("{id} of {name} does not come back as it was"))
        .caused_by(wrong.join("\n"))
        .hint(format!("make a new one: `hostkit backup create {name}`; see how far it goes: `hostkit backup verify`"))
}

/// Proves one backup, and writes down what came of it. Whoever calls holds the repository.
pub fn prove(cx: &mut Context, name: &ProjectName, backup: &Backup) -> Result<Proof> {
    let start = Instant::now();
    let _changing = Changing::begin();
    let project = cx.registry()?.living_project(name)?;
    sweep(cx, &project)?;
    let mut proof = Proof::default();
    let looked = look(cx, &project, backup, &mut proof);
    let swept = sweep(cx, &project);
    if let Err(error) = looked {
        // What says nothing of the backup is no verdict on it.
        if is_about_us(&error) {
            swept?;
            return Err(error);
        }
        proof.add("backup", Err(error));
    }
    proof.proven = !proof.checks.is_empty() && proof.checks.iter().all(|checked| checked.ok);
    proof.milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let text = serde_json::to_string(&proof)
        .map_err(|e| Error::failed("could not write down a proof").caused_by(e))?;
    cx.registry()?.judge_backup(backup, proof.proven, &text)?;
    let verdict = if proof.proven {
        Ok(())
    } else {
        Err(Error::failed(unproven(name, &backup.id, &proof).to_string()))
    };
    let noted = cx.record(Some(name), "backup drill", verdict);
    if proof.proven {
        noted?;
    }
    swept?;
    Ok(proof)
}

fn is_about_us(error: &Error) -> bool {
    matches!(error.kind, Kind::Interrupted(_) | Kind::Locked | Kind::NotReady | Kind::Stuck)
        || matches!(error.code, "wrong_key" | "disk_full")
}

impl Proof {
    pub fn add(&mut self, what: &str, found: Result<String>) {
        let ok = found.is_ok();
        let found = found.unwrap_or_else(|error| error.to_string());
        self.checks.push(Checked { what: what.into(), ok, found });
    }
}

fn scratch(name: &ProjectName) -> PathBuf {
    name.home().join(".drill")
}

/// Takes away what a drill made, also one that did not come to its end.
pub fn sweep(cx: &Context, project: &Project) -> Result<()> {
    let name = &project.name;
    files::sweep(cx, name)?;
    cx.host.remove_file(&files::state_dir(name).join("drill.dump"))?;
    let scratch = scratch(name);
    if cx.host.meta(&scratch)?.is_some_and(|meta| meta.kind == FileKind::Directory) {
        cx.host.seize(&scratch)?;
        cx.host.remove_tree(&scratch)?;
    }
    if project.postgres {
        cx.host.drop_database(&drill(&name.database()))?;
    }
    if project.mysql {
        let scratch = mysql_drill(&name.database());
        cx.host.unlend_mysql(&name.role(), &scratch)?;
        cx.host.end_mysql_filler(&scratch)?;
        cx.host.drop_mysql_database(&scratch)?;
    }
    Ok(())
}

fn look(cx: &mut Context, project: &Project, backup: &Backup, proof: &mut Proof) -> Result<()> {
    let at = whereabouts(cx, backup)?;
    let of = tag(backup.project.as_ref());
    let record = restore::record(cx, &at, of, &backup.id)?;
    let source = Source { at: &at, of: of.to_owned(), record: &record };
    for part in &record.parts {
        let what = part.what.as_str();
        let found = match (&part.witness, part.what) {
            (Witness::Database { shape }, What::Mysql) => in_mysql(cx, project, &source, shape),
            (Witness::Database { shape }, _) => database(cx, project, &source, shape),
            (Witness::Keys { keys }, _) => source
                .read(cx, part, |from| crate::sys::redis_copy::read_entries(from))
                .and_then(|entries| same(entries.len() as u64, *keys, "key")),
            (Witness::Files { .. }, _) => tree(cx, project, &source),
            (Witness::Objects { objects }, _) => source
                .read(cx, part, |from| super::bucket::look_through(from))
                .and_then(|seen| same(seen, *objects, "object")),
            (Witness::Bytes, What::Secrets) => source
                .text(cx, What::Secrets)
                .and_then(|text| Ok(count(Exported::parse(&text)?.len(), "value"))),
            (Witness::Bytes, What::Environment) => {
                source.text(cx, What::Environment).and_then(|text| {
                    let file = crate::envfile::EnvFile::parse(&text)?;
                    Ok(count(file.variables().count(), "variable"))
                })
            }
            (Witness::Bytes, _) => source
                .read(cx, part, |from| {
                    std::io::copy(from, &mut std::io::sink()).context(|| "could not read it".into())
                })
                .map(|n| format!("{n} bytes")),
        };
        match found {
            Err(error) if is_about_us(&error) => return Err(error),
            found => proof.add(what, found),
        }
    }
    super::check::run(cx, project, &scratch(&project.name), proof)
}

fn same(is: u64, was: u64, noun: &str) -> Result<String> {
    if is == was {
        return Ok(count(usize::try_from(is).unwrap_or(usize::MAX), noun));
    }
    Err(Error::failed(format!("{is} came back, and {was} were kept")))
}

/// The dump of a database, in a file, where there is room for it and for what it becomes.
fn bring(
    cx: &mut Context,
    source: &Source<'_>,
    name: &ProjectName,
    what: What,
    data: &str,
) -> Result<PathBuf> {
    let part = source.record.part(what).ok_or_else(|| Error::failed("it has none"))?;
    check_room(cx, &["/var/lib/hostkit", data], part.bytes)?;
    cx.host.make_dir(&files::state_dir(name), Owner::ROOT, 0o700)?;
    let dump = files::state_dir(name).join("drill.dump");
    source.into_file(cx, part, &dump)?;
    Ok(dump)
}

/// Into a database of its own, by the project's role.
fn database(
    cx: &mut Context,
    project: &Project,
    source: &Source<'_>,
    was: &Shape,
) -> Result<String> {
    let name = &project.name;
    let dump = bring(cx, source, name, What::Database, "/var/lib/postgresql")?;
    let login = take::login(cx, project)?;
    let scratch = drill(&name.database());
    let comment = format!("hostkit project {name}");
    Database { name: scratch.clone(), owner: name.role(), comment }.apply(&cx.host)?;
    cx.host.fill_database(&scratch, &login, &dump, &name.database())?;
    cx.host.remove_file(&dump)?;
    let is = cx.host.moment(&scratch, &login)?.shape()?;
    known_again(was, &is)
}

/// The same in MariaDB, by one who knows that database alone. Its views work in that one's name: it
/// stays as long as it does, and the project's account, whose check may look, is let in.
fn in_mysql(
    cx: &mut Context,
    project: &Project,
    source: &Source<'_>,
    was: &Shape,
) -> Result<String> {
    let name = &project.name;
    let dump = bring(cx, source, name, What::Mysql, "/var/lib/mysql")?;
    let user = mysql::entry(cx, project)?.user;
    let scratch = mysql_drill(&name.database());
    cx.host.drop_mysql_database(&scratch)?;
    cx.host.make_mysql_database(&scratch, &format!("hostkit project {name}"))?;
    let filler = cx.host.make_mysql_filler(&scratch, user)?;
    cx.host.fill_mysql(&scratch, &filler, &dump)?;
    cx.host.remove_file(&dump)?;
    let is = cx.host.count_mysql(&scratch, &filler, &mut std::io::sink())?;
    cx.host.lend_mysql(&name.role(), &scratch)?;
    known_again(was, &is)
}

fn known_again(was: &Shape, is: &Shape) -> Result<String> {
    for (table, rows) in &was.tables {
        match is.tables.get(table) {
            Some(is) if is == rows => {}
            Some(is) => {
                return Err(Error::failed(format!("`{table}` has {is} rows, and had {rows}")));
            }
            None => return Err(Error::failed(format!("there is no table `{table}`"))),
        }
    }
    if is.tables.len() != was.tables.len() {
        return Err(Error::failed("there are tables that were not kept"));
    }
    if is.schema != was.schema {
        return Err(Error::failed("its schema is not the one that was kept"));
    }
    let rows: i64 = is.tables.values().sum();
    Ok(format!("{}, {rows} rows, schema {:.12}", count(is.tables.len(), "table"), is.schema))
}

/// Into a directory of its own, by the project's user.
fn tree(cx: &mut Context, project: &Project, source: &Source<'_>) -> Result<String> {
    let name = &project.name;
    let part = source.record.part(What::Files).ok_or_else(|| Error::failed("it has none"))?;
    check_room(cx, &["/home"], part.bytes)?;
    let kept = source.text(cx, What::Files)?;
    let scratch = scratch(name);
    let user = Owner::new(project.uid, project.uid);
    cx.host.make_dir(&scratch, Owner::new(0, project.uid), 0o750)?;
    let mut trees = Vec::new();
    let mut bring = |label: &str, from: String| -> Result<()> {
        let into = scratch.join(label);
        cx.host.make_dir(&into, user, 0o700)?;
        source.unpack(cx, (&from, label), &into, user)?;
        trees.push((label.to_owned(), into));
        Ok(())
    };
    bring("shared", format!("/home/{}/shared", source.of))?;
    if let Some(release) = &source.record.release {
        bring("release", format!("/home/{}/releases/{}", source.of, release.id))?;
    }
    let back = files::list(cx, name, &trees)?;
    let found = compare(&kept, &back);
    let Witness::Files { files, changed, .. } = part.witness else {
        return Err(Error::failed("nobody saw it when it was kept"));
    };
    if found.wrong > 0 || found.files != files {
        return Err(Error::failed(format!(
            "{} of {} are not as they were",
            found.wrong,
            count(usize::try_from(files).unwrap_or(usize::MAX), "file")
        ))
        .caused_by(found.examples.join(", ")));
    }
    let meanwhile = if changed > 0 {
        format!(" ({changed} more changed while they were kept)")
    } else {
        String::new()
    };
    Ok(format!(
        "{} with the hashes that they had{meanwhile}",
        count(usize::try_from(files).unwrap_or(usize::MAX), "file")
    ))
}
