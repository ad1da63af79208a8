//! A project's `.env`: the variables that hostkit answers for, among those that are the owner's.

use super::Passwords;
use crate::{envfile::EnvFile, error::Result, registry::Project, secret::Secret};

/// The keys that hostkit sets. Changing one by hand is drift.
pub struct ManagedEnv;

impl ManagedEnv {
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
pub(super) fn render(project: &Project, is: Option<&str>, passwords: &Passwords) -> Result<String> {
    let mut file = match is {
        Some(text) => EnvFile::parse(text)?,
        None => EnvFile::default(),
    };
    if is.is_none() {
        file.comment(&format!("The environment of {}. `hostkit env` changes it.", project.name));
    }
    for (key, value) in managed(project, passwords) {
        match value {
            Some(value) => file.set(key, &value)?,
            None => drop(file.unset(key)),
        }
    }
    Ok(file.to_string())
}

fn managed(project: &Project, passwords: &Passwords) -> Vec<(&'static str, Option<String>)> {
    let Project { name, port, redis, postgres, .. } = project;
    let redis = redis.map(|database| {
        format!("redis://{name}:{}@localhost:6379/{database}", passwords.redis.expose())
    });
    let postgres = postgres.then(|| {
        let password = passwords.postgres.expose();
        format!("postgresql://{}:{password}@localhost:5432/{}", name.role(), name.database())
    });
    let values = [
        Some(name.to_string()),
        Some(port.to_string()),
        Some("127.0.0.1".into()),
        redis.clone(),
        redis.clone(),
        redis,
        postgres,
    ];
    ManagedEnv::KEYS.iter().copied().zip(values).collect()
}

/// The passwords that a `.env` holds; new ones where it holds none.
pub fn passwords(env: Option<&str>) -> Result<Passwords> {
    let file = env.and_then(|text| EnvFile::parse(text).ok());
    let found = |key: &str| {
        let password = password_of(file.as_ref()?.get(key)?)?;
        let plain = password.len() >= 16 && password.bytes().all(|b| b.is_ascii_alphanumeric());
        plain.then(|| Secret::new(password))
    };
    let or_new = |found: Option<Secret>| found.map_or_else(Secret::generate, Ok);
    Ok(Passwords { redis: or_new(found("REDIS_URL"))?, postgres: or_new(found("DATABASE_URL"))? })
}

/// The database's password, also out of a file that somebody has made unreadable elsewhere.
pub fn database_password(env: &str) -> Option<Secret> {
    let line = env.lines().find_map(|line| line.strip_prefix("DATABASE_URL="));
    let parsed =
        EnvFile::parse(env).ok().and_then(|file| file.get("DATABASE_URL").map(str::to_owned));
    let url = parsed.or_else(|| line.map(str::to_owned))?;
    password_of(&url).map(Secret::new)
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
        let passwords = Passwords { redis: Secret::new("r"), postgres: Secret::new("p") };
        assert_eq!(
            render(&shop(), None, &passwords).unwrap(),
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
        let text = render(&shop(), None, &made).unwrap() + "# mine\nTOKEN=\"a b\"\n";
        let found = passwords(Some(&text)).unwrap();
        assert_eq!((&found.redis, &found.postgres), (&made.redis, &made.postgres));
        assert_eq!(render(&shop(), Some(&text), &found).unwrap(), text);
        let broken = text.replace("PORT=8001", "PORT=9");
        assert_eq!(render(&shop(), Some(&broken), &found).unwrap(), text);
    }
}
