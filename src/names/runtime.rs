//! What a project runs on.

use std::{fmt, str::FromStr};

use super::serde_by_str;
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Runtime {
    /// Any executable; needs --start-cmd
    Custom,
    /// `npm start`, or a standalone Next.js server
    Nextjs,
    /// node app/index.js
    Node,
    /// php-fpm in a pool of the project's own, behind nginx
    Php,
    /// python -m app, in a virtual environment of each release
    Python,
    /// Files that nginx serves
    Static,
}

impl Runtime {
    pub const ALL: [Self; 6] =
        [Self::Custom, Self::Nextjs, Self::Node, Self::Php, Self::Python, Self::Static];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Nextjs => "nextjs",
            Self::Node => "node",
            Self::Php => "php",
            Self::Python => "python",
            Self::Static => "static",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Runtime {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.as_str() == text).ok_or_else(|| {
            Error::usage("bad_runtime", format!("`{}` is no runtime", text.escape_debug()))
                .caused_by("there are custom, nextjs, node, php, python and static")
        })
    }
}

serde_by_str!(Runtime);
