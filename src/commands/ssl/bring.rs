//! `hostkit ssl import`: a certificate that somebody brings.

use std::path::Path;

use jiff::Timestamp;

use super::{files, obtain::install, told};
use crate::{
    commands::Context,
    error::{Error, Result},
    names::ProjectName,
    registry::TlsSource,
    sys::certificate::Bundle,
};

/// Let a project answer by HTTPS with a certificate of your own
///
/// The certificate's file holds the project's certificate first and then those that vouch for it.
/// hostkit does not renew it, and says in `hostkit doctor` when it is about to end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ssl import my-shop --cert fullchain.pem --key privkey.pem")]
pub struct Args {
    /// Project that it is for
    pub name: String,

    /// File with the certificate and those that vouch for it
    #[arg(long, value_name = "FILE")]
    cert: String,

    /// File with its key
    #[arg(long, value_name = "FILE")]
    key: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.living_project(&name)?;
    files::check_prepared(cx)?;
    let read = |path: &str| {
        let path = cx.started_in.join(path);
        let missing = || Error::missing("no_file", format!("there is no `{}`", path.display()));
        cx.host.read(Path::new(&path))?.ok_or_else(missing)
    };
    let bundle = Bundle::read(&read(&args.key)?, &read(&args.cert)?).map_err(|error| Error {
        kind: crate::error::Kind::Usage,
        ..error.hint("give the file of the certificate first and that of its own key (both PEM)")
    })?;
    check_time(&bundle)?;
    let _account = cx.take_account("ssl import")?;
    let source = TlsSource::Own;
    let bundle = bundle.marked(&source.to_string());
    install(cx, &name, &bundle, source, None, "ssl import")?;
    told::result(cx, &name, "ssl import", Vec::new())
}

/// Refuses one that no browser would take today.
pub(super) fn check_time(bundle: &Bundle) -> Result<()> {
    let (now, certificate) = (Timestamp::now(), &bundle.certificate);
    if certificate.until <= now {
        return Err(Error::usage("expired", "this certificate has ended")
            .caused_by(format!("it held until {}", told::date(certificate.until)))
            .hint("bring a newer one"));
    }
    if certificate.from > now {
        return Err(Error::usage("not_yet", "this certificate does not hold yet")
            .caused_by(format!("it holds from {}", told::date(certificate.from)))
            .hint("see whether the server's clock is right: `timedatectl`"));
    }
    Ok(())
}
