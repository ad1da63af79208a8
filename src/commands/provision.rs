//! `hostkit provision`: a project with everything that this server has.

use clap::Parser;

use super::{Cli, Command, Context, create, deploy, keys::KeyArg, port, ssl, storage};
use crate::{
    error::{Error, Result},
    names::{Domain, Environment, ProjectName, Runtime},
    projects,
};

/// Make a project with all that the server offers
///
/// One command makes a Linux user, a home with releases, a hardened unit, a port behind the
/// wall, a Redis database, a PostgreSQL database, a site, log files and sudo rules: all of it,
/// or nothing. Until something is deployed the site says so; with a source it is deployed at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit provision my-shop
  hostkit provision my-shop --node --domain shop.example.com
  hostkit provision my-shop --source . --domain shop.example.com
  hostkit provision my-shop --git https://forge.example/me/shop.git --branch main
  hostkit provision my-shop --port 8100 --environment dev
  hostkit provision my-blog --php --no-db --with-mysql
  hostkit provision my-shop --domain shop.example.com --ssl
  hostkit provision my-shop --no-db --ssh-key ~/.ssh/id_ed25519.pub
  hostkit provision my-shop --dry-run")]
pub struct Args {
    /// Name of the project: its user, its unit and its first domain are called so
    pub name: String,

    #[command(flatten)]
    pub settings: Settings,

    /// Leave out PostgreSQL
    #[arg(long)]
    no_db: bool,

    /// Make a PostgreSQL database (as without this option)
    #[arg(long, conflicts_with = "no_db")]
    with_db: bool,

    /// Leave out the auth service
    #[arg(long)]
    no_auth: bool,

    /// Insist on the auth service
    #[arg(long, conflicts_with = "no_auth")]
    with_auth: bool,

    /// Leave out object storage
    #[arg(long)]
    no_storage: bool,

    /// Insist on object storage
    #[arg(long, conflicts_with = "no_storage")]
    with_storage: bool,

    /// Do not start the project
    #[arg(long)]
    no_start: bool,

    #[command(flatten)]
    first: First,
}

/// What the first release is made of.
#[derive(Debug, clap::Args)]
struct First {
    /// Deploy this directory at once
    #[arg(long, value_name = "DIR", conflicts_with_all = ["archive", "git", "no_start"])]
    source: Option<String>,

    /// Deploy this archive at once; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["git", "no_start"])]
    archive: Option<String>,

    /// Deploy this repository at once, and remember it
    #[arg(long, value_name = "URL", conflicts_with = "no_start")]
    git: Option<String>,

    /// The branch to deploy
    #[arg(long, requires = "git")]
    branch: Option<String>,
}

impl First {
    /// The port that the manifest asks for, where it can be read before there is a project.
    fn check_port(&self, new: &mut create::New, cx: &Context) -> Result<()> {
        let Some(dir) = &self.source else { return Ok(()) };
        let Some(wanted) = port::of_directory(cx, dir)? else { return Ok(()) };
        if let Some(asked) = new.port.filter(|asked| *asked != wanted) {
            let message = format!("hostkit.toml wants port {wanted}, and `--port` {asked}");
            return Err(Error::usage("port_differs", message).hint("leave one of them out"));
        }
        port::check_range(cx, wanted)?;
        new.port = Some(wanted);
        Ok(())
    }

    /// The deploy that brings it, if there is to be one.
    fn words<'a>(&'a self, name: &'a str) -> Option<Vec<&'a str>> {
        let mut words = vec!["hostkit", "deploy", name];
        for (option, value) in [
            ("--source", &self.source),
            ("--archive", &self.archive),
            ("--git", &self.git),
            ("--branch", &self.branch),
        ] {
            words.extend(value.iter().flat_map(|value| [option, value]));
        }
        (words.len() > 3).then_some(words)
    }
}

