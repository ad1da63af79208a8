//! One kind of thing on the host a file, named for the state that it wants.
//!
//! A step looks, changes, takes back and takes away; each of the four may be done again.

mod access_key;
mod account;
mod again;
mod alias;
mod answering;
mod block;
mod bucket;
mod certificate;
mod database;
mod detour;
mod dir;
mod doomed;
mod door;
mod entry;
mod file;
mod filled;
mod gate;
mod gone;
mod group;
mod handover;
mod keyspace;
mod leftovers;
mod link;
mod log;
mod login;
mod mysql;
mod mysql_password;
mod mysql_restored;
mod open_files;
mod package;
mod program;
mod reach;
mod restored;
mod role;
mod running;
mod standby;
mod swapped;
mod switch;
mod trigger;
mod wall;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use access_key::{AccessKey, NoKey};
pub use account::Account;
pub use again::Again;
pub use alias::{Alias, NoAlias, check_free};
pub use answering::{Answering, Asked};
pub use block::{Block, Place};
pub use bucket::{Bucket, NoBucket};
pub use certificate::Certificate;
pub use database::{Database, NotPublic};
pub use detour::Detour;
pub use dir::{Contents, Dir};
pub use doomed::Doomed;
pub use entry::Entry;
pub use file::{File, Judge, Text};
pub use filled::Filled;
pub use gate::Gate;
pub use gone::Gone;
pub use group::Group;
pub use handover::{Handover, Logins};
pub use keyspace::{ACL_FILE, Keyspace, hash};
pub use leftovers::Leftovers;
pub use link::Link;
pub use log::Log;
pub use login::{Login, Member};
pub use mysql::{
    MysqlDatabase, MysqlGivenUp, MysqlNoStrangers, MysqlUser, mysql_aside, mysql_drill, mysql_next,
};
pub use mysql_password::{MysqlPassword, MysqlPasswords};
pub use mysql_restored::MysqlRestored;
pub use open_files::OpenFiles;
pub use package::Package;
pub use program::Program;
pub use reach::Reach;
pub use restored::{Restored, aside, drill, waits_for};
pub use role::{GroupRole, Role};
pub use running::{Running, Service, Stopped};
pub use standby::Standby;
pub use swapped::Swapped;
pub use switch::{Switch, Target};
pub use trigger::{MARK, MARK_PATH, Probe, Trigger};
pub use wall::{Wall, WallTable};

/// The words in which steps speak of the host, for those who plan and do not look.
pub use crate::sys::{
    Owner,
    mysql::{
        CONF as MYSQL_CONF, Entry as MysqlEntry, PORT as MYSQL_PORT, SOCKET as MYSQL_SOCKET,
        UNIT as MYSQL_UNIT,
    },
    postgres::GROUP_ROLE,
    prometheus::{
        PACKAGE as METRICS_PACKAGE, PACKAGES_UNIT as FOREIGN_PROMETHEUS, PORT as METRICS_PORT,
        PROGRAM as METRICS_PROGRAM, UNIT as METRICS_UNIT, USER as METRICS_USER,
    },
    redis::{ADMIN, SECRET, SOCKET, Version},
    storage::{ACCOUNT, ADMIN_PORT, Place as StoragePlace, RPC_PORT, S3_PORT, TOKEN, WEB_PORT},
    users::User,
};

use crate::{
    error::{Error, Result},
    sys::{Host, Meta},
};

pub trait Step {
    /// A line for a person, naming the thing: "file /etc/nginx/sites-available/hostkit-shop".
    fn title(&self) -> String;

    /// Looks at the host and touches nothing.
    fn check(&self, host: &Host) -> Result<Check>;

    /// Makes the change that [`check`](Self::check) found missing.
    fn apply(&self, host: &Host) -> Result<()>;

    /// Puts back what `check` saw, also where `apply` stopped half-way or never began.
    fn undo(&self, host: &Host, before: &Before) -> Result<()>;

    /// Takes the thing away for good, whatever state it is in.
    fn remove(&self, host: &Host) -> Result<()>;

    /// Ends what access the thing gives, before anything is taken away.
    fn revoke(&self, _host: &Host) -> Result<()> {
        Ok(())
    }

    /// The text as it is and as it should be, secrets hidden, where the thing is a text.
    fn diff(&self, _host: &Host) -> Result<Option<(String, String)>> {
        Ok(None)
    }
}

