//! What a release needs of its project before anything is built: databases, variables, secrets.

use super::stage::Stage;
use crate::{
    commands::{Context, env, port, secrets::deliver},
    envfile::EnvFile,
    error::{Error, Result},
    names::ProjectName,
    projects::{ManagedEnv, Recipe},
    registry::Project,
    secret::{Generated, Secret},
    ui::count,
};

/// A secret that this deploy made.
pub struct Made {
    pub key: String,
    pub value: Secret,
    pub rule: Generated,
}

/// All that stops a deploy before it has changed anything.
pub fn check(cx: &mut Context, project: &Project, recipe: &Recipe) -> Result<()> {
    check_services(project, recipe)?;
    let rows = cx.registry()?.secrets(&project.name)?;
    let has = |key: &str| rows.iter().any(|row| row.name == key && row.version.is_some());
    deliver::check_files(&project.name, &recipe.spec.secret_files, has)?;
    let env = file_of(cx, project)?;
    let missing: Vec<(&String, &String)> =
        recipe.required.iter().filter(|(key, _)| !is_set(&env, key)).collect();
    let Some((first, _)) = missing.first() else { return Ok(()) };
    let message = match missing.len() {
        1 => format!("{first} is not set"),
        n => format!("{first} and {} are not set", count(n - 1, "other variable")),
    };
    let all: Vec<String> = missing
        .iter()
        .map(|(key, why)| if why.is_empty() { (*key).clone() } else { format!("{key}: {why}") })
        .collect();
    let verb = |key: &str| if rows.iter().any(|row| row.name == key) { "secrets" } else { "env" };
    let set =
        |(key, _): &(&String, &String)| format!("hostkit {} set {} {key}", verb(key), project.name);
    let commands: Vec<String> = missing.iter().map(set).collect();
    Err(Error::usage("variable_missing", message)
        .caused_by(format!("hostkit.toml requires\n{}", all.join("\n")))
        .hint(format!(
            "set it, the value by standard input, and deploy again; nothing was built:\n{}",
            commands.join("\n")
        )))
}

/// Fails where the manifest wants a database that the project lacks.
pub fn check_services(project: &Project, recipe: &Recipe) -> Result<()> {
    port::check_same(project, recipe.port)?;
    let name = &project.name;
    let make: fn(&ProjectName) -> String = |name| format!("make one: `hostkit db create {name}`");
    let in_mysql: fn(&ProjectName) -> String =
        |name| format!("make one: `hostkit db create {name} --mysql`");
    let anew: fn(&ProjectName) -> String = |name| {
        format!(
            "make it anew: `hostkit project delete {name}`, then `hostkit provision {name}` \
             without --no-redis; or leave it out of [services]"
        )
    };
    for (wanted, has, what, how) in [
        (recipe.services.postgres, project.postgres, "PostgreSQL", make),
        (recipe.services.mysql, project.mysql, "MariaDB", in_mysql),
        (recipe.services.redis, project.redis.is_some() || project.own_redis, "Redis", anew),
    ] {
        if wanted == Some(true) && !has {
            return Err(Error::conflict(
                "service_missing",
                format!("{name} has no database of {what}, and hostkit.toml wants one"),
            )
            .caused_by("it was made without one")
            .hint(how(name)));
        }
    }
    let shown = project.storage.as_ref().and_then(|storage| storage.path.as_deref());
    if let Some(path) = shown.filter(|path| recipe.spec.routes.iter().any(|r| r.path == *path)) {
        let message =
            format!("hostkit.toml has a route at `{path}`, where the site shows the bucket");
        return Err(Error::conflict("route_taken", message).hint(format!(
            "move one of them: `hostkit storage proxy {name} --path /other/`, or `--off`"
        )));
    }
    if recipe.services.storage == Some(true) && project.storage.is_none() {
        let message = format!("{name} has no object storage, and hostkit.toml wants it");
        return Err(Error::conflict("service_missing", message)
            .hint(format!("give it some: `hostkit storage enable {name}`")));
    }
    Ok(())
}

