//! Makes a backup: all of its parts and then its record, or none.

use std::{io::Write, path::Path};

use jiff::Timestamp;
use serde::Serialize;

use super::{Record, bring, bucket, files, offsite, repository};
use crate::{
    commands::{Context, checkpoint::take, db::mysql, redis, secrets::transfer},
    error::{Context as _, Error, Result},
    names::{BackupId, ProjectName, ReleaseId},
    projects::backup::{self, Part, RECORD, RECORD_PART, What, Witness, odd_links, parts_of, tags},
    registry::{Backup, BackupKind, BackupOrigin, BackupState, Project, Release},
    sys::{moment::Shape, restic::Repository, signals::Changing},
    ui::{bytes, elapsed},
};

/// Back a project up
///
/// Keeps its databases, its files, its environment and what hostkit knows of it in an encrypted
/// repository on this server: enough to make it anew elsewhere. What did not change since the last
/// time takes no room. A backup of which any part fails is none: the command fails, and earlier
/// backups stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit backup create my-shop
  hostkit backup create my-shop --type db
  hostkit backup create my-shop --offsite
  hostkit backup create --host")]
pub struct Args {
    /// Project to back up
    #[arg(required_unless_present = "host")]
    pub name: Option<String>,

    /// What to keep
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value = "full")]
    kind: BackupKind,

    /// Copy it to the second place, too
    #[arg(long)]
    offsite: bool,

    /// Back up the server itself: registry, configuration, certificates, operators
    #[arg(long, conflicts_with_all = ["name", "kind"])]
    host: bool,
}

/// The first line of a list of files.
const LIST: &str = "# kind hash size changed noticed inode path\n";

#[derive(Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    backup: &'a Backup,
    milliseconds: u128,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let start = std::time::Instant::now();
    let Some(name) = &args.name else { return super::host::create(args.offsite, cx) };
    let name: ProjectName = name.parse()?;
    cx.registry()?.living_project(&name)?;
    if args.offsite && offsite::of(cx)?.is_none() {
        return Err(Error::usage("no_offsite", "no second place for backups is set up")
            .hint("hostkit config set backup.offsite sftp:user@host:/path"));
    }
    let open = repository::open(cx, &format!("backup create {name}"))?;
    let mut made = make(cx, &open.repository, &name, args.kind, BackupOrigin::Manual)?;
    if args.offsite {
        let copied = offsite::copy(cx, &mut made);
        cx.record(Some(&name), "backup copy", copied).map_err(|error| {
            let hint = format!("{} itself is complete on this server", made.id);
            let hint = error.hint.as_ref().map_or(hint.clone(), |more| format!("{hint}; {more}"));
            error.hint(hint)
        })?;
    }
    drop(open);
    report(cx, &made, start.elapsed());
    Ok(())
}

pub fn report(cx: &Context, made: &Backup, took: std::time::Duration) {
    let of = made.project.as_ref().map_or("the server", ProjectName::as_str);
    let text = if cx.ui.voice.quiet {
        format!("{}\n", made.id)
    } else {
        let copied = if made.copied_at.is_some() { ", here and elsewhere" } else { "" };
        let next = made
            .project
            .as_ref()
            .map(|name| {
                format!("Next:  hostkit backup drill {name}  ·  hostkit backup list {name}\n")
            })
            .unwrap_or_default();
        format!(
            "{} holds {of}: {} read, {} new{copied} ({})\n{next}",
            made.id,
            bytes(made.bytes),
            bytes(made.stored),
            elapsed(took)
        )
    };
    let data = Made { backup: made, milliseconds: took.as_millis() };
    let name = made.project.as_ref().map(ProjectName::as_str);
    cx.ui.result("backup create", name, &data, &text);
}

/// One backup of a project. Whoever calls holds the repository.
pub fn make(
    cx: &mut Context,
    at: &Repository,
    name: &ProjectName,
    kind: BackupKind,
    origin: BackupOrigin,
) -> Result<Backup> {
    let _changing = Changing::begin();
    let begun = begin(cx, at, name, kind, origin)?;
    let kept = keep(cx, at, &begun);
    let (project, mut backup) = (begun.project, begun.backup);
    let ended = kept.and_then(|record| {
        backup.bytes = record.parts.iter().map(|part| part.bytes).sum::<u64>();
        backup.stored = begun.stored.get();
        backup.record = Some(record.text()?);
        backup.state = BackupState::Complete;
        backup.ended_at = Some(Timestamp::now());
        cx.registry()?.complete_backup(&backup)
    });
    let ended = ended.map_err(|error| fail(cx, at, &project.name, &backup, error));
    cx.record(Some(&project.name), "backup create", ended)?;
    Ok(backup)
}

