//! What a project's own processes may ask for: a socket that nobody waits at, and exact commands.

use serde::Serialize;

use super::{Maker, access, switch::no_unit};
use crate::{
    config::Config,
    error::{Error, Result},
    names::ProjectName,
    plan::{Ground, Lane, Plan},
    registry::Project,
    steps::{Contents, Dir, Link, Owner, Running, Stopped},
    templates::Templates,
};

/// Commands that may be granted. None shows a secret, runs what the process chooses, or reads what
/// it sends.
const GRANTABLE: [&str; 8] = [
    "checkpoint create",
    "cron run",
    "deploy",
    "deploys",
    "releases",
    "rollback",
    "service restart",
    "status",
];

/// Options that would let a process choose what is deployed, or past which limit.
const NOT_GRANTED: [&str; 4] = ["--archive", "--git", "--override-ratelimit", "--source"];

const MOST: usize = 20;

#[derive(Serialize)]
struct Unit<'a> {
    name: &'a str,
    path: String,
}

/// No process has a name with a dot.
fn socket_unit(name: &ProjectName) -> String {
    format!("hostkit-{name}.app.socket")
}

fn service_unit(name: &ProjectName) -> String {
    format!("hostkit-{name}.app@.service")
}

pub fn app_socket(name: &ProjectName) -> String {
    format!("/run/hostkit/apps/{name}.sock")
}

