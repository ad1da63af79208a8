//! `hostkit storage setup`: a Garage of the server's own, or a service elsewhere.

use std::{
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    commands::{Context, config, facts, init, show},
    config::{Backend, COMMENTED, Config, PATH, Size},
    error::{Context as _, Error, Result},
    plan::{Ground, Lane, Plan, Planned, differences},
    projects::{self, GARAGE_UNIT, StorageFacts},
    registry::{NewOperation, Way},
    secret::{Keys, Secret},
    steps::{Contents, Dir, Program},
    sys::{Owner, https, net, storage as sys},
    ui::{count, elapsed},
};

/// Set up object storage for this server
///
/// With --garage hostkit runs a Garage of its own, on loopback, and gives each project a bucket
/// and a key. With --endpoint it uses a service elsewhere, with the keys of an account, whose
/// secret is read from standard input; each project's own key is then given by `storage enable`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit storage setup --garage ./garage
  hostkit storage setup --garage https://example.com/garage --sha256 DIGEST
  hostkit storage setup --garage installed
  hostkit storage setup --endpoint https://s3.example.com --region eu-1 --access-key ID < secret")]
pub struct Args {
    /// The program of Garage 2: a file, an address with --sha256, or `installed`
    #[arg(long, value_name = "PROGRAM", conflicts_with = "endpoint")]
    garage: Option<String>,

    /// What the program's SHA-256 must be
    #[arg(long, value_name = "DIGEST", requires = "garage")]
    sha256: Option<String>,

    /// Where a service elsewhere answers
    #[arg(long, value_name = "URL", requires = "access_key")]
    endpoint: Option<String>,

    /// What that service calls its place
    #[arg(long, requires = "endpoint")]
    region: Option<String>,

    /// A key of the account there; its secret is read from standard input
    #[arg(long, value_name = "ID", requires = "endpoint")]
    access_key: Option<String>,

    /// Where that service shows what is public: at /BUCKET/KEY below this
    #[arg(long, value_name = "URL", requires = "endpoint")]
    public_url: Option<String>,

    /// What each bucket may hold, for example 10G; 0 is no limit
    #[arg(long, value_name = "SIZE", conflicts_with = "endpoint")]
    quota: Option<Size>,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Ready {
    backend: Backend,
    endpoint: String,
    changed: usize,
    milliseconds: u128,
}

/// No Garage is longer.
const LONGEST: usize = 256 << 20;
const PROGRAMS: &str = "/usr/local/lib/hostkit";
const SAYS: &str = "garage ";

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let start = Instant::now();
    init::check_ready(&cx.host)?;
    let program = args.garage.as_deref().map(|given| Given::read(given, args, cx)).transpose()?;
    let account = args.access_key.as_deref().map(read_account).transpose()?;
    let text = configure(args, program.as_ref(), cx)?;
    if cx.config.storage.backend == Backend::None {
        return Err(Error::usage("usage", "which object storage?").hint(
            "`--garage PROGRAM` runs one here, `--endpoint URL` uses one elsewhere: `hostkit storage setup --help`",
        ));
    }
    let held = (!args.dry_run).then(|| cx.take_host("storage setup")).transpose()?;
    check(cx, account.as_ref())?;
    let plan = plan(cx, &text, program, account)?;
    if args.dry_run {
        let differences = differences(&plan, &cx.host)?;
        show::preview(cx, "storage setup", None, &differences);
        return Ok(());
    }
    facts::check_room(cx)?;
    cx.ui.head("object storage");
    let actor = cx.caller.actor();
    let new = NewOperation { project: None, verb: "storage setup", actor: &actor, way: Way::Undo };
    let changed = cx.carry_out(&new, None, |_, _| Ok((plan, Vec::new())))?;
    super::check(cx)?;
    drop(held);
    report(cx, changed, start.elapsed());
    Ok(())
}

