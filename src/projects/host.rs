//! What `hostkit init` wants of the server itself.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    CERTIFICATES, MAP, WALL_DIR,
    garage::{self, Served, StorageFacts},
    metrics::{self, MetricsFacts},
    mysql::{self, MysqlFacts},
    upkeep,
};
use crate::{
    config::{COMMENTED, Config, PATH as CONFIG, Uids},
    error::Result,
    plan::{Ground, Lane, Plan},
    registry::Project,
    secret::Secret,
    steps::{
        ACL_FILE, ADMIN, Block, Contents, Dir, File, GROUP_ROLE, Gone, Group, GroupRole, Judge,
        Link, MYSQL_PORT, NotPublic, OpenFiles, Owner, Place, Running, SECRET, SOCKET, Text,
        Trigger, WallTable, hash,
    },
    templates::Templates,
};

/// What the plan must know of the server.
#[derive(Clone, Debug)]
pub struct HostFacts {
    pub has_ipv6: bool,
    pub web: Owner,
    pub redis_user: Owner,
    pub postgres_uid: u32,
    pub hba_file: PathBuf,
    pub redis_conf: PathBuf,
    /// The password of hostkit's own Redis user, if it was made before.
    pub redis_secret: Option<Secret>,
    /// Databases of the server's own that may be open to everybody.
    pub databases: Vec<String>,
    /// Whether the owner has set the size of nginx's tables of names himself.
    pub sets_names_hash: bool,
    pub sets_map_hash: bool,
    /// A site of the owner's that already answers for unknown hosts, other than Debian's own.
    pub foreign_default: Option<PathBuf>,
    /// Whether hostkit may answer unknown hosts that come by HTTPS, which is with a refusal.
    pub may_refuse_tls: bool,
    pub projects: Vec<Project>,
    pub storage: StorageFacts,
    /// Where the server has a MariaDB for projects.
    pub mysql: Option<MysqlFacts>,
    pub metrics: MetricsFacts,
}

#[derive(Serialize)]
struct Map<'a> {
    names_hash: bool,
    map_hash: bool,
    entries: Vec<MapEntry<'a>>,
}

#[derive(Serialize)]
struct MapEntry<'a> {
    domain: String,
    port: u16,
    name: &'a str,
}

#[derive(Serialize)]
struct Default<'a> {
    is_default: bool,
    is_tls_default: bool,
    ipv6: bool,
    base_domain: &'a str,
}

#[derive(Serialize)]
struct Wall<'a> {
    web_uid: u32,
    /// Users of projects, where somebody is believed for whom he asks.
    believed: Option<&'a Uids>,
    services: Vec<Served>,
    /// Who reads the figures of projects, where somebody does.
    scraper: Option<u32>,
}

#[derive(Serialize)]
struct RedisConf {
    socket: &'static str,
    databases: u32,
}

#[derive(Serialize)]
struct Acl {
    admin: &'static str,
    hash: String,
}

#[derive(Serialize)]
struct Limit {
    open_files: u64,
}

/// Enough for nginx to hold the logs of every project that there can be, and as many connections.
const OPEN_FILES: u64 = 65_536;

/// Of a template that asks for nothing.
#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Operators<'a> {
    group: &'a str,
}

/// The plan of the server; with the configuration file's text where init was told to change it.
pub fn plan(
    facts: &HostFacts,
    config: &Config,
    templates: &Templates,
    secret: &Secret,
    config_text: Option<&str>,
) -> Result<Plan> {
    let maker = Maker { facts, config, templates };
    let mut plan = Plan::new(Ground::Known);
    maker.directories(&mut plan);
    maker.configuration(&mut plan, config_text);
    maker.operators(&mut plan)?;
    maker.nginx(&mut plan)?;
    maker.redis(&mut plan, secret)?;
    maker.postgres(&mut plan);
    if facts.mysql.is_some() {
        mysql::host_plan(&mut plan, templates)?;
    }
    garage::plan(&mut plan, facts, config, templates)?;
    metrics::plan(&mut plan, facts, config, templates)?;
    maker.wall(&mut plan)?;
    garage::running(&mut plan, facts, config);
    metrics::running(&mut plan, facts);
    maker.upkeep(&mut plan)?;
    upkeep::certificates(&mut plan, templates)?;
    Ok(plan)
}

