//! A project's bucket, its key, and where its site shows what is public.

use serde::Serialize;

use super::{Facts, Maker, Passwords, env, processes::whole_project};
use crate::{
    config::{Backend, Config},
    envfile::EnvFile,
    error::Result,
    names::ProjectName,
    plan::{Ground, Lane, Plan},
    registry::{Policy, Project},
    secret::Keys,
    steps::{AccessKey, Bucket, S3_PORT, StoragePlace as Place, WEB_PORT},
    templates::Templates,
};

/// Where the configuration says that object storage is.
pub fn storage_place(config: &Config) -> Option<Place> {
    let storage = &config.storage;
    let endpoint = match storage.backend {
        Backend::None => return None,
        Backend::Garage => format!("http://127.0.0.1:{S3_PORT}"),
        Backend::S3 => storage.endpoint.trim_end_matches('/').to_owned(),
    };
    Some(Place { kind: storage.backend, endpoint, region: storage.region.clone() })
}

/// What keys of a project are called where they are made.
pub fn key_name(name: &ProjectName) -> String {
    format!("hostkit {name}")
}

/// The variables by which a project finds its bucket; none of a key where none is known.
pub(super) fn variables(
    project: &Project,
    keys: Option<&Keys>,
    config: &Config,
) -> Vec<(&'static str, Option<String>)> {
    let (Some(storage), Some(place)) = (&project.storage, storage_place(config)) else {
        return Vec::new();
    };
    let bucket = project.name.bucket();
    let below = match (&storage.path, config.base_domain.below(&project.name)) {
        (Some(path), Ok(own)) => {
            let domain = project.domains.first().unwrap_or(&own);
            format!("http://{domain}{}", path.trim_end_matches('/'))
        }
        _ if config.storage.public_url.is_empty() => format!("{}/{bucket}", place.endpoint),
        _ => format!("{}/{bucket}", config.storage.public_url.trim_end_matches('/')),
    };
    let values = [
        Some(place.endpoint),
        Some(place.region),
        Some(bucket),
        keys.map(|keys| keys.id.clone()),
        keys.map(|keys| keys.secret.expose().to_owned()),
        Some(below),
    ];
    env::STORAGE_KEYS.iter().copied().zip(values).collect()
}

/// The key that a `.env` holds, if it holds one.
pub fn storage_keys(env: &str) -> Option<Keys> {
    let file = EnvFile::parse(env).ok()?;
    Keys::read(file.get("S3_ACCESS_KEY")?, file.get("S3_SECRET_KEY")?)
}

/// An environment without what led to the bucket.
pub fn without_storage(env: &str) -> Result<String> {
    let mut file = EnvFile::parse(env)?;
    for key in env::STORAGE_KEYS {
        file.unset(key);
    }
    Ok(file.to_string())
}

/// The plan of a project's bucket and of what tells of it, alone.
pub fn storage_plan(
    project: &Project,
    facts: &Facts,
    passwords: &Passwords,
    config: &Config,
    templates: &Templates,
) -> Result<Plan> {
    let project = &whole_project(project);
    let maker = Maker { project, facts, passwords, config, templates };
    let mut plan = Plan::new(Ground::Known);
    maker.storage(&mut plan);
    maker.environment(&mut plan)?;
    maker.site(&mut plan, Lane::Site)?;
    Ok(plan)
}

/// As nginx is told of it.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    path: &'a str,
    bucket: String,
    port: u16,
}

/// The location of what is public, where the site shows it.
pub(super) fn shown(project: &Project) -> Option<Shown<'_>> {
    let storage = project.storage.as_ref()?;
    let path = storage.path.as_deref()?;
    (storage.policy == Policy::PublicRead).then(|| Shown {
        path,
        bucket: project.name.bucket(),
        port: WEB_PORT,
    })
}

impl Maker<'_> {
    pub(super) fn storage(&self, plan: &mut Plan) {
        let Self { project, config, passwords, .. } = self;
        let (Some(storage), Some(place)) = (&project.storage, storage_place(config)) else {
            return;
        };
        let name = &project.name;
        let bucket = name.bucket();
        plan.part("storage", format!("{bucket}, {}", storage.policy.as_str()));
        let is_ours = place.kind == Backend::Garage;
        let keys = passwords.storage.as_ref();
        plan.step(
            Lane::Storage,
            Bucket {
                place: place.clone(),
                name: bucket.clone(),
                whose: key_name(name),
                is_public: storage.policy == Policy::PublicRead,
                quota: config.storage.quota.0,
                key: keys.filter(|_| is_ours).map(|keys| keys.id.clone()),
            },
        );
        if let Some(Keys { id, secret }) = keys.cloned() {
            let whose = key_name(name);
            let secret = Some(secret);
            plan.step(Lane::Storage, AccessKey { place, id, bucket, whose, secret });
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        projects::tests::{facts, shop},
        registry::Storage,
        secret::Secret,
        steps::Step,
    };

    pub(in crate::projects) fn with_garage() -> Config {
        let mut config = Config::default();
        config.storage.backend = Backend::Garage;
        config.storage.program = "/usr/local/lib/hostkit/garage-0".into();
        config
    }

    fn with(storage: Storage) -> Project {
        Project { storage: Some(storage), ..shop() }
    }

    #[test]
    fn a_bucket_is_told_of_in_the_environment_and_nowhere_else() {
        let passwords = Passwords {
            storage: Some(Keys { id: "GK1".into(), secret: Secret::new("s3cr3t") }),
            ..Passwords::none()
        };
        let env = |project: &Project| {
            env::render(project, Some("S3_BUCKET=mine\n"), &passwords, &with_garage()).unwrap()
        };
        assert!(env(&shop()).contains("S3_BUCKET=mine\n"), "the owner's own stays");
        let project = with(Storage::default());
        let text = env(&project);
        for line in [
            "S3_ENDPOINT=http://127.0.0.1:3900\n",
            "S3_REGION=garage\n",
            "S3_BUCKET=hostkit-my-shop\n",
            "S3_ACCESS_KEY=GK1\n",
            "S3_SECRET_KEY=s3cr3t\n",
            "S3_PUBLIC_URL=http://127.0.0.1:3900/hostkit-my-shop\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert_eq!(storage_keys(&text).unwrap(), passwords.storage.clone().unwrap());
        assert!(!without_storage(&text).unwrap().contains("S3_"));
        let shown = Storage { policy: Policy::PublicRead, path: Some("/files/".into()) };
        let text = env(&with(shown));
        assert!(text.contains("S3_PUBLIC_URL=http://my-shop.localhost/files\n"), "{text}");
        let plan =
            storage_plan(&project, &facts(), &passwords, &with_garage(), &Templates::default());
        let titles: Vec<String> = plan.unwrap().steps.iter().map(|p| p.step.title()).collect();
        for title in ["bucket hostkit-my-shop", "key to hostkit-my-shop", "file /home/my-shop/.env"]
        {
            assert!(titles.iter().any(|t| t == title), "{title}: {titles:?}");
        }
    }

    #[test]
    fn a_site_shows_a_bucket_only_where_anybody_may_read_it() {
        let path = Some("/files/".to_owned());
        for (policy, is_shown) in [(Policy::Private, false), (Policy::PublicRead, true)] {
            let project = with(Storage { policy, path: path.clone() });
            assert_eq!(shown(&project).is_some(), is_shown);
        }
        assert!(shown(&shop()).is_none());
    }
}
