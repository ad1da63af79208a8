//! Programs that builds call: which of them the server has, and where others come from.

use std::path::Path;

use crate::projects::{Fpm, Tools};

pub fn found() -> Tools {
    Tools {
        composer: is_installed("composer"),
        corepack: is_installed("corepack"),
        fpm: newest_fpm(),
        pip: has_pip(),
        poetry: is_installed("poetry"),
        uv: is_installed("uv"),
    }
}

/// Which python it is that `python3` stands for: `python3.11`.
pub fn python() -> String {
    let real = std::fs::canonicalize("/usr/bin/python3").unwrap_or_default();
    real.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// What tells one node from another: packages may be compiled for one alone.
pub fn node() -> String {
    let paths = ["/usr/bin/node", "/usr/local/bin/node", "/usr/bin/npm", "/usr/local/bin/npm"];
    let told = |path: &&str| {
        let meta = std::fs::metadata(path).ok()?;
        let changed = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(format!("{path} {} {}", meta.len(), changed.as_nanos()))
    };
    paths.iter().filter_map(told).collect::<Vec<_>>().join(" ")
}

/// Whether python3 has a pip that installs into any environment: `--python` came with its 22.3.
fn has_pip() -> bool {
    let packages = std::fs::read_dir("/usr/lib/python3/dist-packages").into_iter().flatten();
    let names = packages.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let version = |name: String| {
        let (major, rest) = name.strip_prefix("pip-")?.split_once('.')?;
        let minor = rest.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    names.filter_map(version).any(|version| version >= (22, 3))
}

fn newest_fpm() -> Option<Fpm> {
    let programs = std::fs::read_dir("/usr/sbin").ok()?.flatten();
    programs.filter_map(|program| Fpm::of(program.file_name().to_str()?)).max()
}

pub fn how_to_install(program: &str) -> String {
    match program {
        "pnpm" | "yarn" => "apt-get install npm && npm install --global corepack".into(),
        "python3" => "apt-get install python3-venv python3-pip".into(),
        "node" | "npm" => "apt-get install nodejs npm".into(),
        // Debian has none of it.
        "uv" => "apt-get install pipx && PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install uv".into(),
        "poetry" => "apt-get install python3-poetry".into(),
        other => format!("apt-get install {other}"),
    }
}

pub fn is_installed(program: &str) -> bool {
    ["/usr/bin", "/usr/local/bin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
}
