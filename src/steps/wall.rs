//! A project's ports behind the wall, in the kernel now; a file brings them back at boot.

use std::{collections::BTreeSet, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Error, Result},
    sys::{
        Host,
        wall::{Elements, TABLE},
    },
};

/// The wall itself, without a project behind it yet.
#[derive(Debug, Deserialize, Serialize)]
pub struct WallTable {
    /// The file that it is loaded from, now and at boot.
    pub file: PathBuf,
}

impl Step for WallTable {
    fn title(&self) -> String {
        "wall in the kernel".into()
    }

    fn check(&self, host: &Host) -> Result<Check> {
        Ok(if host.wall()?.is_some() { Check::InPlace } else { Check::absent() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.load_wall(&self.file)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        // To delete what is not there is an error, so it is put there first.
        host.nft("take the wall down", &format!("table inet {TABLE}\ndelete table inet {TABLE}\n"))
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Wall {
    pub uid: u32,
    pub ports: Vec<u16>,
    /// Whether the project is: nothing of it can stand. nft reads all elements of all projects
    /// before it answers for one.
    #[serde(default)]
    pub is_new: bool,
}

impl Wall {
    /// Statements that put this project's elements in, as they also stand in its file.
    pub fn rules(&self) -> String {
        let (ports, owners) = (self.port_list(), self.owner_list(self.uid));
        format!(
            "add element inet {TABLE} walled {{ {ports} }}\nadd element inet {TABLE} owners {{ {owners} }}\n"
        )
    }

    fn port_list(&self) -> String {
        self.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
    }

    fn owner_list(&self, uid: u32) -> String {
        self.ports.iter().map(|port| format!("{uid} . {port}")).collect::<Vec<_>>().join(", ")
    }

    fn loaded(host: &Host) -> Result<Elements> {
        host.wall()?.ok_or_else(down)
    }

    /// Others that hold one of these ports.
    fn strangers(&self, is: &Elements) -> BTreeSet<(u32, u16)> {
        is.owners
            .iter()
            .copied()
            .filter(|(uid, port)| *uid != self.uid && self.ports.contains(port))
            .collect()
    }
}

const UNIT: &str = "hostkit-wall.service";

fn down() -> Error {
    Error::not_ready("wall_down", "the wall around projects' ports is not loaded")
        .caused_by(format!("the kernel has no table `inet {TABLE}`"))
        .hint("load it: `systemctl restart hostkit-wall`, and see `journalctl -u hostkit-wall`")
}

impl Step for Wall {
    fn title(&self) -> String {
        "wall around the ports".into()
    }

    fn check(&self, host: &Host) -> Result<Check> {
        if self.is_new {
            let is_up = host.unit(UNIT)?.is_active();
            return if is_up { Ok(Check::absent()) } else { Err(down()) };
        }
        let is = Self::loaded(host)?;
        let strangers = self.strangers(&is);
        let walled = self.ports.iter().filter(|port| is.walled.contains(port)).count();
        let owned =
            self.ports.iter().filter(|port| is.owners.contains(&(self.uid, **port))).count();
        if strangers.is_empty() && walled == self.ports.len() && owned == self.ports.len() {
            return Ok(Check::InPlace);
        }
        if walled == 0 && owned == 0 && strangers.is_empty() {
            return Ok(Check::absent());
        }
        let differs = match strangers.first() {
            Some((uid, port)) => format!("user {uid} may use port {port} (should not)"),
            None => "some ports are open".into(),
        };
        // What was half-open is no state to go back to: an undo leaves it closed.
        Ok(Check::Missing { before: Before::Was(true), differs })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let strangers =
            if self.is_new { BTreeSet::new() } else { self.strangers(&Self::loaded(host)?) };
        let strangers: String = strangers
            .iter()
            .map(|(uid, port)| format!("delete element inet {TABLE} owners {{ {uid} . {port} }}\n"))
            .collect();
        host.nft("wall the ports", &format!("{}{strangers}", self.rules()))
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            _ => Ok(()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        let Some(is) = host.wall()? else { return Ok(()) };
        let held = |port: &u16| is.walled.contains(port) || is.owners.contains(&(self.uid, *port));
        if !self.ports.iter().any(held) {
            return Ok(());
        }
        // To delete what is not there is an error, so all of it is put in first.
        let rules = format!(
            "{}delete element inet {TABLE} walled {{ {} }}\ndelete element inet {TABLE} owners {{ {} }}\n",
            self.rules(),
            self.port_list(),
            self.owner_list(self.uid)
        );
        host.nft("open the wall", &rules)
    }
}
