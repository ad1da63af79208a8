//! Brings the parts of a backup to where they can be put in place, checked on their way.

use std::{fs::File, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use super::{Record, bucket, files::state_dir};
use crate::{
    commands::{
        Context,
        checkpoint::{restore::restored, take},
        deploy::{stage::Stage, switch},
        redis,
        secrets::transfer,
    },
    envfile::EnvFile,
    error::{Context as _, Error, Result},
    names::{CheckpointId, ProjectName},
    projects::{
        self, ManagedEnv,
        backup::{Part, TREE_PART, What, Witness, odd_links, tags},
    },
    registry::{Live, Project, Release, ReleaseState},
    steps::{AnyStep, Filled, MysqlRestored, Restored, Swapped},
    sys::{FileKind, Owner, links::Copied, moment::Shape, redis_keys::Keys, restic::Repository},
};

/// Where Python's packages are, in each release.
const INSTALLED: &str = "venv";

/// A backup that is brought back, and where it is read.
pub struct Source<'a> {
    pub at: &'a Repository,
    /// The project that it is of, which need not be the one that it is brought to.
    pub of: String,
    pub record: &'a Record,
}

/// Which of its parts.
#[derive(Clone, Copy, Debug)]
pub struct Chosen {
    pub data: bool,
    pub files: bool,
    pub env: bool,
}

/// What waits to be put in place.
#[derive(Default)]
pub struct Brought {
    pub steps: Vec<AnyStep>,
    pub env: Option<String>,
    pub live: Option<Live>,
    pub names: Vec<&'static str>,
}

/// Where files wait, in the home, so that they can be put in place by one rename.
pub fn waiting_room(name: &ProjectName) -> PathBuf {
    name.home().join(".restore")
}

fn kept_dump(name: &ProjectName) -> PathBuf {
    state_dir(name).join("restore.dump")
}

/// Takes away what a restoration leaves beside what it put in place.
pub fn sweep(cx: &Context, name: &ProjectName) -> Result<()> {
    for file in ["restore.dump", "restore.sql", "restore.keys", "before.keys"] {
        cx.host.remove_file(&state_dir(name).join(file))?;
    }
    let room = waiting_room(name);
    if cx.host.meta(&room)?.is_some() {
        cx.host.seize(&room)?;
        cx.host.remove_tree(&room)?;
    }
    Ok(())
}

