//! A release before it is one: unpacked, built and made final where nothing else reaches it.

use std::{
    collections::BTreeMap,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    super::secrets::{deliver, values::Values},
    needs::Made,
    tools,
};
use crate::{
    commands::Context,
    config::Size,
    error::{Error, Kind, Result},
    names::{ProjectName, ReleaseId},
    plan::{Part, Progress},
    projects::{self, BuildUnit, MANIFEST, Recipe, Tree},
    registry::Project,
    release::Spec,
    sys::{
        FileKind, Owner, signals,
        systemd::{UNIT_FAILED, Verb},
        users,
    },
};

/// Logs of builds, and uploads until they are unpacked. Root alone may look.
pub const DEPLOYS: &str = "/var/lib/hostkit/deploys";

const HOSTKIT: &str = "/usr/bin/hostkit";

/// A release on its way.
pub struct Stage<'a> {
    pub project: &'a Project,
    pub id: ReleaseId,
    /// How long each phase took, in milliseconds.
    pub phases: BTreeMap<String, u64>,
    /// Secrets that it made.
    pub generated: Vec<Made>,
    /// Those of the project that it comes with.
    pub secrets: Option<Values>,
    /// Names of those that are files.
    pub secret_files: Vec<String>,
    parts: Vec<Part>,
    steps: usize,
}

fn staging(name: &ProjectName) -> PathBuf {
    name.home().join("releases/.staging")
}

pub fn upload_path(name: &ProjectName, id: &ReleaseId) -> PathBuf {
    Path::new(DEPLOYS).join(name.as_str()).join(format!("{id}.upload"))
}

pub fn log_path(name: &ProjectName, id: &str) -> PathBuf {
    Path::new(DEPLOYS).join(name.as_str()).join(format!("{id}.log"))
}

/// Takes away what an interrupted deploy left. Whoever holds the project's lock may.
pub fn sweep(cx: &Context, name: &ProjectName) -> Result<()> {
    let units = Path::new("/run/systemd/system");
    let prefix = format!("hostkit-{name}-build-");
    for unit in cx.host.list(units)? {
        let Some(unit) = unit.to_str().filter(|unit| unit.starts_with(&prefix)) else { continue };
        let is = cx.host.unit(unit)?;
        if is.active != "inactive" && is.active != "failed" {
            cx.host.unit_job(Verb::Stop, unit)?;
        }
        cx.host.reset_failed(unit)?;
        cx.host.remove_file(&units.join(unit))?;
    }
    deliver::sweep(cx, name)?;
    let staging = staging(name);
    if cx.host.meta(&staging)?.is_none() {
        return Ok(());
    }
    // What was to become a release holds an empty place until it is complete.
    for id in cx.host.list(&staging)? {
        cx.host.remove_empty_dir(&name.home().join("releases").join(&id))?;
    }
    for file in cx.host.list(&Path::new(DEPLOYS).join(name.as_str()))? {
        if file.to_string_lossy().ends_with(".upload") {
            cx.host.remove_file(&Path::new(DEPLOYS).join(name.as_str()).join(file))?;
        }
    }
    cx.host.seize(&staging)?;
    cx.host.remove_tree(&staging)
}

impl<'a> Stage<'a> {
    pub fn new(project: &'a Project, id: ReleaseId) -> Self {
        Self {
            project,
            id,
            phases: BTreeMap::new(),
            generated: Vec::new(),
            secrets: None,
            secret_files: Vec::new(),
            parts: Vec::new(),
            steps: 0,
        }
    }

    pub(super) fn name(&self) -> &ProjectName {
        &self.project.name
    }

    pub fn dir(&self) -> PathBuf {
        staging(self.name()).join(self.id.as_str())
    }

    pub fn release_dir(&self) -> PathBuf {
        self.name().home().join("releases").join(self.id.as_str())
    }

    /// Makes the place, and the one that it will have.
    pub fn open(&self, cx: &Context) -> Result<()> {
        let user = Owner::new(self.project.uid, self.project.uid);
        cx.host.make_dir(&staging(self.name()), Owner::ROOT, 0o700)?;
        cx.host.make_dir(&self.dir(), user, 0o750)?;
        cx.host.make_dir(&self.release_dir(), Owner::new(0, self.project.uid), 0o750)
    }

