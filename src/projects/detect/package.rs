//! `package.json`, as far as it is looked at.

use serde_json::Value;

use super::Tree;
use crate::error::{Error, Result};

#[derive(Debug, Default)]
pub(super) struct Package {
    json: Value,
}

impl Package {
    /// The one at the top of the tree; an empty one where there is none.
    pub(super) fn of(tree: &Tree) -> Result<Self> {
        let text = tree.text("package.json");
        if text.is_empty() {
            return Ok(Self::default());
        }
        let json = serde_json::from_str(text).map_err(|e| {
            Error::usage("bad_package_json", "`package.json` can't be read").caused_by(e)
        })?;
        Ok(Self { json })
    }

    pub(super) fn script(&self, name: &str) -> Option<&str> {
        self.json.get("scripts")?.get(name)?.as_str().map(str::trim).filter(|s| !s.is_empty())
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.json.get(key)?.as_str()
    }

    /// Whether it is among the dependencies of the running program.
    pub(super) fn uses(&self, name: &str) -> bool {
        self.lists("dependencies", name)
    }

    /// Whether it is among those of its developers only.
    pub(super) fn builds_with(&self, name: &str) -> bool {
        self.lists("devDependencies", name) && !self.uses(name)
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.uses(name) || self.lists("devDependencies", name)
    }

    pub(super) fn has_developers(&self) -> bool {
        let list = self.json.get("devDependencies").and_then(Value::as_object);
        list.is_some_and(|list| !list.is_empty())
    }

    fn lists(&self, key: &str, name: &str) -> bool {
        self.json.get(key).and_then(|list| list.get(name)).is_some()
    }
}
