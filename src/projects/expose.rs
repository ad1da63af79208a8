//! What of a project's routes visitors reach, in the environment that the project is of.

use crate::{
    names::Environment,
    registry::Project,
    release::{Route, Spec},
};

/// Whether a route is part of the site.
///
/// Without a list for the environment all are. With one, what leads to a process has to be named
/// in it, by that process or by its own path; and what any list names by its path belongs to those
/// environments alone.
pub fn is_reachable(project: &Project, spec: &Spec, route: &Route) -> bool {
    let names = |list: &[String], name: &str| list.iter().any(|one| one == name);
    let own = list(spec, project.environment);
    let by_path = own.is_some_and(|own| names(own, &route.path));
    match route.process() {
        Some(process) => own.is_none_or(|own| by_path || names(own, process)),
        None => by_path || !spec.expose.values().any(|list| names(list, &route.path)),
    }
}

/// Whether the one process that answers for all paths is kept from visitors.
pub(super) fn hides_all(project: &Project, spec: &Spec) -> bool {
    let own = list(spec, project.environment);
    let is_named = |own: &[String]| own.iter().any(|name| name == "web");
    spec.routes.is_empty() && spec.web().is_some() && own.is_some_and(|own| !is_named(own))
}

fn list(spec: &Spec, environment: Environment) -> Option<&[String]> {
    spec.expose.get(&environment).map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::{manifest::parse_manifest, tests::shop};

    const ROUTES: &str = "[process.web]\ncommand = \"/bin/x\"\n[routes]\n\
        \"/\" = { static = \"dist\" }\n\"/api/\" = { process = \"web\" }\n\
        \"/debug/\" = { process = \"web\" }\n\"/docs/\" = { static = \"docs\" }\n";

    /// The paths that visitors reach.
    fn reached(expose: &str, environment: Environment) -> Vec<String> {
        let manifest = parse_manifest(&format!("{ROUTES}[expose]\n{expose}")).unwrap();
        let spec = serde_json::json!({
            "runtime": "custom", "processes": manifest.processes, "routes": manifest.routes,
            "expose": manifest.expose,
        });
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let project = Project { environment, ..shop() };
        assert!(!hides_all(&project, &spec));
        let paths = spec.routes.iter().filter(|route| is_reachable(&project, &spec, route));
        paths.map(|route| route.path.clone()).collect()
    }

    #[test]
    fn a_list_says_what_is_reached_in_its_environment() {
        let all = ["/", "/api/", "/debug/", "/docs/"];
        assert_eq!(reached("", Environment::Prod), all);
        let lists = "prod = [\"/api/\"]\ndev = [\"web\", \"/docs/\"]\n";
        assert_eq!(reached(lists, Environment::Prod), ["/", "/api/"]);
        assert_eq!(reached(lists, Environment::Dev), all);
        // No list of its own: its processes are open, what another's list names is not.
        assert_eq!(reached(lists, Environment::Staging), ["/", "/api/", "/debug/"]);
        assert_eq!(reached("prod = []\n", Environment::Prod), ["/", "/docs/"]);
    }
}
