//! The unit that fetches a project's repository, as nobody in particular.

use serde::Serialize;

use crate::{
    config::{Config, Size},
    error::Result,
    registry::{OFFSETS, Project},
    templates::Templates,
};

/// One fetch, as a unit that ends.
pub struct FetchUnit<'a> {
    pub project: &'a Project,
    pub command: &'a [String],
    /// Where the tree goes, as an archive.
    pub output: String,
    pub log: String,
    /// Secrets that only this unit may read: their names in it, and root's files.
    pub credentials: Vec<(&'static str, String)>,
}

/// A history that takes longer to come is better deployed as an archive.
const SECONDS: u64 = 900;
const MEMORY: Size = Size(1 << 30);

pub fn fetch_unit(fetch: &FetchUnit<'_>, config: &Config, templates: &Templates) -> Result<String> {
    #[derive(Serialize)]
    struct Credential<'a> {
        name: &'a str,
        path: &'a str,
    }
    #[derive(Serialize)]
    struct Values<'a> {
        name: &'a str,
        uid: u32,
        credentials: Vec<Credential<'a>>,
        start: String,
        seconds: u64,
        output: &'a str,
        log: &'a str,
        memory: String,
        longest: u64,
        homeless: bool,
        first_port: u16,
        last_port: u16,
        ports: [u16; 0],
    }
    let offset = OFFSETS.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
    templates.render(
        "systemd/git.service",
        &Values {
            name: fetch.project.name.as_str(),
            uid: fetch.project.uid,
            credentials: fetch
                .credentials
                .iter()
                .map(|(name, path)| Credential { name, path })
                .collect(),
            start: super::unit::exec_start(fetch.command),
            seconds: SECONDS,
            output: &fetch.output,
            log: &fetch.log,
            memory: MEMORY.to_string(),
            // What is packed in the repository may be four times as long once it is not.
            longest: config.deploys.upload.0.saturating_mul(4),
            homeless: true,
            first_port: config.ports.first,
            last_port: config.ports.last + offset,
            ports: [],
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::tests::shop;

    #[test]
    fn the_unit_of_a_fetch() {
        let fetch = FetchUnit {
            project: &shop(),
            command: &["/usr/bin/hostkit".into(), "git".into(), "fetch".into()],
            output: "/var/lib/hostkit/deploys/my-shop/1.upload".into(),
            log: "/var/lib/hostkit/deploys/my-shop/1.log".into(),
            credentials: vec![("key", "/var/lib/hostkit/deploys/my-shop/git/key".into())],
        };
        let text = fetch_unit(&fetch, &Config::default(), &Templates::default()).unwrap();
        assert!(!text.contains("/home/my-shop"), "{text}");
        insta::assert_snapshot!("unit-fetch", text);
    }
}
