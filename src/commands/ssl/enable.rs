//! `hostkit ssl enable`: a certificate for a project's domains, now or as soon as they lead here.

use super::{
    files,
    obtain::{install, obtain, wish},
    told,
};
use crate::{
    commands::{Context, facts, show},
    error::{Error, Result},
    names::{Domain, ProjectName},
    plan::differences,
    projects::{self, covers},
    registry::{Project, Tls, TlsSource},
    sys::certificate::Bundle,
};

/// Let a project answer by HTTPS
///
/// Asks an authority (`ssl.directory`, Let's Encrypt) for one certificate for all of the project's
/// domains that lead to this server. Those that do not yet are pending: the site answers by HTTP,
/// and twice a day the server looks again. Who comes by HTTP is sent to HTTPS from then on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ssl enable my-shop --agree-tos
  hostkit ssl enable my-shop --hsts
  hostkit ssl enable my-shop --existing
  hostkit ssl enable my-shop --dry-run")]
pub struct Args {
    /// Project to give a certificate
    pub name: String,

    /// Agree to the authority's terms of service (or once for all: `ssl.agree_tos`)
    #[arg(long)]
    agree_tos: bool,

    /// Use what a certbot on this server keeps; certbot goes on renewing it
    #[arg(long)]
    existing: bool,

    /// Tell browsers to come by HTTPS alone, for a year
    #[arg(long)]
    hsts: bool,

    /// Tell them no more
    #[arg(long, conflicts_with = "hsts")]
    no_hsts: bool,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.living_project(&name)?;
    files::check_prepared(cx)?;
    if args.existing {
        return existing(args, cx, &name);
    }
    check_terms(cx, args.agree_tos)?;
    if args.dry_run {
        return preview(args, cx, project);
    }
    let account = cx.take_account("ssl enable")?;
    let key = files::account(cx)?;
    let held = cx.take_project(&name, "ssl enable")?;
    let project = cx.registry()?.living_project(&name)?;
    wish(cx, &wanted(args, project, TlsSource::Acme), "ssl enable")?;
    drop(held);
    let obtained = obtain(cx, &name, &key, "ssl enable", false)?;
    drop(account);
    told::result(cx, &name, "ssl enable", obtained.waiting)
}

/// The project with the wish; what it has already stays until there is something else.
fn wanted(args: &Args, project: Project, source: TlsSource) -> Project {
    let before = project.tls.clone();
    let mut tls = Tls { source: source.clone(), ..before.unwrap_or_else(|| Tls::wanted(source)) };
    tls.hsts = (tls.hsts || args.hsts) && !args.no_hsts;
    Project { tls: Some(tls), ..project }
}

fn preview(args: &Args, cx: &mut Context, project: Project) -> Result<()> {
    let after = wanted(args, project, TlsSource::Acme);
    let facts = facts::of_site(&cx.host, &after)?;
    let plan = projects::tls_plan(&after, &facts, &cx.config, &cx.templates()?)?;
    let differences = differences(&plan, &cx.host)?;
    let domains = projects::domains(&after, &cx.config)?;
    let domains: Vec<&str> = domains.iter().map(Domain::as_str).collect();
    cx.ui.note(format!("and then a certificate, as far as they lead here: {}", domains.join(", ")));
    show::preview(cx, "ssl enable", Some(&after.name), &differences);
    Ok(())
}

/// Fails unless somebody agreed to the terms of service, now or before.
fn check_terms(cx: &Context, agreed: bool) -> Result<()> {
    if agreed || cx.config.ssl.agree_tos || files::has_account(cx)? {
        return Ok(());
    }
    Err(Error::usage("terms_not_agreed", "nobody agreed to the authority's terms of service yet")
        .caused_by(format!("`{}` gives certificates only to who does", cx.config.ssl.directory))
        .hint("read them, then: `--agree-tos`, or `hostkit config set ssl.agree_tos true`"))
}

/// For a project that is about to be made: everything that can be refused.
pub fn check_wish(cx: &mut Context, agreed: bool, dry_run: bool) -> Result<Tls> {
    cx.registry()?;
    files::check_prepared(cx)?;
    check_terms(cx, agreed)?;
    if !dry_run {
        let _account = cx.take_account("provision")?;
        files::account(cx)?;
    }
    Ok(Tls::wanted(TlsSource::Acme))
}