    /// Times a phase and tells of it.
    pub fn phase<T>(
        &mut self,
        cx: &Context,
        title: &str,
        work: impl FnOnce(&mut Self) -> Result<(T, String)>,
    ) -> Result<T> {
        let start = Instant::now();
        let tell = cx.ui.listener();
        let part = Part { title: title.to_owned(), detail: String::new() };
        self.parts = vec![part];
        cx.ui.parts(&self.parts);
        tell(Progress::Started { part: 0 });
        let done = work(self);
        let took = start.elapsed();
        self.phases.insert(title.to_owned(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        match done {
            Ok((value, detail)) => {
                cx.ui.parts(&[Part { title: title.to_owned(), detail }]);
                tell(Progress::Done { part: 0, took });
                Ok(value)
            }
            Err(error) => {
                tell(Progress::Failed { part: 0 });
                Err(error)
            }
        }
    }

    /// The upload, unpacked by the project's own user.
    pub fn unpack(&mut self, cx: &Context) -> Result<()> {
        let upload = upload_path(self.name(), &self.id);
        let command = [HOSTKIT.to_owned(), "unpack".into()];
        let unit = Unit {
            title: "unpack",
            command: &command,
            environment: &[],
            overrides: &BTreeMap::new(),
            directory: "",
            input: Some(upload.display().to_string()),
            is_staged: true,
            seconds: 900,
            memory: 512 << 20,
        };
        self.run(cx, &unit)?;
        cx.host.remove_file(&upload)
    }

    /// Whether the tree has a file of that name.
    pub fn holds(&self, cx: &Context, path: &str) -> Result<bool> {
        Ok(cx.host.meta(&self.dir().join(path))?.is_some())
    }

    /// What the tree is, and how it is built.
    pub fn recipe(&self, cx: &Context) -> Result<Recipe> {
        let dir = self.dir();
        let paths = cx.host.list_tree(&dir, 3)?.into_iter().collect();
        let manifest = match cx.host.read_text(&dir.join(MANIFEST))? {
            Some(text) => Some(projects::parse_manifest(&text)?),
            None => None,
        };
        let mut tree = Tree { paths, ..Tree::default() };
        for name in projects::wanted_texts(manifest.as_ref()) {
            if tree.paths.contains(&name)
                && let Some(text) = cx.host.read_text(&dir.join(&name))?
            {
                tree.texts.insert(name, text);
            }
        }
        let project = self.project;
        // The runtime that a project has by default is no choice of anybody's.
        let asked = Some(project.runtime)
            .filter(|r| *r != crate::names::Runtime::Python || project.start.is_some());
        let asked = asked.filter(|_| project.live.is_none());
        let start = project.start.as_deref();
        let mut recipe =
            projects::recipe(&tree, manifest.as_ref(), asked, start, self.name(), tools::found())?;
        // Another python does not run what this one has installed.
        recipe.spec.installs =
            recipe.spec.installs.map(|pins| format!("{} {pins}", tools::python()));
        Ok(recipe)
    }

    /// Makes the tree final and gives it its name: from then on it is a release.
    pub fn finish(&mut self, cx: &Context, spec: &Spec) -> Result<u64> {
        let dir = self.dir();
        let counted = cx.host.freeze(&dir, self.project.uid)?;
        let shown = Owner::new(0, self.project.uid);
        for shared in &spec.shared {
            self.share(cx, shared)?;
        }
        self.serve(cx, spec)?;
        let env = cx.host.read_text(&self.name().env_file())?.unwrap_or_default();
        let text = projects::release_file(&self.id, spec, &env)?;
        cx.host.write(&dir.join(".release"), text.as_bytes(), shown, 0o640)?;
        let spec = serde_json::to_vec(spec)
            .map_err(|e| Error::failed("could not record a release").caused_by(e))?;
        cx.host.write(&dir.join(".complete"), &spec, shown, 0o640)?;
        Ok(counted.files)
    }

    pub fn publish(&self, cx: &Context) -> Result<()> {
        cx.host.rename(&self.dir(), &self.release_dir())?;
        cx.host.remove_tree(&staging(self.name()))
    }

    /// A directory that outlives the release; it is made by the project's own user.
    fn share(&self, cx: &Context, shared: &str) -> Result<()> {
        let target = self.name().home().join("shared").join(shared);
        let owner = Owner::new(self.project.uid, self.project.uid);
        let mkdir =
            crate::sys::Cmd::new("/usr/bin/mkdir").args(["-p", "--"]).arg(&target).user(owner);
        cx.host.run(&mkdir, &format!("make `{}`", target.display()))?.success()?;
        let at = self.dir().join(shared);
        self.check_way(cx, shared)?;
        cx.host.remove_tree(&at)?;
        if let Some(parent) = at.parent() {
            let mut missing = Vec::new();
            let mut dir = parent;
            while cx.host.meta(dir)?.is_none() {
                missing.push(dir.to_owned());
                let Some(above) = dir.parent() else { break };
                dir = above;
            }
            for dir in missing.iter().rev() {
                cx.host.make_dir(dir, Owner::new(0, self.project.uid), 0o750)?;
            }
        }
        cx.host.replace_link(&at, &target)
    }

    /// Fails where a link of the release's own leads to elsewhere: root would go along with it.
    fn check_way(&self, cx: &Context, shared: &str) -> Result<()> {
        let mut dir = self.dir();
        let parts: Vec<_> = std::path::Path::new(shared).components().collect();
        for part in parts.iter().take(parts.len().saturating_sub(1)) {
            dir.push(part);
            match cx.host.meta(&dir)?.map(|meta| meta.kind) {
                None => return Ok(()),
                Some(FileKind::Directory) => {}
                Some(_) => {
                    return Err(Error::failed(format!("`{shared}` can't be shared"))
                        .coded("link_out")
                        .caused_by(format!(
                            "`{}` in the release is no directory",
                            part.as_os_str().to_string_lossy().escape_debug()
                        )));
                }
            }
        }
        Ok(())
    }

    /// Runs one command as the project's user, in a unit of its own, and shows what it says.
    pub(super) fn run(&mut self, cx: &Context, what: &Unit<'_>) -> Result<()> {
        let log = log_path(self.name(), self.id.as_str());
        let text = projects::build_unit(
            &BuildUnit {
                project: self.project,
                release: &self.id,
                title: what.title,
                command: what.command,
                environment: what.environment,
                overrides: what.overrides,
                credentials: self.secrets.is_some().then_some(&*self.secret_files),
                directory: what.directory,
                staging: what.is_staged.then(|| self.dir().display().to_string()),
                input: what.input.clone(),
                log: log.display().to_string(),
                seconds: what.seconds,
                memory: Size(what.memory),
            },
            &cx.config,
            &cx.templates()?,
        )?;
        let (ran, tail) = self.run_unit(cx, &text)?;
        ran.map_err(|error| failed(what, error, &tail))
    }

    /// Runs a unit that ends by itself, and shows what it says; how it ended, and its last words.
    pub(super) fn run_unit(&mut self, cx: &Context, text: &str) -> Result<(Result<()>, Tail)> {
        self.steps += 1;
        let unit = format!("hostkit-{}-build-{}-{}.service", self.name(), self.id, self.steps);
        let log = log_path(self.name(), self.id.as_str());
        let file = PathBuf::from(format!("/run/systemd/system/{unit}"));
        cx.host.write(&file, text.as_bytes(), Owner::ROOT, 0o644)?;
        let mut tail = Tail::new(log);
        let tell = cx.ui.listener();
        let mut shown = Instant::now();
        let ran = cx.host.run_to_end(&unit, || {
            if shown.elapsed() > Duration::from_millis(100) {
                shown = Instant::now();
                for line in tail.lines() {
                    tell(Progress::Said { line });
                }
            }
            signals::check()
        });
        cx.host.remove_file(&file)?;
        while !tail.lines().is_empty() {}
        Ok((ran, tail))
    }
}

/// One command of a build.
pub(super) struct Unit<'a> {
    pub(super) title: &'a str,
    pub(super) command: &'a [String],
    pub(super) environment: &'a [(String, String)],
    /// Those that win over `.env`.
    pub(super) overrides: &'a BTreeMap<String, String>,
    pub(super) directory: &'a str,
    pub(super) input: Option<String>,
    pub(super) is_staged: bool,
    pub(super) seconds: u64,
    pub(super) memory: u64,
}

fn failed(what: &Unit<'_>, error: Error, tail: &Tail) -> Error {
    if error.code != UNIT_FAILED {
        return error;
    }
    let why = error.cause.unwrap_or(error.message);
    if what.title == "unpack" {
        return not_unpacked(&why, tail);
    }
    let said = tail.end(20).map(|text| format!("\n{text}")).unwrap_or_default();
    Error::failed(format!("`{}` failed", what.command.join(" ")))
        .coded("build_failed")
        .caused_by(format!("{why}{said}"))
}

/// What `hostkit unpack` said before it ended: the source is to blame only where its code says so.
fn not_unpacked(why: &str, tail: &Tail) -> Error {
    let told = |head: &str| {
        let line = tail.last.iter().rev().find_map(|line| line.trim().strip_prefix(head))?;
        Some(line.trim().to_owned())
    };
    let said: Vec<String> = ["error:", "cause:"].into_iter().filter_map(told).collect();
    let cause = if said.is_empty() { why.to_owned() } else { said.join(": ") };
    let message = "the source can't be unpacked";
    let error = if why.ends_with(&format!("status {}", Kind::Usage.exit_code())) {
        Error::usage("bad_archive", message)
            .hint("nothing was changed; mend the source and deploy again")
    } else {
        Error::failed(message).coded("not_unpacked")
    };
    match told("hint:") {
        Some(hint) if error.hint.is_none() => error.caused_by(cause).hint(hint),
        _ => error.caused_by(cause),
    }
}

/// What has no end by then is a line all the same.
const LONGEST_LINE: usize = 1 << 20;

/// Follows a log from where it ends now.
pub(super) struct Tail {
    path: PathBuf,
    at: u64,
    rest: String,
    last: Vec<String>,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        let at = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        Self { path, at, rest: String::new(), last: Vec::new() }
    }