struct Maker<'a> {
    facts: &'a HostFacts,
    config: &'a Config,
    templates: &'a Templates,
}

impl Maker<'_> {
    fn file(&self, path: &str, text: String) -> File {
        File {
            path: path.into(),
            owner: Owner::ROOT,
            mode: 0o644,
            text: Text::Exactly(text),
            judge: Judge::Nobody,
        }
    }

    fn directories(&self, plan: &mut Plan) {
        plan.part("directories", "/etc/hostkit, /var/lib/hostkit, /srv/backups/hostkit");
        for (path, mode) in [
            ("/etc/hostkit", 0o755),
            ("/etc/hostkit/templates", 0o755),
            (WALL_DIR, 0o755),
            (CERTIFICATES, 0o700),
            ("/var/lib/hostkit/checkpoints", 0o700),
            ("/var/lib/hostkit/deploys", 0o700),
            ("/srv/backups", 0o755),
            ("/srv/backups/hostkit", 0o700),
            ("/var/log/projects", 0o755),
        ] {
            plan.step(
                Lane::Files,
                Dir { path: path.into(), owner: Owner::ROOT, mode, contents: Contents::Stays },
            );
        }
    }

    fn configuration(&self, plan: &mut Plan, text: Option<&str>) {
        plan.part("configuration", CONFIG);
        // Numbers below it may have been used, even where the registry is lost.
        let floor = format!("{}\n", (self.config.uids.first / 100 + 1) * 100);
        let file = File {
            text: Text::Initially(floor),
            ..self.file("/etc/hostkit/uid-floor", String::new())
        };
        plan.step(Lane::Files, file);
        let text = match text {
            Some(text) => Text::Exactly(text.to_owned()),
            None => Text::Initially(COMMENTED.to_owned()),
        };
        let file = File { text, ..self.file(CONFIG, String::new()) };
        plan.step(Lane::Files, file);
    }

    fn operators(&self, plan: &mut Plan) -> Result<()> {
        let group = &self.config.operators;
        plan.part("operators", format!("group {group}"));
        plan.step(Lane::Accounts, Group { name: group.clone() });
        let text = self.templates.render("sudoers/operators", &Operators { group })?;
        let file =
            File { mode: 0o440, judge: Judge::Sudo, ..self.file("/etc/sudoers.d/hostkit", text) };
        plan.step(Lane::Files, file);
        Ok(())
    }

    fn nginx(&self, plan: &mut Plan) -> Result<()> {
        let Self { facts, config, templates } = self;
        plan.part("nginx", "unknown hosts get no answer");
        let entries = facts
            .projects
            .iter()
            .map(|project| {
                let domain = config.base_domain.below(&project.name)?.to_string();
                Ok(MapEntry { domain, port: project.port, name: project.name.as_str() })
            })
            .collect::<Result<Vec<_>>>()?;
        let map =
            Map { names_hash: !facts.sets_names_hash, map_hash: !facts.sets_map_hash, entries };
        let default = Default {
            is_default: facts.foreign_default.is_none(),
            is_tls_default: facts.may_refuse_tls,
            ipv6: facts.has_ipv6,
            base_domain: config.base_domain.as_str(),
        };
        let available = "/etc/nginx/sites-available/00-hostkit";
        let map = self.file(MAP, templates.render("nginx/map.conf", &map)?);
        let default = self.file(available, templates.render("nginx/default.conf", &default)?);
        let link = Link { at: "/etc/nginx/sites-enabled/00-hostkit".into(), to: available.into() };
        let reload = Trigger::NginxReload(None);
        plan.notifying(Lane::Files, map, [reload.clone()]);
        plan.notifying(Lane::Files, default, [reload.clone()]);
        if facts.foreign_default.is_none() {
            let stock = Gone { path: "/etc/nginx/sites-enabled/default".into() };
            plan.notifying(Lane::Files, stock, [reload.clone()]);
        }
        plan.notifying(Lane::Files, link, [reload]);
        self.nginx_limits(plan)
    }

    fn nginx_limits(&self, plan: &mut Plan) -> Result<()> {
        let dir = Dir {
            path: "/etc/systemd/system/nginx.service.d".into(),
            owner: Owner::ROOT,
            mode: 0o755,
            contents: Contents::Stays,
        };
        plan.step(Lane::Files, dir);
        let text =
            self.templates.render("systemd/nginx.conf", &Limit { open_files: OPEN_FILES })?;
        let file = self.file("/etc/systemd/system/nginx.service.d/hostkit.conf", text);
        plan.notifying(Lane::Files, file, [Trigger::DaemonReload("nginx.service".into())]);
        plan.step(Lane::Files, OpenFiles { unit: "nginx.service".into(), least: OPEN_FILES });
        Ok(())
    }

    fn redis(&self, plan: &mut Plan, secret: &Secret) -> Result<()> {
        let Self { facts, config, templates } = self;
        plan.part("redis", "users confined, the default one switched off");
        let conf = RedisConf { socket: SOCKET, databases: config.redis.databases };
        let acl = Acl { admin: ADMIN, hash: hash(secret) };
        let restart = [Trigger::RestartUnit("redis-server.service".into())];
        let secret = File {
            mode: 0o600,
            text: Text::Secret(format!("{}\n", secret.expose())),
            ..self.file(SECRET, String::new())
        };
        plan.step(Lane::Files, secret);
        let acl = File {
            owner: facts.redis_user,
            mode: 0o640,
            text: Text::Initially(templates.render("redis/hostkit.acl", &acl)?),
            ..self.file(ACL_FILE, String::new())
        };
        plan.notifying(Lane::Files, acl, restart.clone());
        let conf = File {
            owner: facts.redis_user,
            mode: 0o640,
            ..self.file("/etc/redis/hostkit.conf", templates.render("redis/hostkit.conf", &conf)?)
        };
        plan.notifying(Lane::Files, conf, restart.clone());
        let include = Block {
            path: facts.redis_conf.clone(),
            place: Place::Bottom,
            text: "include /etc/redis/hostkit.conf\n".into(),
        };
        plan.notifying(Lane::Files, include, restart);
        Ok(())
    }

    fn postgres(&self, plan: &mut Plan) {
        let Self { facts, .. } = self;
        plan.part("postgres", "projects by password only, databases closed to others");
        plan.step(Lane::Postgres, GroupRole {});
        for database in &facts.databases {
            plan.step(Lane::Postgres, NotPublic { database: database.clone() });
        }
        // The first rule that fits wins: whatever the owner allows others, projects come so.
        let rules = format!(
            "local all +{GROUP_ROLE} scram-sha-256\n\
             host all +{GROUP_ROLE} 127.0.0.1/32 scram-sha-256\n\
             host all +{GROUP_ROLE} ::1/128 scram-sha-256\n\
             host all +{GROUP_ROLE} all reject\n"
        );
        let block = Block { path: facts.hba_file.clone(), place: Place::Top, text: rules };
        plan.notifying(Lane::Files, block, [Trigger::PostgresReload]);
    }

    fn wall(&self, plan: &mut Plan) -> Result<()> {
        let Self { facts, config, templates } = self;
        plan.part("wall", "projects' ports on loopback");
        let wall = Wall {
            web_uid: facts.web.uid,
            believed: (!config.proxy.trusted.is_empty()).then_some(&config.uids),
            services: [
                Served::open(5432, facts.postgres_uid),
                Served::open(6379, facts.redis_user.uid),
            ]
            .into_iter()
            .chain(garage::served(facts))
            .chain(metrics::served(facts))
            .chain(facts.mysql.iter().map(|mysql| Served::open(MYSQL_PORT, mysql.uid)))
            .collect(),
            scraper: metrics::scraper(facts),
        };
        let reload = [Trigger::DaemonReload("hostkit-wall.service".into())];
        plan.notifying(
            Lane::Files,
            self.file("/etc/hostkit/wall.nft", templates.render("nft/wall.nft", &wall)?),
            [Trigger::WallLoad("/etc/hostkit/wall.nft".into())],
        );
        let unit = templates.render("systemd/wall.service", &Nothing {})?;
        plan.notifying(
            Lane::Files,
            self.file("/etc/systemd/system/hostkit-wall.service", unit),
            reload,
        );
        self.enable(plan, "hostkit-wall.service");
        plan.step(Lane::Files, WallTable { file: "/etc/hostkit/wall.nft".into() });
        plan.step(Lane::Files, Running { unit: "hostkit-wall.service".into() });
        Ok(())
    }

    fn upkeep(&self, plan: &mut Plan) -> Result<()> {
        let Self { templates, .. } = self;
        plan.part("upkeep", "log rotation, recovery at boot");
        let text = templates.render("logrotate/hostkit", &Nothing {})?;
        plan.step(Lane::Files, self.file("/etc/logrotate.d/hostkit", text));
        let unit = templates.render("systemd/recover.service", &Nothing {})?;
        let reload = [Trigger::DaemonReload("hostkit-recover.service".into())];
        plan.notifying(
            Lane::Files,
            self.file("/etc/systemd/system/hostkit-recover.service", unit),
            reload,
        );
        self.enable(plan, "hostkit-recover.service");
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "a part of the plan like the others")]
    fn enable(&self, plan: &mut Plan, unit: &str) {
        let at = format!("/etc/systemd/system/multi-user.target.wants/{unit}").into();
        plan.step(Lane::Files, Link { at, to: format!("/etc/systemd/system/{unit}").into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{projects::tests::shop, steps::AnyStep};

    fn facts() -> HostFacts {
        HostFacts {
            has_ipv6: true,
            web: Owner::new(33, 33),
            redis_user: Owner::new(104, 104),
            postgres_uid: 106,
            hba_file: "/etc/postgresql/15/main/pg_hba.conf".into(),
            redis_conf: "/etc/redis/redis.conf".into(),
            redis_secret: None,
            databases: vec!["postgres".into(), "template1".into()],
            sets_names_hash: false,
            sets_map_hash: false,
            foreign_default: None,
            may_refuse_tls: true,
            projects: vec![shop()],
            storage: StorageFacts { garage: None, account: None, is_retired: false },
            mysql: Some(MysqlFacts { uid: 110 }),
            metrics: MetricsFacts::Runs(Owner::new(112, 116)),
        }
    }

    #[test]
    fn every_file_that_init_makes() {
        let config =
            Config { base_domain: "apps.example.com".parse().unwrap(), ..Config::default() };
        let plan = plan(&facts(), &config, &Templates::default(), &Secret::new("x"), None).unwrap();
        let mut all = String::new();
        for planned in &plan.steps {
            let (path, text) = match &planned.step {
                AnyStep::File(File {
                    path,
                    text: Text::Exactly(text) | Text::Initially(text),
                    ..
                }) if !path.ends_with("hostkit.toml") => (path, text),
                AnyStep::Block(Block { path, text, .. }) => (path, text),
                _ => continue,
            };
            all.push_str(&format!("==> {}\n{text}\n", path.display()));
        }
        insta::assert_snapshot!("host-files", all);
    }

    #[test]
    fn a_trusted_proxy_is_no_project() {
        let mut config =
            Config { base_domain: "apps.example.com".parse().unwrap(), ..Config::default() };
        let wall = |config: &Config| {
            let secret = Secret::new("x");
            let plan = plan(&facts(), config, &Templates::default(), &secret, None).unwrap();
            let file = plan.steps.iter().find_map(|planned| match &planned.step {
                AnyStep::File(File { path, text: Text::Exactly(text), .. })
                    if path.ends_with("wall.nft") =>
                {
                    Some(text.clone())
                }
                _ => None,
            });
            file.unwrap()
        };
        let rule =
            "oif \"lo\" tcp dport { 80, 443 } meta skuid 20000-29999 reject with tcp reset\n";
        assert!(!wall(&config).contains("80, 443"));
        config.proxy.trusted = vec!["127.0.0.1".parse().unwrap()];
        assert!(wall(&config).contains(rule), "{}", wall(&config));
    }
}