/// `.env` with the names of secrets that it gets when requests move; whoever asks is told of no
/// value.
pub fn file_of(cx: &mut Context, project: &Project) -> Result<EnvFile> {
    let name = &project.name;
    let mut file = EnvFile::parse(&cx.host.read_text(&name.env_file())?.unwrap_or_default())?;
    for row in cx.registry()?.secrets(name)? {
        match row.version {
            Some(_) => file.set(&row.name, "***")?,
            None if row.live_version.is_some() => drop(file.unset(&row.name)),
            None => {}
        }
    }
    Ok(file)
}

/// What is set to nothing is not set.
pub fn is_set(env: &EnvFile, key: &str) -> bool {
    env.get(key).is_some_and(|value| !value.is_empty())
}

/// Variables that would be made.
pub fn to_make<'a>(recipe: &'a Recipe, env: &EnvFile) -> Vec<(&'a String, &'a Generated)> {
    recipe.generated.iter().filter(|(key, _)| !is_set(env, key)).collect()
}

/// Names of `.env.example` that nothing gives a value to.
pub fn unset_examples<'a>(project: &Project, recipe: &'a Recipe, env: &EnvFile) -> Vec<&'a str> {
    let overlay = recipe.spec.overlays.get(&project.environment);
    let is_known = |key: &str| {
        env.get(key).is_some()
            || ManagedEnv::KEYS.contains(&key)
            || recipe.spec.environment.contains_key(key)
            || overlay.is_some_and(|overlay| overlay.contains_key(key))
            || recipe.required.contains_key(key)
            || recipe.generated.contains_key(key)
            || recipe.spec.variables.contains_key(key)
    };
    recipe.example.iter().map(String::as_str).filter(|key| !is_known(key)).collect()
}

/// Makes the secrets that `.env` lacks, all in one change that is there or is not. They stay,
/// whatever becomes of the deploy: its migrations may have used them by then.
pub fn generate(cx: &mut Context, stage: &mut Stage<'_>, recipe: &Recipe) -> Result<()> {
    let project = stage.project;
    let file = file_of(cx, project)?;
    let examples = unset_examples(project, recipe, &file);
    if !examples.is_empty() {
        let name = &project.name;
        cx.ui.note(format!(
            "`.env.example` names {}, and nothing sets it: hostkit env set {name} {}",
            examples.join(", "),
            examples[0]
        ));
    }
    if let Some((key, source)) = recipe.spec.variables.iter().find(|(k, _)| file.get(k).is_some()) {
        cx.ui.note(format!("`.env` sets {key}, so it is not {source} as hostkit.toml says"));
    }
    if stage.holds(cx, ".env")? {
        cx.ui.note(
            "`.env` came with the tree, and is not read as the environment: whoever has the code \
             has its values",
        );
    }
    let mut made = Vec::new();
    for (key, rule) in to_make(recipe, &file) {
        made.push(Made { key: key.clone(), value: rule.kind.make()?, rule: rule.clone() });
    }
    if made.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = made.iter().map(|one| one.key.as_str()).collect();
    cx.ui.note(format!("makes {}", names.join(", ")));
    env::add(cx, project, "env generate", made.iter().map(|one| (one.key.as_str(), &one.value)))?;
    stage.generated = made;
    Ok(())
}

/// What the failed deploy leaves behind: said to whoever may read it elsewhere, and not shown.
pub fn stays(made: &[Made], name: &crate::names::ProjectName) -> Option<String> {
    let first = made.iter().find(|one| one.rule.show).or(made.first())?;
    let names: Vec<&str> = made.iter().map(|one| one.key.as_str()).collect();
    let names = names.join(", ");
    let key = &first.key;
    Some(format!("it made {names}, which stays: `hostkit env get {name} {key}`"))
}
