//! A project's `.env`: the variables that hostkit answers for, among those that are the owner's.

use super::{DbLogin, Passwords, mysql, own_redis, storage};
use crate::{
    config::Config, envfile::EnvFile, error::Result, names::ProjectName, registry::Project,
    secret::Secret,
};

/// The keys that hostkit sets. Changing one by hand is drift.
pub struct ManagedEnv;

/// Those of a bucket: hostkit's where it made the bucket, and the owner's own where not.
pub(super) const STORAGE_KEYS: [&str; 6] =
    ["S3_ENDPOINT", "S3_REGION", "S3_BUCKET", "S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_PUBLIC_URL"];

impl ManagedEnv {
    /// Whether hostkit answers for a variable of that project.
    pub fn holds(project: &Project, key: &str) -> bool {
        Self::KEYS.contains(&key)
            || project.storage.is_some() && STORAGE_KEYS.contains(&key)
            || project.mysql && mysql::KEYS.contains(&key)
    }

    /// The variables of an environment that are hostkit's, given the bucket that it would make.
    pub fn keys_in(env: &EnvFile, bucket: &str) -> impl Iterator<Item = &'static str> {
        let has_bucket = env.get("S3_BUCKET") == Some(bucket);
        let of_bucket = STORAGE_KEYS.into_iter().filter(move |_| has_bucket);
        let has_mysql = mysql::is_ours(env);
        let of_mysql = mysql::KEYS.into_iter().filter(move |_| has_mysql);
        Self::KEYS.iter().copied().chain(of_bucket).chain(of_mysql)
    }

    /// Variables of a bucket that the owner has set himself.
    pub fn own_storage(env: &str) -> Vec<&'static str> {
        let file = EnvFile::parse(env).unwrap_or_default();
        STORAGE_KEYS.into_iter().filter(|key| file.get(key).is_some()).collect()
    }

    pub const KEYS: &'static [&'static str] = &[
        "PROJECT_NAME",
        "PORT",
        "HOST",
        "REDIS_URL",
        "CELERY_BROKER_URL",
        "CELERY_RESULT_BACKEND",
        "DATABASE_URL",
    ];
}

/// The file as it should be: what is there, with hostkit's variables set right.
pub(super) fn render(
    project: &Project,
    is: Option<&str>,
    passwords: &Passwords,
    config: &Config,
) -> Result<String> {
    let mut file = match is {
        Some(text) => EnvFile::parse(text)?,
        None => EnvFile::default(),
    };
    if is.is_none() {
        file.comment(&format!("The environment of {}. `hostkit env` changes it.", project.name));
    }
    let bucket = storage::variables(project, passwords.storage.as_ref(), config);
    let mysql = mysql::variables(project, &passwords.mysql);
    for (key, value) in managed(project, passwords).into_iter().chain(bucket).chain(mysql) {
        match value {
            Some(value) => file.set(key, &value)?,
            None => drop(file.unset(key)),
        }
    }
    Ok(file.to_string())
}

fn managed(project: &Project, passwords: &Passwords) -> Vec<(&'static str, Option<String>)> {
    let Project { name, port, postgres, .. } = project;
    let (redis, celery) = own_redis::urls(project, passwords.redis.expose()).unzip();
    // Who has both finds the other one under its own name.
    let postgres = postgres
        .then(|| url(name, passwords.login, &passwords.postgres))
        .or_else(|| project.mysql.then(|| mysql::url(name, &passwords.mysql)));
    let values = [
        Some(name.to_string()),
        Some(port.to_string()),
        Some("127.0.0.1".into()),
        redis,
        celery.clone(),
        celery,
        postgres,
    ];
    ManagedEnv::KEYS.iter().copied().zip(values).collect()
}

