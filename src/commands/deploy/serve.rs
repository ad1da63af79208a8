//! What the web server gets to read of a release that is final: what it serves, and nothing else.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::stage::Stage;
use crate::{
    commands::Context,
    error::{Error, Result},
    projects,
    release::{Files, Route, Spec},
    sys::{Cmd, FileKind, Owner},
};

const WEB: &str = "www-data";

impl Stage<'_> {
    /// Refuses what would show more than the release, and opens the rest. Nobody may change the
    /// tree meanwhile.
    pub(super) fn serve(&self, cx: &Context, spec: &Spec) -> Result<()> {
        if spec.public.is_some() {
            self.check_links(cx, "", &spec.shared)?;
        }
        for uploads in projects::served(spec) {
            self.show(cx, &uploads)?;
        }
        if spec.public.is_some() {
            cx.host.allow(&self.dir(), WEB, "rX", true)?;
        }
        let own =
            |route: &'_ &Route| route.files().is_some_and(|files| !spec.shared.contains(&files.at));
        let routes: Vec<&Route> = spec.routes.iter().filter(own).collect();
        for route in &routes {
            self.check_files(cx, route)?;
        }
        self.open_files(cx, &routes)
    }

    /// The web server would follow a link for anybody, to where only it may look.
    fn check_links(&self, cx: &Context, below: &str, shared: &[String]) -> Result<()> {
        let dir = self.dir().join(below);
        let Some(link) = cx.host.link_out_of(&dir, shared)? else { return Ok(()) };
        let (link, whole) = match below {
            "" => (link, "the release".to_owned()),
            below => (format!("{below}/{link}"), format!("`{below}`, which is served")),
        };
        Err(Error::failed(format!("`{link}` is a link that leads out of {whole}"))
            .coded("link_out")
            .caused_by("the web server would follow it")
            .hint("link relative to where the link is; what outlives a release is `shared`"))
    }

    /// Fails where a route leads to nothing, or by a link to somewhere else.
    fn check_files(&self, cx: &Context, route: &Route) -> Result<()> {
        let Some(files) = route.files() else { return Ok(()) };
        let wanted = |is_last: bool| {
            if is_last && route.is_page() {
                (FileKind::File, "file")
            } else {
                (FileKind::Directory, "directory")
            }
        };
        let mut at = self.dir();
        let mut parts = files.at.split('/').peekable();
        while let Some(part) = parts.next() {
            at.push(part);
            let (kind, noun) = wanted(parts.peek().is_none());
            match cx.host.meta(&at)? {
                Some(meta) if meta.kind == kind => {}
                Some(_) => {
                    return Err(no_site(route, files, &format!("`{part}` is no {noun}")));
                }
                None => {
                    return Err(no_site(route, files, &format!("there is no {noun} `{part}`")));
                }
            }
        }
        if files.spa && cx.host.meta(&at.join("index.html"))?.is_none() {
            return Err(no_site(route, files, "it has no index.html, and `spa` sends that"));
        }
        if route.is_page() { Ok(()) } else { self.check_links(cx, &files.at, &[]) }
    }

    /// The ways there, to be passed and not looked into, and what lies there.
    fn open_files(&self, cx: &Context, routes: &[&Route]) -> Result<()> {
        let top = self.dir();
        let targets: Vec<(PathBuf, bool)> = routes
            .iter()
            .filter_map(|route| Some((top.join(&route.files()?.at), !route.is_page())))
            .collect();
        let all = targets.iter().flat_map(|(target, _)| target.ancestors().skip(1));
        let ways: BTreeSet<&Path> = all.filter(|dir| dir.starts_with(&top)).collect();
        for dir in ways {
            cx.host.allow(dir, WEB, "x", false)?;
        }
        for (target, is_dir) in &targets {
            cx.host.allow(target, WEB, "rX", *is_dir)?;
        }
        Ok(())
    }

    /// Lets the web server read what the project puts into a shared directory.
    fn show(&self, cx: &Context, shared: &str) -> Result<()> {
        let owner = Owner::new(self.project.uid, self.project.uid);
        let top = self.name().home().join("shared");
        let target = top.join(shared);
        let setfacl = |rights: &str, dir: &Path| {
            let cmd = Cmd::new("/usr/bin/setfacl").args(["-m", rights, "--"]);
            let what = format!("let the web server into `{}`", dir.display());
            cx.host.run(&cmd.arg(dir).user(owner), &what)?.success().map(|_| ())
        };
        for dir in target.ancestors().skip(1).take_while(|dir| dir.starts_with(&top)) {
            setfacl("u:www-data:x", dir)?;
        }
        setfacl("u:www-data:rx,d:u:www-data:rX", &target)
    }
}

fn no_site(route: &Route, files: &Files, why: &str) -> Error {
    Error::failed(format!("nothing to send for `{}`", route.path))
        .coded("no_site")
        .caused_by(format!("its route says `{}` in the release: {why}", files.at))
        .hint("name what the build makes, or mend the build: see its steps in the log")
}
