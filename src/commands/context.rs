//! What every command works with, and the one way in which any of them changes the host.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{deploy::stage, exec};
use crate::{
    caller::Caller,
    config::Config,
    error::{Error, Kind, Result},
    journal::{self, Journal},
    names::ProjectName,
    plan::{self, Plan, remove},
    registry::{
        self, Allotment, Change, NewOperation, Of, Operation, Outcome, Registry, Wanted, Way,
    },
    sys::{
        Host, journald,
        lock::{self, Lock},
        signals::Changing,
    },
    templates::{OVERRIDES, Templates},
    ui::Ui,
};

pub struct Context {
    pub host: Host,
    pub config: Config,
    pub caller: Caller,
    pub ui: Ui,
    /// How long to wait for a lock.
    pub wait: Duration,
    /// Where the caller stood: what a relative path is relative to.
    pub started_in: PathBuf,
    /// The process of a project's that asks, and for what, where it is one.
    pub(super) app: Option<(u32, Vec<String>)>,
    pub(super) registry: Option<Registry>,
}

/// Locks that a change holds until it is over.
pub struct Held {
    _host: Lock,
    _project: Option<Lock>,
}

/// The lock of the list of operators. No project has a name with a dot.
const OPERATORS: &str = ".operators";
/// The lock of the account at the authority for certificates.
const ACCOUNT: &str = ".certificates";

impl Context {
    pub fn registry(&mut self) -> Result<&mut Registry> {
        match &mut self.registry {
            Some(registry) => Ok(registry),
            none => Ok(none.insert(Registry::open(Path::new(registry::PATH))?)),
        }
    }

    /// The built-in templates, and the owner's before them.
    pub fn templates(&self) -> Result<Templates> {
        let mut overrides = Vec::new();
        for name in Templates::names() {
            if let Some(text) = self.host.read_text(&Path::new(OVERRIDES).join(name))? {
                overrides.push((name.to_owned(), text));
            }
        }
        Ok(Templates::new(overrides))
    }

    /// Makes a registry and fills it, beside its place, and puts it there when it is complete.
    pub fn make_registry(&mut self, fill: impl FnOnce(&mut Registry) -> Result<()>) -> Result<()> {
        let path = Path::new(registry::PATH);
        let fresh = path.with_extension("db.new");
        for suffix in ["", "-wal", "-shm"] {
            self.host.remove_file(Path::new(&format!("{}{suffix}", fresh.display())))?;
        }
        self.host.journaling("make the registry", || {
            let mut registry = Registry::create(&fresh)?;
            fill(&mut registry)?;
            registry.settle()
        })?;
        self.host.rename(&fresh, path)?;
        self.registry().map(|_| ())
    }

    /// Takes a project for this command alone, and ends what a crash left of it.
    pub fn take_project(&mut self, name: &ProjectName, verb: &str) -> Result<Held> {
        self.registry()?;
        let ui = &self.ui;
        let waiting = |holder: &str| ui.note(format!("waiting for `{holder}`"));
        let host = lock::take_host_together(self.wait, waiting)?;
        let holder = format!("hostkit {verb} {name}");
        let project = lock::take(name.as_str(), &holder, self.wait, waiting)?;
        super::identity::confirm(self)?;
        self.recover(Of::Project(name))?;
        stage::sweep(self, name)?;
        exec::sweep(self, name)?;
        Ok(Held { _host: host, _project: Some(project) })
    }

    /// Takes the whole host for this command alone, and ends what a crash left of it.
    pub fn take_host(&mut self, verb: &str) -> Result<Held> {
        let ui = &self.ui;
        let waiting = |holder: &str| ui.note(format!("waiting for `{holder}`"));
        let holder = format!("hostkit {verb}");
        let host = lock::take(lock::HOST, &holder, self.wait, waiting)?;
        if self.registry.is_some() || Path::new(registry::PATH).exists() {
            self.registry()?;
            self.recover(Of::Host)?;
        }
        Ok(Held { _host: host, _project: None })
    }

    /// Takes the list of operators for this command alone. No project's deploy, however long, is in
    /// the way of that.
    pub fn take_operators(&mut self, verb: &str) -> Result<Held> {
        self.registry()?;
        let ui = &self.ui;
        let waiting = |holder: &str| ui.note(format!("waiting for `{holder}`"));
        let host = lock::take_host_together(self.wait, waiting)?;
        let operators = lock::take(OPERATORS, &format!("hostkit {verb}"), self.wait, waiting)?;
        super::identity::confirm(self)?;
        Ok(Held { _host: host, _project: Some(operators) })
    }

    /// Takes the account for certificates for this command alone. Where a project is taken too,
    /// this comes first.
    pub fn take_account(&mut self, verb: &str) -> Result<Lock> {
        let ui = &self.ui;
        let waiting = |holder: &str| ui.note(format!("waiting for `{holder}`"));
        lock::take(ACCOUNT, &format!("hostkit {verb}"), self.wait, waiting)
    }

    /// Ends open operations. Whoever holds their lock knows that their process is gone.
    pub fn recover(&mut self, of: Of<'_>) -> Result<Vec<Operation>> {
        let open = self.registry()?.open_operations(of)?;
        for operation in &open {
            let what = match operation.way {
                Way::Finish => "finishing",
                Way::Undo => "undoing",
            };
            let on =
                operation.project.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
            self.ui.note(format!("{what} `{}`{on}, which was interrupted", operation.verb));
            let listener = self.ui.listener();
            let changing = Changing::begin();
            let registry = self.registry.as_mut().ok_or_else(not_open)?;
            plan::recover(&self.host, registry, operation, &listener)?;
            drop(changing);
            self.tidy();
        }
        Ok(open)
    }

