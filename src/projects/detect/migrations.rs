//! Migrations of the database that a tree brings along.

use super::{Found, Tree, package::Package, python::Needs};
use crate::release::{Kind, Process};

pub(super) fn of_python(tree: &Tree, needs: &Needs, found: &mut Found) {
    let alembic = tree.has("alembic.ini") && needs.name("alembic");
    let is_django = needs.name("django") || tree.text("manage.py").contains("django");
    let django = tree.has("manage.py") && is_django;
    choose(
        &[
            ("alembic", alembic, &["venv/bin/alembic", "upgrade", "head"]),
            ("Django", django, &["venv/bin/python", "manage.py", "migrate", "--noinput"]),
        ],
        found,
    );
}

pub(super) fn of_node(tree: &Tree, package: &Package, found: &mut Found) {
    let prisma = tree.has("prisma/schema.prisma") && tree.has_below("prisma/migrations");
    let knexfile = tree
        .paths
        .iter()
        .any(|path| path.strip_prefix("knexfile.").is_some_and(|rest| !rest.contains('/')));
    let knex = knexfile && package.knows("knex");
    let sequelize = tree.has(".sequelizerc") && package.knows("sequelize-cli");
    choose(
        &[
            ("knex", knex, &["node_modules/.bin/knex", "migrate:latest"]),
            ("prisma", prisma, &["node_modules/.bin/prisma", "migrate", "deploy"]),
            ("sequelize", sequelize, &["node_modules/.bin/sequelize-cli", "db:migrate"]),
        ],
        found,
    );
}

/// One found is run; of two, nobody knows which.
fn choose(known: &[(&str, bool, &[&str])], found: &mut Found) {
    let here: Vec<_> = known.iter().filter(|(_, is_here, _)| *is_here).collect();
    match here[..] {
        [(_, _, command)] => {
            found.migrations = Some(Process {
                name: "migrate".into(),
                command: command.iter().map(|&word| word.to_owned()).collect(),
                directory: String::new(),
                kind: Kind::Release,
                health: None,
                metrics: None,
            });
        }
        [] => {}
        _ => {
            let names: Vec<&str> = here.iter().map(|(name, _, _)| *name).collect();
            found.notes.push(format!(
                "there are migrations of {}, so none are run: write `[process.migrate]` with \
                 `when = \"release\"`",
                names.join(" and ")
            ));
        }
    }
}
