//! What of git may be asked for: a repository by its address, and a branch, tag or commit of it.

use std::{fmt, str::FromStr};

use super::serde_by_str;
use crate::error::{Error, Result};

/// The address of a repository that git may be given: never an option, a path, or a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GitUrl {
    text: String,
    transport: Transport,
    host: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    Git,
    Http,
    Https,
    Ssh,
}

/// What of a repository.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Revision {
    Branch(String),
    Commit(String),
    /// The branch that the repository itself names.
    Default,
    Tag(String),
}

const LONGEST: usize = 1000;

impl Transport {
    const ALL: [(&'static str, Self); 4] =
        [("git", Self::Git), ("http", Self::Http), ("https", Self::Https), ("ssh", Self::Ssh)];

    /// Whether whoever sits in between can neither read nor change what comes.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::Ssh)
    }
}

impl GitUrl {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// With its port, if it names one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address of a submodule, which may be written relative to this one.
    pub fn join(&self, other: &str) -> Result<Self> {
        if !other.starts_with("./") && !other.starts_with("../") {
            return other.parse();
        }
        let root = match self.text.find("://") {
            Some(at) => self.text[at + 3..].find('/').map_or(self.text.len(), |n| at + 3 + n),
            None => self.text.find(':').unwrap_or(0),
        };
        let (root, path) = self.text.split_at(root);
        let (lead, path) = path.split_at(usize::from(!path.is_empty()));
        let mut parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        for part in other.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or_else(|| refused("it leads out of its host"))?;
                }
                name => parts.push(name),
            }
        }
        format!("{root}{lead}{}", parts.join("/")).parse()
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for GitUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(refused("it is empty, or longer than any"));
        }
        if text.starts_with('-') {
            return Err(refused("it begins with `-`, as an option would"));
        }
        if let Some((transport, rest)) = text.split_once("://") {
            let known = Transport::ALL.iter().find(|(name, _)| *name == transport);
            let Some((_, transport)) = known else { return Err(no_transport(transport)) };
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority_host(authority, *transport)?;
            check_path(path)?;
            return Ok(Self { text: text.to_owned(), transport: *transport, host });
        }
        if let Some((transport, _)) = text.split_once("::") {
            return Err(no_transport(transport));
        }
        // As ssh and scp write it: `git@host:path`. What has no colon before a slash is a path here.
        match text.split_once(':') {
            Some((authority, path)) if !authority.contains('/') && !authority.is_empty() => {
                let host = authority_host(authority, Transport::Ssh)?;
                if host.contains(':') || path.starts_with('-') {
                    return Err(refused("its path begins with `-`"));
                }
                check_path(path)?;
                Ok(Self { text: text.to_owned(), transport: Transport::Ssh, host })
            }
            _ => Err(refused("it is a path, and git runs where it could read no path of yours")
                .hint("deploy a directory of the server by `--source DIR`")),
        }
    }
}

serde_by_str!(GitUrl);

fn refused(why: &str) -> Error {
    // What is refused is not repeated: it may hold a password.
    Error::usage("bad_git_url", "this is no address of a git repository")
        .caused_by(why)
        .hint("write it like https://forge.example/me/shop.git or git@forge.example:me/shop.git")
}

fn no_transport(name: &str) -> Error {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let name: String = name.chars().filter(|c| plain(*c)).take(20).collect();
    refused(&format!("the transport `{name}` is not taken: https and ssh are"))
}

/// The host and port of `user@host:port`.
fn authority_host(authority: &str, transport: Transport) -> Result<String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    match user {
        Some(_) if transport != Transport::Ssh => {
            return Err(refused("it holds a user name or a password, which logs would keep").hint(
                "leave it out, and give the token by `hostkit git credential NAME < token-file`",
            ));
        }
        Some(user) if user.contains(':') => {
            return Err(refused("it holds a password, which logs would keep")
                .hint("leave it out; ssh goes by a key: `hostkit git key NAME`"));
        }
        Some(user) if !is_word(user, "._-") => return Err(refused("its user name is none")),
        _ => {}
    }
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(refused("its host is none"));
            }
            (None, port.strip_prefix(':').or((!port.is_empty()).then_some("x")))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        },
    };
    let is_label = |label: &str| is_word(label, "-_") && label.len() <= 63;
    if name.is_some_and(|name| name.len() > 253 || !name.split('.').all(is_label)) {
        return Err(refused("its host is none"));
    }
    if port.is_some_and(|port| port.starts_with('+') || !port.parse::<u16>().is_ok_and(|n| n > 0)) {
        return Err(refused("its port is none"));
    }
    Ok(host.to_ascii_lowercase())
}

fn is_word(text: &str, more: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '.'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

fn check_path(path: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._~%+@=,-".contains(c);
    if path.trim_matches('/').is_empty() {
        return Err(refused("it names a host and no repository on it"));
    }
    if path.chars().all(plain) {
        return Ok(());
    }
    Err(refused("its path holds a character that repositories' names do not"))
}

impl Revision {
    pub fn branch(text: &str) -> Result<Self> {
        check_ref(text, "branch").map(|()| Self::Branch(text.to_owned()))
    }

    pub fn tag(text: &str) -> Result<Self> {
        check_ref(text, "tag").map(|()| Self::Tag(text.to_owned()))
    }

    /// Whole, or as much of its beginning as tells it from all others.
    pub fn commit(text: &str) -> Result<Self> {
        let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
        if is_hex && (7..=64).contains(&text.len()) {
            return Ok(Self::Commit(text.to_ascii_lowercase()));
        }
        Err(Error::usage("bad_commit", format!("`{}` is no commit", shown(text)))
            .caused_by("a commit is named by 7 to 40 hexadecimal digits"))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Commit(name) => write!(f, "commit {name}"),
            Self::Default => f.write_str("default branch"),
            Self::Tag(name) => write!(f, "tag {name}"),
        }
    }
}