/// What every way of making a project takes.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// What the project runs on
    #[arg(long, value_enum, value_name = "RUNTIME", default_value = "python")]
    runtime: Runtime,

    /// Same as --runtime python
    #[arg(long, group = "short_runtime")]
    python: bool,

    /// Same as --runtime node
    #[arg(long, group = "short_runtime")]
    node: bool,

    /// Same as --runtime nextjs
    #[arg(long, group = "short_runtime")]
    nextjs: bool,

    /// Same as --runtime php
    #[arg(long, group = "short_runtime")]
    php: bool,

    /// Same as --runtime static
    #[arg(long = "static", group = "short_runtime")]
    is_static: bool,

    /// What the project is for: its part of hostkit.toml holds
    #[arg(long, value_enum, value_name = "ENVIRONMENT", default_value = "prod")]
    environment: Environment,

    /// Have this port, and not the lowest that is free
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    /// Start with this command instead of the runtime's own
    #[arg(long, value_name = "COMMAND")]
    start_cmd: Option<String>,

    /// Answer to this domain too (may be given again)
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<String>,

    /// Get a certificate for the domains that lead here, now or as soon as they do
    #[arg(long)]
    ssl: bool,

    /// Agree to the terms of service of who gives it
    #[arg(long, requires = "ssl")]
    agree_tos: bool,

    /// Let this public key log in as the project's user: the key, or a file of keys
    #[arg(long, value_name = "KEY|FILE")]
    ssh_key: Vec<String>,

    /// Which Redis: a number of the server's, or an instance that is the project's alone
    #[arg(long, value_enum, value_name = "KIND", default_value = "shared")]
    redis: create::Redis,

    /// Leave out Redis
    #[arg(long, conflicts_with = "redis")]
    no_redis: bool,

    /// Make a database in MariaDB, too (the server gets it by `hostkit init --with-mysql`)
    #[arg(long)]
    with_mysql: bool,

    /// Show what would be made, and make nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let mut new = args.settings.check(&args.name, "provision", !args.no_db, cx)?;
    if args.with_auth {
        return Err(no_such_service("auth service"));
    }
    if !args.no_auth {
        cx.ui.note(format!("this server has no auth service yet: {} goes without", args.name));
    }
    new.storage = match (args.with_storage, args.no_storage) {
        (true, _) => storage::insisted(cx)?,
        (_, true) => false,
        _ => storage::offered(cx, &args.name),
    };
    let Some(words) = args.first.words(&args.name) else { return create::run(&new, cx) };
    let parsed = Cli::try_parse_from(&words).map_err(|e| super::usage_error(&e))?;
    let Command::Deploy(first) = parsed.command else { return create::run(&new, cx) };
    first.check_source(cx)?;
    args.first.check_port(&mut new, cx)?;
    let line = words.join(" ");
    if new.dry_run {
        cx.ui.note(format!("and then: `{line}`"));
        return create::run(&new, cx);
    }
    create::one(&new, cx)?;
    deploy::run(&first, cx).inspect_err(|_| {
        cx.ui.note(format!("{} is there, and has no release yet; then: `{line}`", new.name));
    })
}

/// For a service that was asked for by name.
pub fn no_such_service(service: &str) -> Error {
    Error::not_ready("no_such_service", format!("this server has no {service} yet"))
        .caused_by("this version of hostkit can't set one up")
        .hint("leave that option out; the project can get it later")
}

impl Settings {
    /// What was asked for, checked.
    pub fn check(
        &self,
        name: &str,
        verb: &'static str,
        postgres: bool,
        cx: &mut Context,
    ) -> Result<create::New> {
        let name: ProjectName = name.parse().map_err(|e: Error| with_command(e, verb))?;
        let shorts = [
            (self.python, Runtime::Python),
            (self.node, Runtime::Node),
            (self.nextjs, Runtime::Nextjs),
            (self.php, Runtime::Php),
            (self.is_static, Runtime::Static),
        ];
        let runtime =
            shorts.iter().find(|(asked, _)| *asked).map_or(self.runtime, |(_, runtime)| *runtime);
        let mut domains = self.domain.iter().map(|d| d.parse()).collect::<Result<Vec<Domain>>>()?;
        domains.sort();
        domains.dedup();
        self.port.map_or(Ok(()), |port| port::check_range(cx, port))?;
        let mut keys = Vec::new();
        for arg in &self.ssh_key {
            keys.extend(KeyArg::new(arg, &cx.started_in).read()?);
        }
        let tls =
            self.ssl.then(|| ssl::check_wish(cx, self.agree_tos, self.dry_run)).transpose()?;
        Ok(create::New {
            verb,
            name,
            runtime,
            environment: self.environment,
            port: self.port,
            redis: if self.no_redis { create::Redis::None } else { self.redis },
            postgres,
            mysql: self.with_mysql,
            storage: false,
            tls,
            start: self.start_cmd.as_deref().map(projects::check_command).transpose()?,
            domains,
            keys,
            dry_run: self.dry_run,
        })
    }
}

/// The suggestion as a command to type.
fn with_command(error: Error, verb: &str) -> Error {
    let better =
        error.hint.as_deref().and_then(|hint| hint.strip_prefix('`')?.strip_suffix("` would do"));
    match better {
        Some(better) => {
            let hint = format!("hostkit {verb} {better}");
            error.hint(hint)
        }
        None => error,
    }
}
