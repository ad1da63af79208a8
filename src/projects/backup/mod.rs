//! What a backup holds, how long it stays, and whether what came back is what was kept.

mod list;
mod missed;
mod retention;
mod unit;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use list::{Compared, compare, odd_links, unkept, witnessed};
pub use missed::{excused, missed, without};
pub use retention::{Candidate, Kept, surplus};
pub use unit::{CheckUnit, ReadingUnit, check_unit, reading_unit, reading_units};

use crate::{
    error::{Error, Result},
    names::BackupId,
    registry::{BackupKind, Project, Release},
};

/// The form of the record. A newer one is not guessed at.
pub const VERSION: u32 = 1;

/// What is kept last, of everything that was kept before it: a backup without one is none.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Record<S> {
    pub version: u32,
    pub hostkit: String,
    pub id: BackupId,
    pub kind: BackupKind,
    pub made_at: Timestamp,
    /// `None` is the server itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Project>,
    /// What was live then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    pub parts: Vec<Part<S>>,
}

/// One thing that is kept: a stream, or a tree of files.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Part<S> {
    pub what: What,
    pub bytes: u64,
    /// Of the stream, or of the list of a tree's files.
    pub sha256: String,
    #[serde(flatten)]
    pub witness: Witness<S>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Database,
    /// The one in MariaDB.
    Mysql,
    Redis,
    Files,
    /// The objects of its bucket.
    Bucket,
    Environment,
    /// Its secrets in the clear, as all of the repository is encrypted.
    Secrets,
    /// Of the server: its registry, and the files below `/etc` that make it what it is.
    Registry,
    Settings,
    /// Its operators, and the keys that let them in.
    People,
}

/// What was seen while it was kept, to compare with what comes back.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", tag = "witness")]
pub enum Witness<S> {
    /// The bytes alone.
    Bytes,
    Database {
        shape: S,
    },
    Keys {
        keys: u64,
    },
    Objects {
        objects: u64,
    },
    /// Those that changed meanwhile are not among those that a drill can compare.
    Files {
        files: u64,
        changed: u64,
        /// Links to what is no text: the list of the files says where they lead.
        #[serde(default)]
        odd_links: u64,
    },
}

impl What {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Files => "files",
            Self::Bucket => "bucket",
            Self::Secrets => "secrets",
            Self::Environment => "environment",
            Self::Registry => "registry",
            Self::Settings => "settings",
            Self::People => "people",
        }
    }

    /// The name of its stream in the repository; for a tree, of the list of its files.
    pub fn stream(self) -> &'static str {
        match self {
            Self::Database => "database.dump",
            Self::Mysql => "mysql.sql",
            Self::Redis => "redis.keys",
            Self::Files => "files.list",
            Self::Bucket => "bucket.tar",
            Self::Secrets => "secrets.json",
            Self::Environment => "environment.env",
            Self::Registry => "registry.db",
            Self::Settings => "settings.tar",
            Self::People => "people.json",
        }
    }
}

/// The stream that holds the record.
pub const RECORD: &str = "record.json";

/// The tag of the record, and of a tree of files beside its list.
pub const RECORD_PART: &str = "record";
pub const TREE_PART: &str = "tree";

/// What a backup of that kind holds, in the order in which it is kept.
pub fn parts_of(kind: BackupKind, project: &Project) -> Vec<What> {
    let has = |what: &What| match what {
        What::Database => project.postgres,
        What::Mysql => project.mysql,
        What::Redis => project.redis.is_some() || project.own_redis,
        What::Bucket => project.storage.is_some(),
        _ => true,
    };
    let all: &[What] = match kind {
        BackupKind::Credentials => &[What::Environment, What::Secrets],
        BackupKind::Db => &[What::Database, What::Mysql, What::Redis],
        BackupKind::Files => &[What::Files, What::Bucket],
        BackupKind::Full => &[
            What::Database,
            What::Mysql,
            What::Redis,
            What::Files,
            What::Bucket,
            What::Environment,
            What::Secrets,
        ],
        BackupKind::Host => &[What::Registry, What::Settings, What::People],
    };
    all.iter().copied().filter(has).collect()
}

/// The tags of one part of a backup. They are the same in every repository.
pub fn tags(project: &str, id: &BackupId, part: &str) -> Vec<String> {
    let mut tags = backup_tags(project, id);
    tags.push(format!("part={part}"));
    tags
}

pub fn backup_tags(project: &str, id: &BackupId) -> Vec<String> {
    vec![format!("project={project}"), format!("backup={id}")]
}

/// The project and the id that tags name.
pub fn named_by(tags: &[String]) -> Option<(String, BackupId)> {
    let value = |key: &str| tags.iter().find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='));
    Some((value("project")?.to_owned(), value("backup")?.parse().ok()?))
}

impl<S: Serialize + for<'a> Deserialize<'a>> Record<S> {
    pub fn part(&self, what: What) -> Option<&Part<S>> {
        self.parts.iter().find(|part| part.what == what)
    }

    pub fn text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|e| Error::failed("could not write down a backup").caused_by(e))
    }

    /// Reads a record, of a backup that is told by its project and its id.
    pub fn read(text: &[u8], project: &str, id: &BackupId) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let bad = |why: String| Error::failed("could not understand a backup").caused_by(why);
        let Version { version } = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
        if version != VERSION {
            return Err(bad(format!(
                "it has the form {version}, and this hostkit knows {VERSION}"
            ))
            .hint("install a newer hostkit"));
        }
        let record: Self = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
        let of = record.project.as_ref().map_or("@host", |project| project.name.as_str());
        if of != project || record.id != *id {
            return Err(bad(format!("it says that it is {} of {of}", record.id)));
        }
        Ok(record)
    }
}

/// The tag of what belongs to the server itself. No project has such a name.
pub const HOST: &str = "@host";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_what_it_is_asked_for() {
        let id: BackupId = "20261121-093012".parse().unwrap();
        let mut project = crate::projects::tests::shop();
        project.redis = None;
        let record = Record::<u32> {
            version: VERSION,
            hostkit: "1".into(),
            id: id.clone(),
            kind: BackupKind::Full,
            made_at: Timestamp::UNIX_EPOCH,
            project: Some(project.clone()),
            release: None,
            parts: vec![Part {
                what: What::Database,
                bytes: 3,
                sha256: "x".into(),
                witness: Witness::Database { shape: 7 },
            }],
        };
        let text = record.text().unwrap();
        let name = project.name.as_str();
        let read = Record::<u32>::read(text.as_bytes(), name, &id).unwrap();
        assert!(matches!(read.parts[0].witness, Witness::Database { shape: 7 }));
        assert!(Record::<u32>::read(text.as_bytes(), "other", &id).is_err());
        let newer = text.replace("\"version\":1", "\"version\":2");
        let error = Record::<u32>::read(newer.as_bytes(), name, &id).unwrap_err();
        assert!(error.cause.unwrap().contains("form 2"));
        let parts = parts_of(BackupKind::Full, &project);
        assert!(!parts.contains(&What::Redis) && parts.contains(&What::Files));
    }

    #[test]
    fn tags_name_a_backup() {
        let id: BackupId = "20261121-093012-2".parse().unwrap();
        assert_eq!(named_by(&tags("shop", &id, "tree")), Some(("shop".into(), id)));
        assert_eq!(named_by(&["project=shop".into()]), None);
    }
}
