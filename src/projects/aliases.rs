//! Other names of a project's units: which it may have, and the links that make them names.
//!
//! A manifest comes from whoever may push to the project, and a link among systemd's own files
//! comes before what a package brings. So a name begins with the project's own, or an operator
//! grants it.

use super::{Maker, process_unit};
use crate::{
    config::Units,
    error::{Error, Result},
    names::ProjectName,
    plan::{Lane, Plan},
    registry::Project,
    release::Spec,
    steps::{Alias, NoAlias, Trigger},
};

/// Whether names that begin so are a project's own.
fn owns(name: &ProjectName, alias: &str) -> bool {
    alias.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('-'))
}

/// Whether a name is one project's rather than another's: of two names that both begin it the
/// longer one is the one that it is of.
fn is_of(name: &ProjectName, alias: &str, rather_than: &ProjectName) -> bool {
    let begins = alias == name.as_str() || owns(name, alias);
    let is_theirs = owns(rather_than, alias) && rather_than.as_str().len() > name.as_str().len();
    begins && !is_theirs
}

/// A name of another project's unit that would be one of a project that is to be made.
pub fn names_unit(other: &Project, new: &ProjectName) -> bool {
    let aliases = other.live.iter().flat_map(|live| live.spec.aliases.keys());
    aliases.into_iter().any(|alias| is_of(new, alias, &other.name))
}

/// Fails where a release gives a unit a name that is not its project's to give.
pub fn check_aliases(
    project: &Project,
    spec: &Spec,
    others: &[Project],
    granted: &Units,
) -> Result<()> {
    new_names(project, spec).try_for_each(|alias| check(&project.name, alias, others, granted))
}

/// Takes such names out of a release; why each of them.
pub fn drop_aliases(
    project: &Project,
    spec: &mut Spec,
    others: &[Project],
    granted: &Units,
) -> Vec<Error> {
    let fault = |alias: &String| {
        let error = check(&project.name, alias, others, granted).err()?;
        Some((alias.clone(), error))
    };
    let faults: Vec<(String, Error)> = new_names(project, spec).filter_map(fault).collect();
    spec.aliases.retain(|alias, _| !faults.iter().any(|(bad, _)| bad == alias));
    faults.into_iter().map(|(_, error)| error).collect()
}

/// Names that the live release has not. What it has is its own.
fn new_names<'a>(project: &'a Project, spec: &'a Spec) -> impl Iterator<Item = &'a String> {
    let has = |alias: &str| {
        project.live.as_ref().is_some_and(|live| live.spec.aliases.contains_key(alias))
    };
    spec.aliases.keys().filter(move |alias| !has(alias))
}

fn check(name: &ProjectName, alias: &str, others: &[Project], granted: &Units) -> Result<()> {
    let taken = |by: &ProjectName, why: &str| {
        Error::conflict("alias_taken", format!("`{alias}` can't be a name of a unit of {name}"))
            .caused_by(format!("{why} {by}"))
            .hint("give that unit another name in hostkit.toml: `aliases`")
    };
    let of_others = granted.aliases.iter().find(|one| one.alias == alias && one.project != *name);
    if let Some(grant) = of_others {
        return Err(taken(&grant.project, "an operator granted that name to"));
    }
    for other in others.iter().filter(|other| other.name != *name) {
        let has = other.live.as_ref().is_some_and(|live| live.spec.aliases.contains_key(alias));
        if has {
            return Err(taken(&other.name, "it is a name of a unit of"));
        }
        if is_of(&other.name, alias, name) {
            return Err(taken(&other.name, "it belongs to the project"));
        }
    }
    let is_granted = granted.aliases.iter().any(|one| one.project == *name && one.alias == alias);
    if owns(name, alias) || is_granted {
        return Ok(());
    }
    Err(Error::conflict(
        "alias_not_granted",
        format!("`{alias}` can't be a name of a unit of {name}"),
    )
    .caused_by(format!(
        "it does not begin with `{name}-`, and a package may come to bring a unit of that name"
    ))
    .hint(format!(
        "name it `{name}-…`, or let an operator grant it: add \"{name}/{alias}\" to \
         `units.aliases` (`hostkit config set units.aliases`)"
    )))
}

/// The unit that another name is of.
pub fn unit_of(name: &ProjectName, process: &str) -> String {
    if process == "web" { name.unit() } else { process_unit(name, process) }
}

/// The names of one unit, as it says them itself.
pub(super) fn of_unit<'a>(spec: Option<&'a Spec>, process: &str) -> Vec<&'a str> {
    let all = spec.iter().flat_map(|spec| &spec.aliases);
    all.filter(|(_, of)| *of == process).map(|(alias, _)| alias.as_str()).collect()
}