    /// Opens an operation, makes a plan from what it hands out, and carries the plan out: all of
    /// it, or the host is as it was. Says how many steps were not in place.
    pub fn carry_out(
        &mut self,
        new: &NewOperation<'_>,
        wanted: Option<&Wanted<'_>>,
        make: impl FnOnce(&Self, Option<Allotment>) -> Result<(Plan, Vec<Change>)>,
    ) -> Result<usize> {
        let _changing = Changing::begin();
        let (id, allotment) = self.open(new, wanted)?;
        let listener = self.ui.listener();
        let made = make(self, allotment);
        let registry = self.registry.as_mut().ok_or_else(not_open)?;
        let mut journal = Journal::new(registry, id);
        let applied = made.and_then(|(plan, changes)| {
            self.ui.parts(&plan.parts);
            let applied = plan.apply(&self.host, &mut journal, &listener)?;
            Ok((applied.changed, changes))
        });
        let ended = match applied {
            Ok((changed, changes)) => journal
                .close(&self.host, Outcome::Done, None, &changes)
                .or_else(|error| self.close_failed(id, error))
                .map(|()| changed),
            Err(error) => {
                let outcome =
                    if error.kind == Kind::Stuck { Outcome::Stuck } else { Outcome::Undone };
                // Where even this can't be written the operation stays open, and the next command
                // undoes once more what is undone already.
                let _ = journal.close(&self.host, outcome, Some(&error.to_string()), &[]);
                Err(error)
            }
        };
        self.log(new, ended.as_ref().err());
        self.tidy();
        ended
    }

    /// Opens an operation whose end is that things are gone, and takes them away.
    pub fn take_away(&mut self, project: &ProjectName, plan: &Plan) -> Result<()> {
        let actor = self.caller.actor();
        let new = NewOperation {
            project: Some(project),
            verb: "project delete",
            actor: &actor,
            way: Way::Undo,
        };
        let _changing = Changing::begin();
        let (id, _) = self.open(&new, None)?;
        let listener = self.ui.listener();
        let registry = self.registry.as_mut().ok_or_else(not_open)?;
        let mut journal = Journal::new(registry, id);
        let removed = remove(plan, project, &self.host, &mut journal, &listener);
        let ended = match removed {
            Ok(()) => {
                journal.close(&self.host, Outcome::Done, None, &[Change::Remove(project.clone())])
            }
            Err(error) => Err(error),
        };
        self.log(&new, ended.as_ref().err());
        self.tidy();
        ended.map_err(|error| {
            let cause = error.to_string();
            Error::failed(format!("{project} is not wholly gone yet"))
                .coded("half_deleted")
                .caused_by(cause)
                .hint(format!("nobody can get in any more; mend that, then `hostkit project delete {project}` goes on"))
        })
    }

    fn open(
        &mut self,
        new: &NewOperation<'_>,
        wanted: Option<&Wanted<'_>>,
    ) -> Result<(i64, Option<Allotment>)> {
        self.registry()?;
        let registry = self.registry.as_mut().ok_or_else(not_open)?;
        let opened = self.host.journaling("open the journal", || registry.begin(new, wanted));
        if opened.is_err() {
            // It may be open all the same: the failure could have come after the commit.
            let _ = self.recover(new.project.map_or(Of::Host, Of::Project));
        }
        opened
    }

    /// The host has changed and the rows have not: back to where it was, unless they have.
    fn close_failed(&mut self, id: i64, error: Error) -> Result<()> {
        let open = self.registry()?.open_operations(Of::All)?;
        let Some(operation) = open.into_iter().find(|operation| operation.id == id) else {
            return Ok(());
        };
        let listener = self.ui.listener();
        let registry = self.registry.as_mut().ok_or_else(not_open)?;
        plan::recover(&self.host, registry, &operation, &listener)?;
        Err(error)
    }

    /// Lets go of what no undo will ask for. What fails here is tried again next time.
    fn tidy(&mut self) {
        let Some(registry) = self.registry.as_mut() else { return };
        let needed = || -> Result<Vec<i64>> {
            let mut needed = registry.done_operations("init")?;
            needed.extend(registry.done_operations("storage setup")?);
            needed.extend(registry.standing_operations("metrics setup", "metrics remove")?);
            needed.extend(registry.open_operations(Of::All)?.iter().map(|operation| operation.id));
            registry.forget_steps_but(&needed)?;
            Ok(needed)
        };
        if let Ok(needed) = needed() {
            let _ = journal::forget(&self.host, &needed);
        }
    }

    fn log(&self, new: &NewOperation<'_>, error: Option<&Error>) {
        let project = new.project.map_or("", ProjectName::as_str);
        let message = match error {
            None => format!("{} {project} by {}: done", new.verb, new.actor),
            Some(error) => format!("{} {project} by {}: {error}", new.verb, new.actor),
        };
        let fields = [
            ("HOSTKIT_PROJECT", project),
            ("HOSTKIT_VERB", new.verb),
            ("HOSTKIT_ACTOR", new.actor),
        ];
        journald::send(&message, error.is_some(), &fields);
    }

    /// Records something that is no operation: a start, a stop.
    pub fn record(
        &mut self,
        project: Option<&ProjectName>,
        verb: &str,
        result: Result<()>,
    ) -> Result<()> {
        let actor = self.caller.actor();
        let detail = result.as_ref().err().map(ToString::to_string);
        let outcome = if result.is_ok() { "done" } else { "failed" };
        let noted = self.registry()?.add_event(&actor, project, verb, outcome, detail.as_deref());
        self.log(
            &NewOperation { project, verb, actor: &actor, way: Way::Undo },
            result.as_ref().err(),
        );
        result.and(noted)
    }
}

fn not_open() -> Error {
    Error::failed("the registry is not open")
}
