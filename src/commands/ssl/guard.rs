//! `hostkit ssl guard`: before nginx starts, no site names a certificate that is of no use.
//!
//! Nothing else may be up yet. What can't be mended here is taken out of the way, and told.

use std::path::{Path, PathBuf};

use super::files;
use crate::{
    commands::{Context, facts},
    error::Result,
    projects,
    registry::Project,
    sys::{Owner, journald, net},
};

/// Let no site keep nginx from starting
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ssl guard")]
pub struct Args {}

const ENABLED: &str = "/etc/nginx/sites-enabled";

pub(super) fn run(_args: &Args, cx: &mut Context) -> Result<()> {
    let projects = cx.registry().and_then(|registry| registry.projects()).unwrap_or_default();
    for name in cx.host.list(Path::new(ENABLED))? {
        let name = name.to_string_lossy().into_owned();
        let Some(project) = name.strip_prefix("hostkit-") else { continue };
        let site = PathBuf::from(format!("/etc/nginx/sites-available/{name}"));
        let Some(text) = cx.host.read_text(&site)? else { continue };
        if is_sound(cx, &text) {
            continue;
        }
        let known = projects.iter().find(|known| known.name.as_str() == project);
        let plain = known.map(|known| without(cx, known));
        let told = match plain {
            Some(Ok(plain)) if is_sound(cx, &plain) => {
                cx.host.write(&site, plain.as_bytes(), Owner::ROOT, 0o644)?;
                format!("{project} answers by HTTP: its certificate is gone")
            }
            _ => {
                match projects::closed_site(project, &text, net::has_ipv6()) {
                    Some(closed) => cx.host.write(&site, closed.as_bytes(), Owner::ROOT, 0o644)?,
                    None => cx.host.remove_file(&Path::new(ENABLED).join(&name))?,
                }
                format!("the site of {project} is off: its certificate is gone")
            }
        };
        journald::send(&told, true, &[("HOSTKIT_PROJECT", project), ("HOSTKIT_VERB", "ssl guard")]);
        cx.ui.note(told);
    }
    Ok(())
}

fn without(cx: &Context, project: &Project) -> Result<String> {
    let facts = facts::of_site(&cx.host, project)?;
    projects::site_text(project, &facts, &cx.config, &cx.templates()?)
}

/// Whether each certificate of ours that a site names is there, with its key. One that its owner
/// keeps elsewhere, in a template of his own, is his business.
fn is_sound(cx: &Context, site: &str) -> bool {
    site.lines()
        .filter_map(|line| line.trim().strip_prefix("ssl_certificate ")?.strip_suffix(';'))
        .map(|path| Path::new(path.trim().trim_matches(['"', '\''])))
        .filter(|path| path.starts_with(projects::CERTIFICATES))
        .all(|path| files::read(&cx.host, path).is_some())
}
