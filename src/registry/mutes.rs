//! Of what nobody is told for a while.

use jiff::Timestamp;
use rusqlite::params;
use serde::Serialize;

use super::{Registry, column, lost};
use crate::{error::Result, names::ProjectName};

/// Nobody is told of a project's troubles, or of any.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Mute {
    /// All of them without one.
    pub project: Option<ProjectName>,
    pub since: Timestamp,
    pub until: Timestamp,
    pub actor: String,
}

impl Registry {
    /// Those that hold, the one of everything first. Before it began none does: a clock that was
    /// set back must not silence anybody for long.
    pub fn mutes(&self, now: Timestamp) -> Result<Vec<Mute>> {
        let time = |text: String| text.parse::<Timestamp>().unwrap_or_default();
        let sql = "SELECT since, until, actor, project FROM mutes ORDER BY project";
        let mutes = self.rows(sql, [], |row| {
            let (since, until) = (time(row.get(0)?), time(row.get(1)?));
            let project = match row.get_ref(3)? {
                rusqlite::types::ValueRef::Null => None,
                _ => Some(column(row, 3)?),
            };
            Ok(Mute { project, since, until, actor: row.get(2)? })
        })?;
        Ok(mutes.into_iter().filter(|mute| mute.since <= now && now < mute.until).collect())
    }

    /// Records it instead of the one that there was.
    pub fn mute(&mut self, mute: &Mute) -> Result<()> {
        let Mute { project, since, until, actor } = mute;
        let project = project.as_ref().map(ProjectName::as_str);
        let tx = self.writing()?;
        let keep = || -> rusqlite::Result<()> {
            tx.execute("DELETE FROM mutes WHERE project IS ?1", [project])?;
            let (since, until) = (since.to_string(), until.to_string());
            tx.execute(
                "INSERT INTO mutes VALUES (?1, ?2, ?3, ?4)",
                params![project, since, until, actor],
            )?;
            Ok(())
        };
        keep().and_then(|()| tx.commit()).map_err(|e| lost(&e))
    }

    /// Takes it away; whether there was one.
    pub fn unmute(&mut self, project: Option<&ProjectName>) -> Result<bool> {
        let project = project.map(ProjectName::as_str);
        let gone = self.db.execute("DELETE FROM mutes WHERE project IS ?1", [project]);
        gone.map(|gone| gone > 0).map_err(|e| lost(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Change, NewOperation, Outcome, Project, Way, tests::fresh};

    #[test]
    fn they_hold_for_their_time_and_go_with_the_project() {
        let (_dir, mut registry) = fresh();
        let new = NewOperation { project: None, verb: "x", actor: "root", way: Way::Undo };
        let (id, _) = registry.begin(&new, None).unwrap();
        let shop = Project::plain("shop");
        let name = shop.name.clone();
        let add = Change::Add(Box::new(shop.clone()));
        registry.close(id, Outcome::Done, None, &[add]).unwrap();
        let at = |minute: i64| Timestamp::from_second(1_800_000_000 + minute * 60).unwrap();
        let mute = |project: Option<ProjectName>, until| Mute {
            project,
            since: at(0),
            until: at(until),
            actor: "root".into(),
        };
        let (all, one) = (mute(None, 10), mute(Some(name.clone()), 5));
        for mute in [&one, &all, &one, &all] {
            registry.mute(mute).unwrap();
        }
        assert_eq!(registry.mutes(at(0)).unwrap(), [all.clone(), one]);
        assert_eq!(registry.mutes(at(5)).unwrap(), [all]);
        assert_eq!(registry.mutes(at(10)).unwrap(), []);
        assert_eq!(registry.mutes(at(-1)).unwrap(), [], "the clock was set back");
        assert!(registry.unmute(None).unwrap());
        assert!(!registry.unmute(None).unwrap());
        assert_eq!(registry.mutes(at(0)).unwrap().len(), 1);
        registry.db.execute("DELETE FROM projects", []).unwrap();
        assert_eq!(registry.mutes(at(0)).unwrap(), []);
        registry.mute(&mute(Some("wiki".parse().unwrap()), 5)).unwrap_err();
    }
}
