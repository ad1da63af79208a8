//! Where a release comes from.

use std::{
    fmt,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    git::{Came, Wanted},
    may_name_paths,
    stage::{DEPLOYS, Stage},
};
use crate::{
    archive::{self, Limits},
    commands::Context,
    config::Size,
    error::{Context as _, Error, Result},
    names::ProjectName,
    sys::{Owner, lock, patience::Patience},
};

/// Who sends an archive has so long between two parts of it, and for all of it.
const IDLE: Duration = Duration::from_mins(1);
const WHOLE: Duration = Duration::from_hours(1);

pub enum Source {
    Directory(PathBuf),
    Archive(PathBuf),
    Git(Box<Wanted>),
    Stdin,
    /// What came on standard input: all of it is there.
    Received(File),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) | Self::Archive(path) => write!(f, "{}", path.display()),
            Self::Git(wanted) => write!(f, "{wanted}"),
            Self::Received(_) | Self::Stdin => f.write_str("upload"),
        }
    }
}

impl Source {
    pub fn of(
        dir: Option<&Path>,
        archive: Option<&Path>,
        git: impl FnOnce(&mut Context) -> Result<Option<Wanted>>,
        cx: &mut Context,
    ) -> Result<Self> {
        let source = match (dir, archive) {
            (_, Some(archive)) if archive == Path::new("-") => return Ok(Self::Stdin),
            (Some(dir), _) => Self::Directory(cx.started_in.join(dir)),
            (_, Some(archive)) => Self::Archive(cx.started_in.join(archive)),
            (None, None) => {
                let nothing = || {
                    Error::usage("no_source", "nothing says what to deploy").hint(
                        "`--source DIR`, `--archive FILE`, `--archive -` for standard input, or `--git URL`",
                    )
                };
                let wanted = git(cx)?.ok_or_else(nothing)?;
                return Ok(Self::Git(Box::new(wanted)));
            }
        };
        may_name_paths(&cx.caller, "send it instead: `tar cz . | hostkit deploy --archive -`")?;
        source.check().map(|()| source)
    }

    fn check(&self) -> Result<()> {
        let (path, is_right) = match self {
            Self::Directory(path) => (path, path.is_dir()),
            Self::Archive(path) => (path, path.is_file()),
            Self::Git(_) | Self::Received(_) | Self::Stdin => return Ok(()),
        };
        if is_right {
            return Ok(());
        }
        let what = if matches!(self, Self::Directory(_)) { "directory" } else { "file" };
        Err(Error::usage("no_source", format!("there is no {what} `{}`", path.display())))
    }

    /// Takes what comes on standard input before anything is held that others wait for: how long
    /// it takes is up to whoever sends it. It has no name, so it goes with us.
    pub fn received(self, cx: &Context, name: &ProjectName) -> Result<Self> {
        if !matches!(self, Self::Stdin) {
            return Ok(self);
        }
        let dir = Path::new(DEPLOYS).join(name.as_str());
        let failed = || format!("could not write to `{}`", dir.display());
        cx.host.make_dir(&dir, Owner::ROOT, 0o700)?;
        // One at a time of a project: together they could fill the disk.
        let waiting = |holder: &str| cx.ui.note(format!("waiting for `{holder}`"));
        let holder = format!("an upload to {name}");
        let _alone = lock::take(&format!(".upload-{name}"), &holder, cx.wait, waiting)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::TMPFILE.bits().cast_signed())
            .open(&dir)
            .context(failed)?;
        let patience = Patience::begin(IDLE, WHOLE, "the archive stopped coming");
        copy(std::io::stdin().lock(), &mut file, cx.config.deploys.upload, || patience.more())?;
        file.seek(SeekFrom::Start(0)).context(failed)?;
        Ok(Self::Received(file))
    }

    /// Puts it, as one archive, where root alone may look; says how long it is, and of which
    /// commit.
    pub fn fetch(
        &self,
        cx: &Context,
        stage: &mut Stage<'_>,
        upload: &Path,
    ) -> Result<(u64, Option<Came>)> {
        let failed = || format!("could not write `{}`", upload.display());
        if let Some(dir) = upload.parent() {
            cx.host.make_dir(dir, Owner::ROOT, 0o700)?;
        }
        cx.host.write(upload, b"", Owner::ROOT, 0o600)?;
        let mut file = File::options().write(true).open(upload).context(failed)?;
        let longest = cx.config.deploys.upload;
        let mut came = None;
        match self {
            Self::Directory(dir) => {
                archive::pack(dir, std::io::BufWriter::new(&file), &Limits::default())?;
            }
            Self::Archive(path) => {
                let archive =
                    File::open(path).context(|| format!("could not read `{}`", path.display()))?;
                copy(archive, &mut file, longest, || {})?;
            }
            Self::Git(wanted) => came = Some(wanted.fetch(cx, stage, upload)?),
            Self::Received(from) => {
                copy(from, &mut file, longest, || {})?;
            }
            Self::Stdin => {
                copy(std::io::stdin().lock(), &mut file, longest, || {})?;
            }
        }
        let size = file.metadata().context(failed)?.len();
        if size == 0 {
            return Err(Error::usage("no_source", "the archive is empty")
                .caused_by("nothing came on standard input")
                .hint("`tar cz . | hostkit deploy NAME --archive -`"));
        }
        Ok((size, came))
    }
}

fn copy(mut from: impl Read, to: &mut File, longest: Size, heard: impl Fn()) -> Result<u64> {
    let mut part = vec![0; 256 << 10];
    let mut total: u64 = 0;
    loop {
        let n = from.read(&mut part).context(|| "could not read the archive".into())?;
        if n == 0 {
            return Ok(total);
        }
        heard();
        total += n as u64;
        if total > longest.0 {
            return Err(Error::usage("too_long", "the archive is too long")
                .caused_by(format!("`deploys.upload` is {longest}")));
        }
        to.write_all(&part[..n]).context(|| "could not keep the archive".into())?;
    }
}
