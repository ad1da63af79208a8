//! Why nothing came from a forge, in words, and what to do about it.

use crate::{
    error::{Error, Kind},
    names::{GitUrl, ProjectName, Revision, Transport},
    sys::git::Trouble,
};

/// A fetch that came to nothing.
pub struct Refusal<'a> {
    pub name: &'a ProjectName,
    pub url: &'a GitUrl,
    pub revision: &'a Revision,
    pub trouble: Trouble,
    /// git's own words, or the names that there are.
    pub said: &'a str,
}

impl Refusal<'_> {
    pub fn error(&self) -> Error {
        let (kind, code, message) = self.what();
        let mut error = Error::new(kind, code, message);
        if let Some(cause) = self.cause() {
            error = error.caused_by(cause);
        }
        match self.next() {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn what(&self) -> (Kind, &'static str, String) {
        let Self { name, url, revision, .. } = self;
        let host = url.host();
        let lacks = format!("{url} has no {revision}");
        match self.trouble {
            Trouble::AmbiguousCommit => {
                (Kind::Usage, "bad_commit", format!("{url} has more than one {revision}"))
            }
            Trouble::BadSubmodule => {
                (Kind::Usage, "bad_submodule", "a submodule can't be fetched".into())
            }
            Trouble::Failed => (Kind::Failed, "git_failed", format!("could not fetch {url}")),
            Trouble::HostKey => {
                (Kind::Failed, "git_host_key", format!("{host} shows another key than before"))
            }
            Trouble::NoBranch | Trouble::NoDefault => (Kind::Missing, "no_branch", lacks),
            Trouble::NoCommit => (Kind::Missing, "no_commit", lacks),
            Trouble::NoRepository => {
                (Kind::Missing, "no_repository", format!("there is no repository {url}"))
            }
            Trouble::NoTag => (Kind::Missing, "no_tag", lacks),
            Trouble::Refused => {
                (Kind::Failed, "git_refused", format!("{host} does not let {name} in"))
            }
            Trouble::TooLong => (Kind::Usage, "too_long", format!("{url} is too long")),
            Trouble::Transport => {
                (Kind::Usage, "bad_git_url", format!("{url} leads to another transport"))
            }
            Trouble::Unreachable => {
                (Kind::Failed, "git_unreachable", format!("could not reach {host}"))
            }
            Trouble::Untrusted => {
                (Kind::Failed, "git_untrusted", format!("the certificate of {host} is not trusted"))
            }
        }
    }

    fn cause(&self) -> Option<String> {
        let said = self.said.trim();
        Some(match self.trouble {
            Trouble::AmbiguousCommit => return None,
            Trouble::NoBranch | Trouble::NoTag if said.is_empty() => "it has none at all".into(),
            Trouble::NoBranch | Trouble::NoTag => format!("these are the newest: {said}"),
            Trouble::NoCommit => "it is on none of its branches and tags".into(),
            Trouble::NoDefault => "it is empty, or its default branch is gone".into(),
            Trouble::TooLong => {
                "a file of it is longer than four times `deploys.upload`".to_owned()
            }
            _ if said.is_empty() => return None,
            _ => said.to_owned(),
        })
    }

    fn next(&self) -> Option<String> {
        let name = self.name;
        Some(match self.trouble {
            Trouble::AmbiguousCommit => "give more digits of it".into(),
            Trouble::BadSubmodule => {
                "mend .gitmodules: https, ssh, or relative to the repository's own address".into()
            }
            Trouble::Failed | Trouble::NoBranch | Trouble::NoTag => return None,
            Trouble::HostKey => format!(
                "if the forge says that it has a new one: `hostkit git forget {name} --hosts`; \
                 if it does not, somebody may be in between"
            ),
            Trouble::NoCommit => "push it to a branch first, or name another".into(),
            Trouble::NoDefault => "push to it, or name a branch: `--branch main`".into(),
            Trouble::NoRepository => {
                format!("see whether the address is right; if it is private, {}", self.way_in())
            }
            Trouble::Refused => self.way_in(),
            Trouble::TooLong => {
                "raise that in /etc/hostkit/hostkit.toml, or deploy an archive".into()
            }
            Trouble::Transport => "give the address that it leads to, by https or ssh".into(),
            Trouble::Unreachable => {
                "try again; if that is no help, see whether the server gets out: DNS, firewall"
                    .into()
            }
            Trouble::Untrusted => {
                "renew it there; or trust its authority here: `update-ca-certificates`".into()
            }
        })
    }

    /// What a repository that is not public needs of us.
    fn way_in(&self) -> String {
        let name = self.name;
        if self.url.transport() == Transport::Ssh {
            format!("add the deploy key that `hostkit git key {name}` prints, at the forge")
        } else {
            format!("keep a token that may read it: `hostkit git credential {name} < token-file`")
        }
    }
}