/// The passwords that a `.env` holds; new ones where it holds none.
pub fn passwords(env: Option<&str>) -> Result<Passwords> {
    let file = env.and_then(|text| EnvFile::parse(text).ok());
    let found = |key: &str| {
        let url = file.as_ref()?.get(key).filter(|url| !mysql::is_url(url))?;
        of_ours(password_of(url)?)
    };
    let mysql = file.as_ref().and_then(|file| of_ours(file.get("MYSQL_PASSWORD")?));
    let or_new = |found: Option<Secret>| found.map_or_else(Secret::generate, Ok);
    let url = file.as_ref().and_then(|file| file.get("DATABASE_URL"));
    let url = url.filter(|url| !mysql::is_url(url));
    Ok(Passwords {
        redis: or_new(found("REDIS_URL"))?,
        postgres: or_new(found("DATABASE_URL"))?,
        login: url.map_or(DbLogin::Owner, login_of),
        mysql: or_new(mysql)?,
        storage: env.and_then(storage::storage_keys),
    })
}

/// A password as hostkit makes them.
fn of_ours(password: &str) -> Option<Secret> {
    let plain = password.len() >= 16 && password.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| Secret::new(password))
}

/// Which of a project's two logins a URL names; whatever else it may name is none of them.
fn login_of(url: &str) -> DbLogin {
    let user =
        url.split_once("://").and_then(|(_, rest)| rest.split_once(':')).map(|(user, _)| user);
    if user.is_some_and(|user| user.ends_with("_user_2")) {
        DbLogin::Second
    } else {
        DbLogin::Owner
    }
}

/// The role that a project's processes log in as, and its password.
pub fn database_login(name: &ProjectName, env: &str) -> Option<(String, Secret)> {
    let url = database_url(env).filter(|url| !mysql::is_url(url))?;
    Some((login_of(&url).role(name), Secret::new(password_of(&url)?)))
}

/// The text of a `.env` with the other login of its database, whose password is that.
pub fn with_next_login(
    name: &ProjectName,
    env: &str,
    next: DbLogin,
    password: &Secret,
) -> Result<String> {
    let mut file = EnvFile::parse(env)?;
    file.set("DATABASE_URL", &url(name, next, password))?;
    Ok(file.to_string())
}

fn url(name: &ProjectName, login: DbLogin, password: &Secret) -> String {
    let (role, database) = (login.role(name), name.database());
    format!("postgresql://{role}:{}@localhost:5432/{database}", password.expose())
}

/// The database's address, also out of a file that somebody has made unreadable elsewhere.
fn database_url(env: &str) -> Option<String> {
    let line = env.lines().find_map(|line| line.strip_prefix("DATABASE_URL="));
    let parsed =
        EnvFile::parse(env).ok().and_then(|file| file.get("DATABASE_URL").map(str::to_owned));
    parsed.or_else(|| line.map(str::to_owned))
}

/// `postgresql://role:password@host/database`
fn password_of(url: &str) -> Option<&str> {
    let (_, password) = url.split_once("://")?.1.split_once('@')?.0.split_once(':')?;
    Some(password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::tests::shop;

    #[test]
    fn the_file_of_a_new_project() {
        let passwords = Passwords {
            redis: Secret::new("r"),
            postgres: Secret::new("p"),
            login: DbLogin::Owner,
            mysql: Secret::new("m"),
            storage: None,
        };
        assert_eq!(
            render(&shop(), None, &passwords, &Config::default()).unwrap(),
            "# The environment of my-shop. `hostkit env` changes it.\n\
             PROJECT_NAME=my-shop\nPORT=8001\nHOST=127.0.0.1\n\
             REDIS_URL=redis://my-shop:r@localhost:6379/1\n\
             CELERY_BROKER_URL=redis://my-shop:r@localhost:6379/1\n\
             CELERY_RESULT_BACKEND=redis://my-shop:r@localhost:6379/1\n\
             DATABASE_URL=postgresql://my_shop_user:p@localhost:5432/my_shop_db\n"
        );
    }

    #[test]
    fn what_the_owner_set_stays_and_passwords_are_found_again() {
        let made = passwords(None).unwrap();
        let text =
            render(&shop(), None, &made, &Config::default()).unwrap() + "# mine\nTOKEN=\"a b\"\n";
        let found = passwords(Some(&text)).unwrap();
        assert_eq!((&found.redis, &found.postgres), (&made.redis, &made.postgres));
        assert_eq!(render(&shop(), Some(&text), &found, &Config::default()).unwrap(), text);
        let broken = text.replace("PORT=8001", "PORT=9");
        assert_eq!(render(&shop(), Some(&broken), &found, &Config::default()).unwrap(), text);
    }
}