fn report(cx: &Context, changed: usize, took: Duration) {
    let storage = &cx.config.storage;
    let place = projects::storage_place(&cx.config);
    let endpoint = place.map(|place| place.endpoint).unwrap_or_default();
    let next = if storage.backend == Backend::Garage {
        "hostkit storage enable NAME  ·  new projects get a bucket by themselves"
    } else {
        "hostkit storage enable NAME --access-key ID < secret"
    };
    let text = match changed {
        0 => format!("object storage is set up; nothing had to change\nNext:  {next}\n"),
        n => format!(
            "\nReady in {}: {} changed; {endpoint}\nNext:  {next}\n",
            elapsed(took),
            count(n, "thing")
        ),
    };
    let data =
        Ready { backend: storage.backend, endpoint, changed, milliseconds: took.as_millis() };
    cx.ui.result("storage setup", None, &data, &text);
}

/// A program that was given, and under which name it will be.
struct Given {
    bytes: Option<Arc<Vec<u8>>>,
    path: PathBuf,
}

impl Given {
    fn read(given: &str, args: &Args, cx: &Context) -> Result<Self> {
        if given == "installed" {
            return Self::installed(cx);
        }
        let bytes = if given.starts_with("https://") {
            if args.sha256.is_none() {
                return Err(Error::usage("no_digest", "a program from elsewhere needs its digest")
                    .hint("add what its makers publish: `--sha256 DIGEST`"));
            }
            https::download(given, LONGEST)?
        } else {
            let failed = || format!("could not read `{given}`");
            let file = std::fs::File::open(cx.started_in.join(given)).context(failed)?;
            let mut bytes = Vec::new();
            file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).context(failed)?;
            bytes
        };
        let digest = HEXLOWER.encode(&Sha256::digest(&bytes));
        if let Some(wanted) = args.sha256.as_ref().filter(|w| !w.eq_ignore_ascii_case(&digest)) {
            return Err(Error::usage("bad_digest", "the program is not the one that was meant")
                .caused_by(format!("its SHA-256 is {digest}, and {wanted} was said"))
                .hint("fetch it again from its makers; if it stays so, do not use it"));
        }
        if !bytes.starts_with(b"\x7fELF") || bytes.len() > LONGEST {
            return Err(Error::usage("bad_program", format!("`{given}` is no program")));
        }
        let path = format!("{PROGRAMS}/garage-{}", &digest[..16]).into();
        Ok(Self { bytes: Some(Arc::new(bytes)), path })
    }

    /// One that the system has: root's, since whoever may change it reads what all projects store.
    fn installed(cx: &Context) -> Result<Self> {
        let places = ["/usr/local/bin/garage", "/usr/bin/garage"].map(Path::new);
        let Some(path) = places.into_iter().find(|path| path.exists()) else {
            return Err(Error::not_ready("no_garage", "Garage is not installed")
                .caused_by("it is neither in /usr/local/bin nor in /usr/bin")
                .hint("name the program: `hostkit storage setup --garage PATH`"));
        };
        let meta = std::fs::metadata(path)
            .context(|| format!("could not look at `{}`", path.display()))?;
        if meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            return Err(Error::conflict(
                "not_roots",
                format!("`{}` can be changed by others than root", path.display()),
            )
            .hint(format!("chown root:root {0}; chmod 0755 {0}", path.display())));
        }
        program(path, None).approve(&cx.host, path)?;
        Ok(Self { bytes: None, path: path.to_owned() })
    }
}

fn program(path: &Path, bytes: Option<Arc<Vec<u8>>>) -> Program {
    Program { path: path.to_owned(), says: SAYS.into(), bytes }
}

/// The secret of a key comes by standard input: an argument is seen by everybody.
pub(super) fn read_secret() -> Result<Secret> {
    let mut text = String::new();
    let failed = || "could not read the secret".to_owned();
    std::io::stdin().lock().take(4096).read_to_string(&mut text).context(failed)?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(Error::usage("no_secret", "the key's secret is missing")
            .hint("it is read from standard input: `… --access-key ID < secret-file`"));
    }
    Ok(Secret::new(secret))
}

