//! What lies on the server: the key of the account, certificates, and those of a certbot.

use std::path::{Path, PathBuf};

use crate::{
    commands::Context,
    error::{Error, Result},
    names::{Domain, ProjectName},
    projects::{CERTIFICATES, Held, TlsFacts, certificate_file},
    registry::{Issued, Project, Tls, TlsSource},
    sys::{
        FileKind, Host, Owner,
        acme::Account,
        certificate::{Bundle, Certificate},
    },
};

const ACCOUNT_DIR: &str = "/etc/hostkit/acme";
const ACCOUNT: &str = "/etc/hostkit/acme/account.pem";
const TIMER: &str = "/etc/systemd/system/hostkit-ssl.timer";
const CERTBOT: &str = "/etc/letsencrypt";

/// What a site must know.
pub fn facts(host: &Host, project: &Project) -> Result<TlsFacts> {
    if project.tls.is_none() {
        return Ok(TlsFacts::default());
    }
    let account = host.read_text(Path::new(ACCOUNT)).ok().flatten();
    let account = account.and_then(|text| Account::read(&text).ok());
    let held = held(host, &project.name);
    let has_http2 = held.is_some() && host.nginx_version()? >= [1, 25, 1];
    Ok(TlsFacts {
        thumbprint: account.map(|account| account.thumbprint()),
        held: held.map(|bundle| shown(&bundle)),
        has_http2,
    })
}

pub(super) fn shown(bundle: &Bundle) -> Held {
    Held { pem: bundle.pem.clone(), names: bundle.certificate.names.clone() }
}

/// The certificate of a project, if the web server can use what lies there.
pub fn held(host: &Host, name: &ProjectName) -> Option<Bundle> {
    read(host, &certificate_file(name))
}

/// A file that root alone made, with a key and its certificate.
pub(super) fn read(host: &Host, path: &Path) -> Option<Bundle> {
    Bundle::read_whole(&host.read(path).ok()??).ok()
}

/// What a certificate says of the project that has it, for a registry that was lost.
pub fn found(cx: &Context, name: &ProjectName) -> Option<Tls> {
    let bundle = held(&cx.host, name)?;
    let source = bundle.origin().and_then(|origin| origin.parse().ok()).unwrap_or(TlsSource::Own);
    Some(Tls { issued: Some(issued(&bundle.certificate)), ..Tls::wanted(source) })
}

pub(super) fn issued(certificate: &Certificate) -> Issued {
    Issued {
        names: certificate.names.clone(),
        issuer: certificate.issuer.clone(),
        at: certificate.from,
        until: certificate.until,
    }
}

pub(super) fn has_account(cx: &Context) -> Result<bool> {
    Ok(cx.host.meta(Path::new(ACCOUNT))?.is_some())
}

/// The account, made if there is none yet. The caller holds its lock.
pub(super) fn account(cx: &Context) -> Result<Account> {
    let path = Path::new(ACCOUNT);
    if let Some(text) = cx.host.read_text(path)? {
        return Account::read(&text).map_err(|error| {
            error.hint(format!("move `{ACCOUNT}` away: a new account is made the next time"))
        });
    }
    let text = Account::generate()?;
    cx.host.make_dir(Path::new(ACCOUNT_DIR), Owner::ROOT, 0o700)?;
    cx.host.write(path, text.expose().as_bytes(), Owner::ROOT, 0o600)?;
    Account::read(text.expose())
}

/// Fails on a server on which nothing would renew what is made, nor see to it when nginx starts.
pub(super) fn check_prepared(cx: &Context) -> Result<()> {
    if cx.host.meta(Path::new(TIMER))?.is_some() {
        return Ok(());
    }
    Err(Error::not_ready("not_prepared", "this server was made ready by an older hostkit")
        .caused_by(format!("`{TIMER}` is missing, so no certificate would be renewed"))
        .hint("run `hostkit init` once"))
}

/// Where certificates lie, on a server that was made ready before there were any.
pub(super) fn make_place(cx: &Context) -> Result<()> {
    let place = Path::new(CERTIFICATES);
    match cx.host.meta(place)? {
        Some(_) => Ok(()),
        None => cx.host.make_dir(place, Owner::ROOT, 0o700),
    }
}

/// For a server that hostkit leaves: no key stays behind.
pub fn forget(cx: &Context) -> Result<()> {
    cx.host.remove_tree(Path::new(ACCOUNT_DIR))?;
    cx.host.remove_tree(Path::new(CERTIFICATES))
}

/// What a certbot on this server keeps under a name.
pub(super) fn certbot(host: &Host, name: &Domain) -> Result<Bundle> {
    let part = |file: &str| -> Result<Vec<u8>> {
        let link = PathBuf::from(format!("{CERTBOT}/live/{name}/{file}"));
        let missing = || {
            Error::missing("no_certificate", format!("there is no certificate `{name}` of certbot"))
                .caused_by(format!("`{}` leads to none", link.display()))
                .hint("`certbot certificates` lists those that there are")
        };
        // Its links lead from `live` to `archive`, and nowhere else.
        let to = host.read_link(&link)?.ok_or_else(missing)?;
        let to = to.strip_prefix(format!("../../archive/{name}")).map_err(|_| missing())?;
        if to.components().count() != 1 {
            return Err(missing());
        }
        let path = Path::new(CERTBOT).join("archive").join(name.as_str()).join(to);
        host.read(&path)?.ok_or_else(missing)
    };
    Bundle::read(&part("privkey.pem")?, &part("fullchain.pem")?)
}

/// The names under which a certbot keeps certificates.
pub(super) fn certbots(host: &Host) -> Result<Vec<Domain>> {
    let live = Path::new(CERTBOT).join("live");
    let mut names = Vec::new();
    for name in host.list(&live)? {
        let is_dir = host.meta(&live.join(&name))?.is_some_and(|m| m.kind == FileKind::Directory);
        if let (true, Some(Ok(name))) = (is_dir, name.to_str().map(str::parse)) {
            names.push(name);
        }
    }
    Ok(names)
}