/// A command as it is kept: its words, of which none needs quotes.
pub fn grant(line: &str, name: &ProjectName) -> Result<String> {
    let words = access::parse_request(line, name)?;
    let refused = |why: String| {
        Error::usage("bad_grant", "this can't be granted to a project's processes").caused_by(why)
    };
    let is = |known: &&&str| {
        let known: Vec<&str> = known.split(' ').collect();
        words.iter().map(String::as_str).take(known.len()).eq(known)
    };
    if GRANTABLE.iter().find(is).is_none() {
        return Err(refused(
            "they may ask for little: what shows no secret and runs nothing of theirs".into(),
        )
        .hint(format!("one of: {}", GRANTABLE.join(", "))));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,".contains(c);
    if let Some(odd) = words.iter().find(|word| word.is_empty() || !word.chars().all(plain)) {
        return Err(refused(format!("the word `{}` needs quotes", odd.escape_debug())));
    }
    let chooses = |word: &&String| {
        let option = word.split('=').next().unwrap_or_default();
        NOT_GRANTED.contains(&option)
            || option.len() > 3 && NOT_GRANTED.iter().any(|known| known.starts_with(option))
    };
    if let Some(word) = words.iter().find(chooses) {
        return Err(refused(format!("`{word}` would let them choose more than that it is done"))
            .hint("a deploy that they ask for comes from the remembered repository: `hostkit git config`"));
    }
    Ok(words.join(" "))
}

/// Whether a project's processes may ask for exactly this.
pub fn is_granted(project: &Project, words: &[String]) -> bool {
    project
        .grants
        .iter()
        .any(|line| access::parse_request(line, &project.name).is_ok_and(|known| known == words))
}

/// Adds to what is granted, or takes from it.
pub fn with_grant(project: &Project, line: &str, given: bool) -> Result<Project> {
    let mut after = project.clone();
    after.grants.retain(|known| known != line);
    if given {
        after.grants.push(line.to_owned());
        after.grants.sort();
    }
    if after.grants.len() > MOST {
        return Err(Error::usage(
            "too_many",
            format!("{} has {MOST} of them already", project.name),
        )
        .hint("take one back: `hostkit permissions revoke`"));
    }
    Ok(after)
}

/// From what is granted to something else.
pub fn grants_plan(
    before: &Project,
    after: &Project,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let mut plan = Plan::new(Ground::Known);
    let whole = super::processes::whole_project(after);
    super::processes::maker(&whole, config, templates, |maker| {
        // It tells of all that there is, should the registry be lost.
        maker.unit(&mut plan)?;
        maker.app_gate(&mut plan)
    })?;
    if after.grants.is_empty() && !before.grants.is_empty() {
        plan.part("app gate", "closed");
        let name = &after.name;
        plan.step(Lane::Files, Stopped { unit: socket_unit(name) });
        for unit in [socket_unit(name), service_unit(name)] {
            no_unit(&mut plan, &unit);
        }
    }
    Ok(plan)
}

impl Maker<'_> {
    /// Only where something is granted.
    pub(super) fn app_gate(&self, plan: &mut Plan) -> Result<()> {
        let name = &self.project.name;
        if self.project.grants.is_empty() {
            return Ok(());
        }
        plan.part("app gate", app_socket(name));
        let values = Unit { name: name.as_str(), path: app_socket(name) };
        let service = self.templates.render("systemd/app.service", &values)?;
        self.unit_file(plan, &service_unit(name), service);
        let socket = socket_unit(name);
        self.unit_file(plan, &socket, self.templates.render("systemd/app.socket", &values)?);
        let wants = "/etc/systemd/system/sockets.target.wants";
        let contents = Contents::Stays;
        let dir = Dir { path: wants.into(), owner: Owner::ROOT, mode: 0o755, contents };
        plan.step(Lane::Files, dir);
        let at = format!("{wants}/{socket}").into();
        let to = format!("/etc/systemd/system/{socket}").into();
        plan.step(Lane::Files, Link { at, to });
        plan.step(Lane::Files, Running { unit: socket });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::tests::shop;

    #[test]
    fn what_may_be_granted_is_little_and_exact() {
        let name = "my-shop".parse().unwrap();
        for line in [
            "deploy",
            "hostkit deploy --no-watch",
            "rollback",
            "service restart my-shop web",
            "status --json",
        ] {
            assert!(grant(line, &name).is_ok(), "{line}");
        }
        for line in [
            "",
            "exec -- id",
            "env get SECRET",
            "deploy --archive -",
            "deploy --source=/",
            "deploy --git x",
            "deploy --override-ratelimit",
            "deploy --over",
            "deploy --arch -",
            "project delete my-shop",
            "gate my-shop",
            "deploy; id",
            "deploy $(id)",
            "services restart",
            "checkpoint",
            "permissions grant my-shop --app deploy",
        ] {
            assert!(grant(line, &name).is_err(), "{line}");
        }
        let project = with_grant(&shop(), "deploy --no-watch", true).unwrap();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(is_granted(&project, &words("deploy --no-watch")));
        for other in ["deploy", "deploy --no-watch --json", "--no-watch deploy", "rollback"] {
            assert!(!is_granted(&project, &words(other)), "{other}");
        }
        assert!(with_grant(&project, "deploy --no-watch", false).unwrap().grants.is_empty());
    }

    #[test]
    fn the_socket_is_the_projects_alone() {
        let project = with_grant(&shop(), "deploy", true).unwrap();
        let plan = |before, after| {
            grants_plan(before, after, &Config::default(), &Templates::default()).unwrap()
        };
        let titles = |plan: Plan| -> Vec<String> {
            plan.steps.iter().map(|planned| crate::steps::Step::title(&planned.step)).collect()
        };
        let bare = shop();
        let there = titles(plan(&bare, &project));
        assert!(there.contains(&"unit hostkit-my-shop.app.socket running".to_owned()), "{there:?}");
        let back = titles(plan(&project, &bare));
        assert!(back.contains(&"unit hostkit-my-shop.app.socket stopped".to_owned()), "{back:?}");
        assert!(
            back.contains(&"no /etc/systemd/system/hostkit-my-shop.app@.service".to_owned()),
            "{back:?}"
        );
        let values = Unit { name: "my-shop", path: app_socket(&"my-shop".parse().unwrap()) };
        insta::assert_snapshot!(
            "app-socket",
            Templates::default().render("systemd/app.socket", &values).unwrap()
        );
    }
}