fn read_account(id: &str) -> Result<Keys> {
    let secret = read_secret()?;
    Keys::read(id, secret.expose())
        .ok_or_else(|| Error::usage("bad_key", "this is no access key and no secret"))
}

/// The configuration as it will be, in force from here on.
fn configure(args: &Args, program: Option<&Given>, cx: &mut Context) -> Result<String> {
    let was = cx.config.storage.clone();
    let mut text = cx.host.read_text(Path::new(PATH))?.unwrap_or_else(|| COMMENTED.to_owned());
    let mut set = |key: &str, value: &str| -> Result<()> {
        text = config::changed(&text, &format!("storage.{key}"), value)?;
        Ok(())
    };
    if let Some(program) = program {
        set("backend", "garage")?;
        set("program", &program.path.display().to_string())?;
        set("region", "garage")?;
        set("endpoint", "")?;
        set("public_url", "")?;
    }
    if let Some(endpoint) = &args.endpoint {
        set("backend", "s3")?;
        set("endpoint", endpoint)?;
        set("region", args.region.as_deref().unwrap_or("us-east-1"))?;
        set("public_url", args.public_url.as_deref().unwrap_or_default())?;
    }
    if let Some(quota) = args.quota {
        set("quota", &quota.to_string())?;
    }
    cx.config = Config::parse(&text)?;
    let now = &cx.config.storage;
    let moved = (was.backend, &was.endpoint) != (now.backend, &now.endpoint);
    if moved && was.backend != Backend::None {
        let mut users = cx.registry()?.projects()?;
        users.retain(|project| project.storage.is_some());
        if let Some(first) = users.first() {
            return Err(Error::conflict("storage_in_use", "projects have buckets elsewhere")
                .caused_by(format!("{} of them, the first is {}", users.len(), first.name))
                .hint("take it from each first: `hostkit storage disable NAME`"));
        }
    }
    Ok(text)
}

/// What can be refused before anything changes.
fn check(cx: &Context, account: Option<&Keys>) -> Result<()> {
    if let (Some(keys), Some(place)) = (account, projects::storage_place(&cx.config)) {
        use sys::Storage;
        return sys::Service::new(place, keys.clone())?.answers();
    }
    let is_garage = cx.config.storage.backend == Backend::Garage;
    if !is_garage || cx.host.unit(GARAGE_UNIT)?.is_active() {
        return Ok(());
    }
    let listeners = net::listeners()?;
    let ports = [sys::S3_PORT, sys::RPC_PORT, sys::WEB_PORT, sys::ADMIN_PORT];
    match ports.into_iter().find(|port| listeners.contains_key(port)) {
        None => Ok(()),
        Some(port) => Err(Error::conflict("port_taken", format!("port {port} is taken"))
            .caused_by("something else listens there, and Garage would")
            .hint(format!("see what: `ss -ltnp sport = :{port}`"))),
    }
}

fn plan(cx: &mut Context, text: &str, given: Option<Given>, account: Option<Keys>) -> Result<Plan> {
    let (mut facts, secret) = facts::of_ready_host(cx)?;
    facts.storage = StorageFacts { account, ..facts.storage };
    let mut plan = projects::host_plan(&facts, &cx.config, &cx.templates()?, &secret, Some(text))?;
    debug_assert_eq!(plan.ground, Ground::Known);
    if let Some(Given { bytes: Some(bytes), path }) = given {
        plan.part("program", path.display().to_string());
        let part = plan.parts.len() - 1;
        let dir = Dir {
            path: PROGRAMS.into(),
            owner: Owner::ROOT,
            mode: 0o755,
            contents: Contents::Stays,
        };
        // First of all: the unit that starts it comes later.
        for step in [program(&path, Some(bytes)).into(), dir.into()] {
            let planned = Planned { step, lane: Lane::Files, part, notify: Vec::new() };
            plan.steps.insert(0, planned);
        }
    }
    Ok(plan)
}