impl Maker<'_> {
    /// A link for each name of a unit of the live release.
    pub(super) fn aliases(&self, plan: &mut Plan) {
        for (alias, process) in self.spec().iter().flat_map(|spec| &spec.aliases) {
            let of = unit_of(&self.project.name, process);
            let reload = [Trigger::DaemonReload(of.clone())];
            plan.notifying(Lane::Files, Alias { alias: alias.clone(), of }, reload);
        }
    }
}

/// Takes away the names that the old release had and the new one has not.
pub(super) fn retire(plan: &mut Plan, name: &ProjectName, old: &Spec, new: &Spec) {
    for (alias, process) in &old.aliases {
        if new.aliases.contains_key(alias) {
            continue;
        }
        let of = unit_of(name, process);
        let reload = [Trigger::DaemonReload(of.clone())];
        plan.notifying(Lane::Files, NoAlias { alias: alias.clone(), of }, reload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{projects::tests::shop, registry::Live};

    fn called(name: &str, aliases: &[&str]) -> Project {
        let spec = Spec {
            aliases: aliases.iter().map(|&alias| (alias.to_owned(), "web".to_owned())).collect(),
            ..crate::projects::processes::tests::spec(&[])
        };
        let live = Some(Live { id: "20261121-093012".parse().unwrap(), spec });
        Project { name: name.parse().unwrap(), live, ..shop() }
    }

    #[test]
    fn a_name_is_the_projects_own_or_granted() {
        let units = |granted: &[&str]| Units {
            aliases: granted.iter().map(|one| one.parse().unwrap()).collect(),
        };
        let others = [called("shop-api", &[]), called("other", &["old-one"]), called("sho", &[])];
        let code = |alias: &str, granted: &[&str]| {
            let new = called("shop", &[alias]);
            let project = Project { live: None, ..new.clone() };
            let spec = new.live.unwrap().spec;
            check_aliases(&project, &spec, &others, &units(granted)).map_err(|error| error.code)
        };
        for (alias, granted, expected) in [
            ("shop-web", &[][..], Ok(())),
            ("shop-apis", &[], Ok(())),
            ("shop", &[], Err("alias_not_granted")),
            ("shop", &["shop/shop"], Ok(())),
            ("shopping", &[], Err("alias_not_granted")),
            ("grafana", &[], Err("alias_not_granted")),
            ("old-shop", &["shop/old-shop"], Ok(())),
            ("old-shop", &["other/old-shop"], Err("alias_taken")),
            // Another project's own, whatever anybody grants.
            ("shop-api", &[], Err("alias_taken")),
            ("shop-api-worker", &[], Err("alias_taken")),
            ("shop-api", &["shop/shop-api"], Err("alias_taken")),
            ("other-web", &["shop/other-web"], Err("alias_taken")),
            ("old-one", &["shop/old-one"], Err("alias_taken")),
            ("sho-x", &["shop/sho-x"], Err("alias_taken")),
        ] {
            assert_eq!(code(alias, granted), expected, "{alias} {granted:?}");
        }
    }

    #[test]
    fn no_project_is_made_under_anothers_name() {
        let name = |name: &str| name.parse::<ProjectName>().unwrap();
        let shop = called("shop", &["shop-api", "shop-api-old"]);
        assert!(names_unit(&shop, &name("shop-api")));
        assert!(names_unit(&shop, &name("shop-api-old")));
        assert!(!names_unit(&shop, &name("shop-web")));
        assert!(!names_unit(&called("shop-api", &["shop-api-x"]), &name("shop")));
        assert!(names_unit(&called("other", &["old-shop"]), &name("old-shop")));
    }

    #[test]
    fn what_is_live_stays_though_its_grant_is_gone() {
        let project = called("shop", &["old-shop"]);
        let mut spec = project.live.clone().unwrap().spec;
        assert!(check_aliases(&project, &spec, &[], &Units::default()).is_ok());
        assert!(drop_aliases(&project, &mut spec, &[], &Units::default()).is_empty());
        // An older release comes without what it may not have any more, and with the rest.
        let now = Project { live: None, ..project };
        spec.aliases.insert("shop-api".into(), "web".into());
        let dropped = drop_aliases(&now, &mut spec, &[], &Units::default());
        assert_eq!(
            dropped.iter().map(|error| error.code).collect::<Vec<_>>(),
            ["alias_not_granted"]
        );
        assert_eq!(spec.aliases.keys().collect::<Vec<_>>(), ["shop-api"]);
    }
}
