//! What a project is for: to be worked on, to be tried, or to be used.

use std::{fmt, str::FromStr};

use super::{nearest, serde_by_str};
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, clap::ValueEnum)]
pub enum Environment {
    /// To be worked on
    Dev,
    /// To be used
    #[default]
    Prod,
    /// To be tried as it will be used
    Staging,
}

impl Environment {
    pub const ALL: [Self; 3] = [Self::Dev, Self::Prod, Self::Staging];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Prod => "prod",
            Self::Staging => "staging",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Environment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|environment| environment.as_str() == text);
        found.ok_or_else(|| {
            let error = Error::usage(
                "bad_environment",
                format!("`{}` is no environment", text.escape_debug()),
            );
            match nearest(text, Self::ALL.map(Self::as_str)) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => error.hint("there are dev, prod and staging"),
            }
        })
    }
}

serde_by_str!(Environment);