    /// Lines that came since the last call.
    fn lines(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.at))?;
            file.take(1 << 20).read_to_end(&mut bytes)
        });
        self.at += read.unwrap_or(0) as u64;
        self.rest.push_str(&String::from_utf8_lossy(&bytes));
        if self.rest.len() > LONGEST_LINE && !self.rest.contains('\n') {
            self.rest.push('\n');
        }
        let Some(end) = self.rest.rfind('\n') else { return Vec::new() };
        let text: String = self.rest.drain(..=end).collect();
        let lines: Vec<String> = text.lines().map(plain).filter(|l| !l.trim().is_empty()).collect();
        self.last.extend(lines.iter().cloned());
        let surplus = self.last.len().saturating_sub(40);
        self.last.drain(..surplus);
        lines
    }

    /// All of what is kept of it.
    pub(super) fn said(&self) -> String {
        self.last.join("\n")
    }

    fn end(&self, count: usize) -> Option<String> {
        let from = self.last.len().saturating_sub(count);
        (!self.last.is_empty()).then(|| self.last[from..].join("\n"))
    }
}

/// A line without what could move a terminal's cursor.
fn plain(line: &str) -> String {
    let line = line.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or_default();
    let line = console::strip_ansi_codes(line);
    line.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

/// Whether the project's user is there, as the build needs it.
pub fn check_user(project: &Project) -> Result<()> {
    match users::find(project.name.as_str())? {
        Some(user) if user.owner.uid == project.uid => Ok(()),
        _ => {
            Err(Error::not_ready("user_missing", format!("the user `{}` is missing", project.name))
                .hint(format!("`hostkit repair {}` makes it again", project.name)))
        }
    }
}