#[derive(Debug)]
pub enum Check {
    /// Already so. We did not do it, so we will not undo it.
    InPlace,
    /// To be applied: what the undo will need, and what is not as it should be.
    Missing { before: Before, differs: String },
}

impl Check {
    fn absent() -> Self {
        Self::Missing { before: Before::Absent, differs: "missing".into() }
    }
}

/// What stood there before us. The journal has it before the host changes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Before {
    Absent,
    Account(User),
    Dir { owner: Owner, mode: u32 },
    File { meta: Meta, kept: Kept },
    Kept(Kept),
    Line(String),
    Link(PathBuf),
    Was(bool),
}

/// Contents that are kept aside: in a file that root alone may read, and named by its path.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Kept {
    #[serde(skip)]
    bytes: Option<Vec<u8>>,
    path: Option<PathBuf>,
}

impl Kept {
    fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: Some(bytes.into()), path: None }
    }

    /// The contents, from memory or from where they were put.
    fn bytes(&self, host: &Host) -> Result<Vec<u8>> {
        if let Some(bytes) = &self.bytes {
            return Ok(bytes.clone());
        }
        let path = self.path.as_deref().unwrap_or(Path::new("/"));
        host.read(path)?.ok_or_else(|| {
            Error::failed("could not put back what stood there before")
                .caused_by(format!("`{}` is gone", path.display()))
        })
    }

    fn text(&self, host: &Host) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes(host)?).into_owned())
    }
}

impl Before {
    /// Hands contents that are still in memory to `store`, which says where it put them.
    pub fn keep(&mut self, mut store: impl FnMut(&[u8]) -> Result<PathBuf>) -> Result<()> {
        let (Self::File { kept, .. } | Self::Kept(kept)) = self else { return Ok(()) };
        if let Some(bytes) = &kept.bytes {
            kept.path = Some(store(bytes)?);
        }
        Ok(())
    }

    /// An undo that was handed the memory of another kind of step.
    fn foreign(&self) -> Error {
        Error::failed("the journal holds something that this step can't put back")
            .caused_by(format!("{self:?}"))
    }
}

/// Lists the kinds of step once: the journal can read back whichever it wrote.
macro_rules! any_step {
    ($($kind:ident),* $(,)?) => {
        #[derive(Debug, Deserialize, Serialize)]
        pub enum AnyStep { $($kind($kind)),* }

        impl AnyStep {
            fn step(&self) -> &dyn Step {
                match self { $(Self::$kind(step) => step),* }
            }
        }

        $(impl From<$kind> for AnyStep {
            fn from(step: $kind) -> Self { Self::$kind(step) }
        })*
    };
}

any_step! {
    AccessKey, Account, Again, Alias, Answering, Block, Bucket, Certificate, Database, Detour, Dir, Doomed, Entry, File, Filled, Gone, Group, GroupRole, Handover, Keyspace, Leftovers, Link,
    Log, Login, Member, MysqlDatabase, MysqlGivenUp, MysqlNoStrangers, MysqlPassword, MysqlRestored, MysqlUser, NoAlias, NoBucket, NoKey, NotPublic, OpenFiles, Package, Program, Reach, Restored, Role, Running, Service, Standby, Stopped,
    Swapped, Wall, WallTable,
}

impl Step for AnyStep {
    fn title(&self) -> String {
        self.step().title()
    }

    fn check(&self, host: &Host) -> Result<Check> {
        self.step().check(host)
    }

    fn apply(&self, host: &Host) -> Result<()> {
        self.step().apply(host)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        self.step().undo(host, before)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        self.step().remove(host)
    }

    fn revoke(&self, host: &Host) -> Result<()> {
        self.step().revoke(host)
    }

    fn diff(&self, host: &Host) -> Result<Option<(String, String)>> {
        self.step().diff(host)
    }
}

/// What differs about owner and mode, if anything.
fn meta_differs(is: Meta, owner: Owner, mode: u32) -> Option<String> {
    let mut differs = Vec::new();
    if is.owner != owner {
        differs.push(format!(
            "owner {}:{} (should be {}:{})",
            is.owner.uid, is.owner.gid, owner.uid, owner.gid
        ));
    }
    if is.mode != mode {
        differs.push(format!("mode {:04o} (should be {mode:04o})", is.mode));
    }
    (!differs.is_empty()).then(|| differs.join(", "))
}