impl Source<'_> {
    fn part(&self, what: What) -> Option<&Part<Shape>> {
        self.record.part(what)
    }

    /// A stream of the backup in a new file of root's; an error unless it is what was kept.
    pub fn into_file(&self, cx: &Context, part: &Part<Shape>, path: &PathBuf) -> Result<()> {
        let failed = || format!("could not write `{}`", path.display());
        cx.host.remove_file(path)?;
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(path).context(failed)?;
        let mut to = std::io::BufWriter::with_capacity(1 << 20, &file);
        self.read(cx, part, |from| std::io::copy(from, &mut to).context(failed))?;
        to.flush().context(failed)?;
        drop(to);
        file.sync_all().context(failed)
    }

    /// Reads a stream of the backup; an error unless it is what was kept.
    pub fn read<T>(
        &self,
        cx: &Context,
        part: &Part<Shape>,
        consume: impl FnOnce(&mut dyn std::io::Read) -> Result<T>,
    ) -> Result<T> {
        let tags = tags(&self.of, &self.record.id, part.what.as_str());
        let (value, came) = cx.host.read_stream(self.at, &tags, part.what.stream(), consume)?;
        if came.sha256 == part.sha256 {
            return Ok(value);
        }
        Err(Error::failed(format!("the {} of {} is damaged", part.what.as_str(), self.record.id))
            .coded("damaged")
            .caused_by("its hash is not the one that it was kept with"))
    }

    pub fn text(&self, cx: &Context, what: What) -> Result<String> {
        let part = self.part(what).ok_or_else(|| lacks(what))?;
        let mut bytes = Vec::new();
        self.read(cx, part, |from| {
            std::io::Read::read_to_end(from, &mut bytes).context(|| "could not read it".into())
        })?;
        String::from_utf8(bytes)
            .map_err(|_| Error::failed(format!("the {} is no text", what.as_str())))
    }

    /// A tree of the backup, by its directory and its name in the list, into another directory, by
    /// the project's own user.
    pub fn unpack(
        &self,
        cx: &Context,
        (dir, label): (&str, &str),
        into: &std::path::Path,
        user: Owner,
    ) -> Result<()> {
        let tags = tags(&self.of, &self.record.id, TREE_PART);
        cx.host.unpack_tree(self.at, &tags, dir, into, user)?;
        match self.part(What::Files).map(|part| &part.witness) {
            Some(Witness::Files { odd_links: 1.., .. }) => {
                cx.host.mend_links(into, &odd_links(&self.text(cx, What::Files)?, label), user)
            }
            _ => Ok(()),
        }
    }

    /// Brings what was chosen to a project that is there.
    pub fn bring(
        &self,
        cx: &mut Context,
        project: &Project,
        chosen: Chosen,
        before: Option<&CheckpointId>,
    ) -> Result<Brought> {
        let mut brought = Brought::default();
        sweep(cx, &project.name)?;
        let dir = state_dir(&project.name);
        if cx.host.meta(&dir)?.is_none() {
            cx.host.make_dir(&dir, Owner::ROOT, 0o700)?;
        }
        let has = |what: What| self.part(what).is_some();
        if chosen.data && has(What::Database) && !project.postgres
            || chosen.data && has(What::Mysql) && !project.mysql
            || chosen.data && has(What::Redis) && project.redis.is_none() && !project.own_redis
        {
            cx.ui
                .note("the backup holds a database that this project has none for: it is left out");
        }
        if chosen.data {
            if let (Some(part), Some(before)) =
                (self.part(What::Database).filter(|_| project.postgres), before)
            {
                brought.steps.push(self.database(cx, project, part, before)?.into());
                brought.names.push("database");
            }
            let in_mysql = self.part(What::Mysql).filter(|_| project.mysql);
            if let (Some(part), Some(before)) = (in_mysql, before) {
                brought.steps.push(self.mysql(cx, project, part, before)?.into());
                brought.names.push("mysql");
            }
            if let (Some(part), Ok(keys)) = (self.part(What::Redis), redis::keys_of(project)) {
                brought.steps.push(self.keys(cx, project, part, keys)?.into());
                brought.names.push("redis");
            }
        }
        if chosen.env && self.part(What::Environment).is_some() {
            let now = cx.host.read_text(&project.name.env_file())?.unwrap_or_default();
            let then = self.text(cx, What::Environment)?;
            let was: ProjectName = self.of.parse()?;
            let buckets = (project.name.bucket(), was.bucket());
            // What somebody has lost of its own comes back, too; a copy has nothing of the original's.
            let own = (was == project.name).then_some(project);
            brought.env = Some(environment((&now, &buckets.0), (&then, &buckets.1), own)?);
            brought.names.push("environment");
        }
        if chosen.files && self.part(What::Files).is_some() {
            brought.steps.push(self.shared(cx, project)?.into());
            brought.names.push("files");
            if let Some(release) = &self.record.release {
                brought.live = Some(self.release(cx, project, release)?);
            }
        }
        Ok(brought)
    }

    /// What is no part of the operation that puts the rest back, since it lies elsewhere: objects go
    /// to the bucket, where others stay, and secrets become the newest again.
    pub fn bring_after(
        &self,
        cx: &mut Context,
        project: &Project,
        chosen: Chosen,
    ) -> Result<Vec<&'static str>> {
        let mut names = Vec::new();
        if chosen.env && self.part(What::Secrets).is_some() {
            let kept = transfer::Exported::parse(&self.text(cx, What::Secrets)?)?;
            transfer::import(cx, &project.name, &kept, &format!("from backup {}", self.record.id))?;
            names.push("secrets");
        }
        if let Some(part) = self.part(What::Bucket).filter(|_| chosen.files) {
            if project.storage.is_some() {
                self.read(cx, part, |from| bucket::unpack(cx, project, from))?;
                names.push("bucket");
            } else {
                cx.ui.note("the backup holds a bucket, and this project has none: it is left out");
            }
        }
        Ok(names)
    }

    /// Gives a project back what its environment lacks of hostkit's own, without which its database
    /// can't even be opened; whether it lacked anything. The caller holds the project, and repairs it.
    pub fn lend(&self, cx: &Context, project: &Project) -> Result<bool> {
        let is_own = self.of == project.name.as_str() && self.part(What::Environment).is_some();
        let path = project.name.env_file();
        let now = cx.host.read_text(&path)?.unwrap_or_default();
        // Of one that nobody can read nothing is left; it comes back whole.
        let mut file = EnvFile::parse(&now).unwrap_or_default();
        let is_lost = |key: &&str| still_has(project, key) && file.get(key).is_none();
        let lost: Vec<&str> = ManagedEnv::KEYS.iter().copied().filter(is_lost).collect();
        if !is_own || lost.is_empty() {
            return Ok(false);
        }
        let then = EnvFile::parse(&self.text(cx, What::Environment)?)?;
        for key in lost {
            if let Some(value) = then.get(key) {
                file.set(key, value)?;
            }
        }
        let owner = Owner::new(0, project.uid);
        cx.host.write(&path, file.to_string().as_bytes(), owner, 0o640)?;
        Ok(true)
    }

    /// Makes in a new database what its project had from a superuser before.
    pub fn give_extensions(&self, cx: &Context, project: &Project) -> Result<()> {
        let Some(Part { witness: Witness::Database { shape }, .. }) = self.part(What::Database)
        else {
            return Ok(());
        };
        let (database, role) = (project.name.database(), project.name.role());
        shape
            .extensions
            .iter()
            .try_for_each(|(name, schema)| cx.host.give_again(&database, &role, name, schema))
    }

    fn database(
        &self,
        cx: &Context,
        project: &Project,
        part: &Part<Shape>,
        before: &CheckpointId,
    ) -> Result<Restored> {
        check_room(cx, &["/var/lib/hostkit", "/var/lib/postgresql"], part.bytes)?;
        let dump = kept_dump(&project.name);
        self.into_file(cx, part, &dump)?;
        restored(cx, project, dump, before)
    }

    fn mysql(
        &self,
        cx: &Context,
        project: &Project,
        part: &Part<Shape>,
        before: &CheckpointId,
    ) -> Result<MysqlRestored> {
        // As text, as tables, and what is there now beside them.
        check_room(cx, &["/var/lib/hostkit", "/var/lib/mysql"], part.bytes.saturating_mul(2))?;
        let dump = state_dir(&project.name).join("restore.sql");
        self.into_file(cx, part, &dump)?;
        let kept = take::mysql_path(&project.name, before);
        Ok(projects::mysql_restored(project, dump, kept, before))
    }

    fn keys(
        &self,
        cx: &Context,
        project: &Project,
        part: &Part<Shape>,
        keys: Keys,
    ) -> Result<Filled> {
        let dir = state_dir(&project.name);
        let (from, before) = (dir.join("restore.keys"), dir.join("before.keys"));
        self.into_file(cx, part, &from)?;
        let failed = || format!("could not write `{}`", before.display());
        let mut options = File::options();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(&before).context(failed)?;
        cx.host.dump_keys(&keys, &mut file)?;
        file.sync_all().context(failed)?;
        Ok(Filled { keys, from, before })
    }

    /// What was in `shared/`, beside what is there now.
    fn shared(&self, cx: &Context, project: &Project) -> Result<Swapped> {
        let bytes = self.part(What::Files).map_or(0, |part| part.bytes);
        check_room(cx, &["/home"], bytes)?;
        let user = Owner::new(project.uid, project.uid);
        let room = waiting_room(&project.name);
        cx.host.make_dir(&room, Owner::new(0, project.uid), 0o750)?;
        let with = room.join("shared");
        cx.host.make_dir(&with, user, 0o750)?;
        self.unpack(cx, (&format!("/home/{}/shared", self.of), "shared"), &with, user)?;
        let at = project.name.home().join("shared");
        if cx.host.meta(&at)?.is_none() {
            cx.host.make_dir(&at, user, 0o750)?;
        }
        Ok(Swapped { at, with })
    }

    /// The release that was live then: the one that is still there, or made final anew.
    fn release(&self, cx: &mut Context, project: &Project, release: &Release) -> Result<Live> {
        let name = &project.name;
        let live = Live { id: release.id.clone(), spec: release.spec.clone() };
        if switch::is_complete(cx, name, &release.id)? {
            return Ok(live);
        }
        let user = Owner::new(project.uid, project.uid);
        let mut stage = Stage::new(project, release.id.clone());
        stage.open(cx)?;
        let dir = format!("/home/{}/releases/{}", self.of, release.id);
        self.unpack(cx, (&dir, "release"), &stage.dir(), user)?;
        self.settle_in(cx, &stage, user)?;
        stage.finish(cx, &release.spec)?;
        let known = cx.registry()?.releases(name)?;
        if !known.iter().any(|known| known.id == release.id) {
            let new = Release { state: ReleaseState::Staged, ..release.clone() };
            cx.registry()?.add_release(name, &new)?;
        }
        stage.publish(cx)?;
        Ok(live)
    }
}