/// By the rules of git itself, and nothing that could be read as an option.
fn check_ref(text: &str, what: &str) -> Result<()> {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.strip_suffix(".lock").is_none()
            && part != "@"
    };
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !"~^:?*[\\".contains(c);
    let is_right = text.len() <= 200
        && !text.starts_with(['-', '.'])
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && text.chars().all(is_plain)
        && text.split('/').all(is_part);
    if is_right {
        return Ok(());
    }
    Err(Error::usage("bad_ref", format!("`{}` is no {what} of git", shown(text))).hint(format!(
        "give its name alone: `--{what} {}`",
        if what == "tag" { "v1.4.2" } else { "main" }
    )))
}

fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_of_repositories_are_taken() {
        for (text, transport, host) in [
            ("https://forge.example/me/shop.git", Transport::Https, "forge.example"),
            ("https://Forge.example:8443/~me/shop", Transport::Https, "forge.example:8443"),
            ("http://127.0.0.1:8080/shop.git", Transport::Http, "127.0.0.1:8080"),
            ("git://forge.example/shop.git", Transport::Git, "forge.example"),
            ("ssh://git@forge.example:2222/me/shop.git", Transport::Ssh, "forge.example:2222"),
            ("ssh://git@[2001:db8::1]:22/shop", Transport::Ssh, "[2001:db8::1]:22"),
            ("git@forge.example:me/shop.git", Transport::Ssh, "forge.example"),
            ("forge:shop.git", Transport::Ssh, "forge"),
        ] {
            let url: GitUrl = text.parse().unwrap();
            assert_eq!((url.transport(), url.host(), url.as_str()), (transport, host, text));
        }
    }

    #[test]
    fn what_git_would_do_more_with_is_refused() {
        for text in [
            "",
            "-oProxyCommand=touch /tmp/x",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c id",
            "ext::sh -c id %S /x://y/z",
            "fd::17/foo",
            "file:///etc",
            "file://localhost/etc",
            "/etc",
            "./shop.git",
            "../shop.git",
            "shop.git",
            "ftp://forge.example/shop.git",
            "HTTPS://forge.example/shop.git",
            ".@forge.example:shop.git",
            "https://user@forge.example/shop.git",
            "https://user:token@forge.example/shop.git",
            "ssh://git:secret@forge.example/shop.git",
            "ssh://-oProxyCommand=id/shop.git",
            "ssh://git@-oProxyCommand=id/shop.git",
            "ssh://-x@forge.example/shop.git",
            "-x@forge.example:shop.git",
            "git@-oProxyCommand=id:shop.git",
            "git@forge.example:-x",
            "git@forge.example:",
            "https://forge.example",
            "https://forge.example/",
            "https:///shop.git",
            "https://forge.example:0/shop.git",
            "https://forge.example:99999/shop.git",
            "https://forge.example:+80/shop.git",
            "https://forge..example/shop.git",
            "https://[x]/shop.git",
            "https://forge.example/shop.git?x=1",
            "https://forge.example/shop.git#x",
            "https://forge.example/a b",
            "https://forge.example/a\nb",
            "https://forge.example/$(id)",
            "https://forge.example/a'b",
            "https://forge.exämple/shop.git",
            "git@forge.example:a b",
            "::1:x",
        ] {
            let error = text.parse::<GitUrl>().unwrap_err();
            assert_eq!(error.kind.exit_code(), 2, "{text}");
            assert!(!format!("{error:?}").contains("token@"), "{error:?}");
        }
    }

    #[test]
    fn a_submodule_is_beside_its_repository() {
        for (base, other, joined) in [
            ("https://f.example/me/shop.git", "../lib.git", Some("https://f.example/me/lib.git")),
            ("https://f.example/me/shop.git", "../../x/y", Some("https://f.example/x/y")),
            ("git@f.example:me/shop.git", "../lib.git", Some("git@f.example:me/lib.git")),
            ("https://f.example/shop.git", "https://g.example/x", Some("https://g.example/x")),
            ("https://f.example/shop.git", "../../../../etc", None),
            ("https://f.example/shop.git", "file:///etc", None),
            ("https://f.example/shop.git", "/etc", None),
            ("https://f.example/shop.git", "-x", None),
            ("https://f.example/shop.git", "../../../@evil.example/x", None),
        ] {
            let url = base.parse::<GitUrl>().unwrap().join(other).ok();
            assert_eq!(url.as_ref().map(GitUrl::as_str), joined, "{base} {other}");
        }
    }

    #[test]
    fn names_of_branches_follow_gits_rules() {
        for good in ["main", "feature/cart", "v1.4.2", "renovate/node-22.x", "Ünï"] {
            assert!(Revision::branch(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            "--upload-pack=id",
            "a..b",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[b",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.",
            "a@{1}",
            "@",
            "a\nb",
        ] {
            assert!(Revision::branch(bad).is_err() && Revision::tag(bad).is_err(), "{bad:?}");
        }
        assert!(Revision::commit("3f2A1b9").is_ok());
        for bad in ["3f2a1b", "main", "", "-3f2a1b9", "3f2a1b9^", &"a".repeat(65)] {
            assert!(Revision::commit(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_starts_with_a_transport_or_a_host(text in "\\PC{0,60}|[a-z@:/.-]{0,30}") {
            if let Ok(url) = text.parse::<GitUrl>() {
                prop_assert!(!url.as_str().starts_with(['-', '/', '.']));
                prop_assert!(!url.as_str().contains("::") || url.as_str().contains('['));
                prop_assert!(url.as_str().chars().all(|c| c.is_ascii_graphic()));
            }
        }
    }
}