/// Nothing of it stays but the row that says so. Earlier ones are as they were.
fn fail(
    cx: &mut Context,
    at: &Repository,
    name: &ProjectName,
    backup: &Backup,
    error: Error,
) -> Error {
    let swept = files::sweep(cx, name)
        .and_then(|()| repository::forget(cx, at, name.as_str(), &backup.id))
        .and_then(|()| cx.registry()?.fail_backup(backup, &error.to_string()));
    if let Err(more) = swept {
        cx.ui.note(format!("and: {more}"));
    }
    let Error { kind, code, message, cause, hint, place } = error;
    let cause = cause.map_or(message.clone(), |cause| format!("{message}: {cause}"));
    let message = format!("the backup of {name} failed");
    let code = if code == "failed" { "backup_failed" } else { code };
    let hint =
        hint.or_else(|| Some("earlier backups are as they were; mend that and try again".into()));
    Error { kind, code, message, cause: Some(cause), hint, place }
}

/// What a backup is about, once it has begun.
struct Begun {
    project: Project,
    backup: Backup,
    release: Option<Release>,
    stored: std::cell::Cell<u64>,
}

fn begin(
    cx: &mut Context,
    at: &Repository,
    name: &ProjectName,
    kind: BackupKind,
    origin: BackupOrigin,
) -> Result<Begun> {
    check_room(cx, at)?;
    // The project itself is held for a moment only: a deploy need not wait for a long backup.
    let held = cx.take_project(name, "backup create")?;
    let project = cx.registry()?.living_project(name)?;
    end_interrupted(cx, at, Some(name))?;
    // Nobody restores it now: whoever did, and died, has left what he brought.
    bring::sweep(cx, name)?;
    files::sweep(cx, name)?;
    let live = project.live.as_ref().map(|live| live.id.clone());
    let release = cx.registry()?.releases(name)?.into_iter().find(|r| Some(&r.id) == live.as_ref());
    let id = cx.registry()?.next_backup(Some(name))?;
    let backup = Backup { project: Some(name.clone()), id, kind, ..blank(cx, origin) };
    cx.registry()?.add_backup(&backup)?;
    drop(held);
    Ok(Begun { project, backup, release, stored: std::cell::Cell::new(0) })
}

/// One that has just begun.
pub fn blank(cx: &Context, origin: BackupOrigin) -> Backup {
    let made_at = Timestamp::now();
    Backup {
        seq: 0,
        project: None,
        id: BackupId::at(made_at, 1),
        kind: BackupKind::Full,
        origin,
        state: BackupState::Running,
        proven: None,
        actor: cx.caller.actor(),
        made_at,
        ended_at: None,
        bytes: 0,
        stored: 0,
        error: None,
        record: None,
        proof: None,
        proven_at: None,
        copied_at: None,
        is_local: true,
    }
}

/// What was under way when its hostkit ended is no backup.
pub fn end_interrupted(
    cx: &mut Context,
    at: &Repository,
    name: Option<&ProjectName>,
) -> Result<()> {
    let open: Vec<Backup> = cx
        .registry()?
        .backups(name)?
        .into_iter()
        .filter(|backup| backup.state == BackupState::Running)
        .collect();
    for backup in open {
        let of = name.map_or(backup::HOST, ProjectName::as_str);
        repository::forget(cx, at, of, &backup.id)?;
        cx.registry()?.fail_backup(&backup, "it was interrupted")?;
        let _ = cx.record(name, "backup create", Err(Error::failed("it was interrupted")));
    }
    Ok(())
}

pub fn check_room(cx: &Context, at: &Repository) -> Result<()> {
    let place = Path::new(&at.place);
    let Some((free, _)) = cx.host.free_space(place)? else { return Ok(()) };
    let reserve = cx.config.disk.reserve;
    if free >= reserve.0 {
        return Ok(());
    }
    Err(Error::not_ready("disk_full", format!("the file system of `{}` is full", at.place))
        .caused_by(format!("{} are free, and {reserve} is the least (`disk.reserve`)", bytes(free)))
        .hint("make room: `df -h`, `hostkit backup rotate`"))
}

fn keep(cx: &mut Context, at: &Repository, begun: &Begun) -> Result<Record> {
    let Begun { project, backup, release, stored } = begun;
    let mut parts = Vec::new();
    let has_secrets = !cx.registry()?.secrets(&project.name)?.is_empty();
    let is_there = |what: &What| *what != What::Secrets || has_secrets;
    for what in parts_of(backup.kind, project).into_iter().filter(is_there) {
        let part = super::phase(cx, what.as_str(), |cx| {
            let part = match what {
                What::Files => keep_files(cx, at, begun)?,
                What::Secrets => {
                    let text = transfer::export(cx, &project.name, "kept in a backup")?.json()?;
                    keep_stream(cx, at, begun, what, |to| {
                        hand_on(text.expose().as_bytes(), to).map(|()| Witness::Bytes)
                    })?
                }
                _ => keep_stream(cx, at, begun, what, |to| produce(cx, project, what, to))?,
            };
            let read = bytes(part.bytes);
            Ok((part, read))
        })?;
        parts.push(part);
    }
    let record = Record {
        version: backup::VERSION,
        hostkit: env!("CARGO_PKG_VERSION").into(),
        id: backup.id.clone(),
        kind: backup.kind,
        made_at: backup.made_at,
        project: Some(project.clone()),
        release: release.clone(),
        parts,
    };
    let text = record.text()?;
    let tags = tags(project.name.as_str(), &backup.id, RECORD_PART);
    let kept = cx.host.keep_stream(at, &tags, RECORD, |to| {
        to.write_all(text.as_bytes()).context(|| "could not write the record".into())
    })?;
    stored.set(stored.get() + kept.stored);
    Ok(record)
}