impl Source<'_> {
    /// What is installed in a release names the place where it was: under another name of the
    /// project that is another place.
    fn settle_in(&self, cx: &Context, stage: &Stage<'_>, user: Owner) -> Result<()> {
        let installed = stage.dir().join(INSTALLED);
        let is_there = cx.host.meta(&installed)?.is_some_and(|m| m.kind == FileKind::Directory);
        if self.of == stage.project.name.as_str() || !is_there {
            return Ok(());
        }
        let (was, is) = (format!("/home/{}/", self.of), format!("/home/{}/", stage.project.name));
        let moved = stage.dir().with_extension(INSTALLED);
        let copied = Copied { owner: user, places: (&was, &is), named_in: &["bin", INSTALLED] };
        cx.host.link_tree(&installed, &moved, &copied)?;
        cx.host.remove_tree(&installed)?;
        cx.host.rename(&moved, &installed)
    }
}

fn lacks(what: What) -> Error {
    Error::usage("not_in_it", format!("the backup holds no {}", what.as_str()))
}

/// The environment as it was kept, with what hostkit sets as it is today, and nothing of what it
/// set then, but for what `own` still has and lacks the variable of. Each comes with its bucket's name.
fn environment(now: (&str, &str), then: (&str, &str), own: Option<&Project>) -> Result<String> {
    let (now, bucket) = (EnvFile::parse(now.0)?, now.1);
    let mut file = EnvFile::parse(then.0)?;
    let keys: Vec<_> =
        ManagedEnv::keys_in(&now, bucket).chain(ManagedEnv::keys_in(&file, then.1)).collect();
    for key in keys {
        match now.get(key) {
            Some(value) => file.set(key, value)?,
            None if own.is_some_and(|project| still_has(project, key)) => {}
            None => drop(file.unset(key)),
        }
    }
    Ok(file.to_string())
}

/// Whether a project has what a variable of hostkit's leads to.
fn still_has(project: &Project, key: &str) -> bool {
    match key {
        "DATABASE_URL" => project.postgres || project.mysql,
        "REDIS_URL" | "CELERY_BROKER_URL" | "CELERY_RESULT_BACKEND" => {
            project.redis.is_some() || project.own_redis
        }
        _ if key.starts_with("MYSQL_") => project.mysql,
        _ => !key.starts_with("S3_") || project.storage.is_some(),
    }
}

pub fn check_room(cx: &Context, dirs: &[&str], wanted: u64) -> Result<()> {
    let wanted = wanted.saturating_add(cx.config.disk.reserve.0);
    for dir in dirs {
        let Some((free, _)) = cx.host.free_space(dir.as_ref())? else { continue };
        if free < wanted {
            let text = crate::ui::bytes;
            return Err(Error::not_ready(
                "disk_full",
                format!("the file system of `{dir}` has too little room"),
            )
            .caused_by(format!("{} are free, and it takes {}", text(free), text(wanted)))
            .hint("make room: `df -h`"));
        }
    }
    Ok(())
}