/// For a project that was made with the wish: it is there, whatever comes of this.
pub fn after_creation(cx: &mut Context, name: &ProjectName) {
    cx.ui.note(format!("asking for a certificate for {name}"));
    let obtained = cx.take_account("provision").and_then(|account| {
        let key = files::account(cx)?;
        let obtained = obtain(cx, name, &key, "ssl enable", false)?;
        drop(account);
        Ok(obtained)
    });
    let told = obtained.and_then(|obtained| {
        let project = cx.registry()?.project(name)?;
        let told =
            project.tls.as_ref().map(|tls| told::Told::of(cx, &project, tls, obtained.waiting));
        told.transpose()
    });
    match told {
        Ok(Some(told)) => cx.ui.note(told.text(name).trim_end()),
        Ok(None) => {}
        Err(error) => {
            cx.ui.note(format!("no certificate yet: {error}; then: `hostkit ssl renew {name}`"));
        }
    }
}

/// For a project that is back from a backup: the wish that it had, where somebody agreed to the
/// authority's terms on this server. The project is there, whatever comes of this.
pub fn bring_back(cx: &mut Context, name: &ProjectName, was: &Tls) {
    if was.source == TlsSource::Own {
        cx.ui.note(format!(
            "{name} answers by HTTP: its certificate was brought by somebody, and has to be \
             brought again: `hostkit ssl import {name}`"
        ));
        return;
    }
    match wish_again(cx, name, was.hsts) {
        Ok(()) => after_creation(cx, name),
        Err(error) => {
            cx.ui.note(format!(
                "{name} answers by HTTP: {error}; then: `hostkit ssl enable {name}`"
            ));
        }
    }
}

fn wish_again(cx: &mut Context, name: &ProjectName, hsts: bool) -> Result<()> {
    files::check_prepared(cx)?;
    check_terms(cx, false)?;
    let _account = cx.take_account("backup restore")?;
    files::account(cx)?;
    let _held = cx.take_project(name, "backup restore")?;
    let project = cx.registry()?.living_project(name)?;
    let tls = Some(Tls { hsts, ..Tls::wanted(TlsSource::Acme) });
    wish(cx, &Project { tls, ..project }, "backup restore")
}

/// The certificate of a certbot that holds for most of the project's domains.
fn existing(args: &Args, cx: &mut Context, name: &ProjectName) -> Result<()> {
    let project = cx.registry()?.living_project(name)?;
    let domains = projects::domains(&project, &cx.config)?;
    let mut found: Option<(usize, Domain, Bundle)> = None;
    for lineage in files::certbots(&cx.host)? {
        let bundle = match files::certbot(&cx.host, &lineage) {
            Ok(bundle) => bundle,
            Err(error) => {
                cx.ui.note(format!("passed over: {error}"));
                continue;
            }
        };
        let fits = domains.iter().filter(|d| covers(&bundle.certificate.names, d)).count();
        if fits > found.as_ref().map_or(0, |(most, _, _)| *most) {
            found = Some((fits, lineage, bundle));
        }
    }
    let (_, lineage, bundle) = found.ok_or_else(|| {
        let domains: Vec<&str> = domains.iter().map(Domain::as_str).collect();
        Error::missing("no_certificate", format!("no certbot here has a certificate for {name}"))
            .caused_by(format!("none holds for {}", domains.join(" or ")))
            .hint(format!(
                "`certbot certificates` lists them; or have one made: `hostkit ssl enable {name}`"
            ))
    })?;
    super::bring::check_time(&bundle)?;
    if args.dry_run {
        cx.ui.note(format!("certbot's `{lineage}` would be used; nothing is done yet"));
        return Ok(());
    }
    let source = TlsSource::Certbot(lineage);
    let _account = cx.take_account("ssl enable")?;
    let bundle = bundle.marked(&source.to_string());
    install(cx, name, &bundle, source.clone(), None, "ssl enable")?;
    if args.hsts || args.no_hsts {
        let _held = cx.take_project(name, "ssl enable")?;
        let project = cx.registry()?.living_project(name)?;
        wish(cx, &wanted(args, project, source), "ssl enable")?;
    }
    told::result(cx, name, "ssl enable", Vec::new())
}
