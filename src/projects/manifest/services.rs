//! `[services]`: what of the server's a project needs.

use super::{
    keys,
    reader::{Table, printable},
};
use crate::error::Result;

/// `None` where the manifest says nothing of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Services {
    pub postgres: Option<bool>,
    pub mysql: Option<bool>,
    pub redis: Option<bool>,
    pub storage: Option<bool>,
    /// How `DATABASE_URL` begins.
    pub url_scheme: Option<String>,
}

/// What a pattern of texts takes, for a schema.
pub(super) const SCHEME: &str = "^postgres(ql)?(\\+[a-z][a-z0-9_]{0,31})?$";

pub(super) fn read(table: &Table<'_>) -> Result<Services> {
    table.knows(keys::SERVICES)?;
    let mut services = Services {
        mysql: table.boolean("mysql")?,
        redis: table.boolean("redis")?,
        storage: table.boolean("storage")?,
        ..Services::default()
    };
    if table.is_table("postgres") {
        let Some(postgres) = table.table("postgres")? else { return Ok(services) };
        postgres.knows(keys::POSTGRES)?;
        services.postgres = Some(true);
        if let Some(at) = postgres.string("url_scheme")? {
            if !is_scheme(at.value) {
                let why = format!("`{}` begins no address of a PostgreSQL", printable(at.value));
                return Err(postgres
                    .refused(&at.span, why)
                    .hint("there are postgresql, postgres, and either with a driver: \"postgresql+psycopg\""));
            }
            services.url_scheme = Some(at.value.to_owned());
        }
    } else {
        services.postgres = table.boolean("postgres")?;
    }
    Ok(services)
}

/// `postgresql` or `postgres`, and perhaps a driver behind a `+`.
fn is_scheme(text: &str) -> bool {
    let (base, driver) = text.split_once('+').map_or((text, None), |(b, d)| (b, Some(d)));
    let fits = |driver: &str| {
        driver.starts_with(|c: char| c.is_ascii_lowercase())
            && driver.len() <= 32
            && driver.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    matches!(base, "postgres" | "postgresql") && driver.is_none_or(fits)
}