/// One stream, and what was seen of it meanwhile.
fn keep_stream(
    cx: &Context,
    at: &Repository,
    begun: &Begun,
    what: What,
    produce: impl FnOnce(&mut dyn Write) -> Result<Witness<Shape>>,
) -> Result<Part<Shape>> {
    let Begun { project, backup, stored, .. } = begun;
    let tags = tags(project.name.as_str(), &backup.id, what.as_str());
    let mut witness = Witness::Bytes;
    let kept = cx.host.keep_stream(at, &tags, what.stream(), |to| {
        witness = produce(to)?;
        Ok(())
    })?;
    stored.set(stored.get() + kept.stored);
    Ok(Part { what, bytes: kept.bytes, sha256: kept.sha256, witness })
}

/// Writes a part down as it is now.
fn produce(
    cx: &Context,
    project: &Project,
    what: What,
    to: &mut dyn Write,
) -> Result<Witness<Shape>> {
    match what {
        What::Database => {
            let login = take::login(cx, project)?;
            let database = project.name.database();
            let moment = cx.host.moment(&database, &login)?;
            let id = moment.id.clone();
            // Both see the same moment, so they need not see it one after the other.
            std::thread::scope(|scope| {
                let shape = scope.spawn(|| moment.shape());
                let dumped = cx.host.stream_database(&database, &login, &id, to);
                let died = |_| Err(Error::failed("nobody counted the rows"));
                // Whose own question fails ends the moment for the dump, too.
                let shape = shape.join().unwrap_or_else(died)?;
                dumped.map(|()| Witness::Database { shape })
            })
        }
        What::Mysql => {
            let entry = mysql::entry(cx, project)?;
            let shape = cx.host.count_mysql(&project.name.database(), &entry, to)?;
            Ok(Witness::Database { shape })
        }
        What::Redis => {
            let keys = cx.host.dump_keys(&redis::keys_of(project)?, to)?;
            Ok(Witness::Keys { keys })
        }
        What::Bucket => {
            let objects = bucket::pack(cx, project, to)?;
            let objects = objects.ok_or_else(|| Error::failed("it has no bucket"))?;
            Ok(Witness::Objects { objects })
        }
        What::Environment => {
            let env = cx.host.read(&project.name.env_file())?.ok_or_else(|| {
                Error::failed(format!("`{}` is missing", project.name.env_file().display()))
                    .hint(format!("hostkit repair {}", project.name))
            })?;
            let env: &[u8] = if env.is_empty() {
                b"
"
            } else {
                &env
            };
            hand_on(env, to).map(|()| Witness::Bytes)
        }
        What::Files | What::Secrets | What::People | What::Registry | What::Settings => {
            Err(Error::failed(format!("`{}` is no stream of a project", what.as_str())))
        }
    }
}

fn hand_on(bytes: &[u8], to: &mut dyn Write) -> Result<()> {
    to.write_all(bytes).context(|| "could not hand it on".into())
}

fn keep_files(cx: &Context, at: &Repository, begun: &Begun) -> Result<Part<Shape>> {
    let Begun { project, backup, release, stored } = begun;
    let release: Option<&ReleaseId> = release.as_ref().map(|release| &release.id);
    let tree = files::keep(cx, &project.name, &backup.id, at, release)?;
    let tags = tags(project.name.as_str(), &backup.id, What::Files.as_str());
    let kept = cx.host.keep_stream(at, &tags, What::Files.stream(), |to| {
        // restic keeps nothing that is empty.
        let list = format!("{LIST}{}", tree.list);
        to.write_all(list.as_bytes()).context(|| "could not hand on a list".into())
    })?;
    stored.set(stored.get() + kept.stored + tree.summary.data_added);
    let labels = ["shared", "release"];
    let odd_links = labels.iter().map(|label| odd_links(&tree.list, label).len() as u64).sum();
    let files = tree.list.lines().count() as u64;
    let witness = Witness::Files { files, changed: tree.changed, odd_links };
    Ok(Part {
        what: What::Files,
        bytes: tree.summary.total_bytes_processed,
        sha256: kept.sha256,
        witness,
    })
}
