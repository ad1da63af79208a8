//! A project's secrets in the clear, for a backup that is encrypted as a whole.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{
    keys,
    values::{self, Which},
};
use crate::{
    commands::Context,
    error::{Error, Result},
    names::ProjectName,
    registry::{Definition, NewValue, Use},
    secret::{Format, Secret},
};

/// All secrets of a project. Whoever holds it holds their values: it is for memory and for what
/// is encrypted, and says nothing of itself.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// Of this form; another one is refused.
    form: u32,
    secrets: Vec<One>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct One {
    name: String,
    defined: bool,
    kind: String,
    about: String,
    required: bool,
    /// What the next deploy would have brought.
    current: Option<String>,
    /// What processes had.
    live: Option<String>,
}

const FORM: u32 = 1;

impl Drop for One {
    fn drop(&mut self) {
        self.current.zeroize();
        self.live.zeroize();
    }
}

impl Exported {
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// As text; it holds all values.
    pub fn json(&self) -> Result<Secret> {
        serde_json::to_string(self)
            .map(Secret::new)
            .map_err(|_| Error::failed("could not write the secrets down"))
    }

    /// What [`json`](Self::json) wrote. What is wrong with it is not repeated: it may be a value.
    pub fn parse(text: &str) -> Result<Self> {
        let read: Result<Self, _> = serde_json::from_str(text);
        let read = read.map_err(|error| {
            Error::usage("bad_backup", "the backup's secrets can't be read").caused_by(format!(
                "line {}, column {}",
                error.line(),
                error.column()
            ))
        })?;
        check(&read)?;
        Ok(read)
    }

    /// How many values it holds that the next deploy would bring.
    pub fn len(&self) -> usize {
        self.secrets.iter().filter(|one| one.current.is_some()).count()
    }
}

/// Reads all of a project's secrets; `why` is what the audit says.
pub fn export(cx: &mut Context, project: &ProjectName, why: &str) -> Result<Exported> {
    let current = values::read(cx, project, Which::Current, why, None)?;
    let live = values::read(cx, project, Which::Live, why, None)?;
    let text = |all: &values::Values, name: &str| {
        all.get(name).map(|(_, value)| value.expose().to_owned())
    };
    let rows = cx.registry()?.secrets(project)?;
    let secrets = rows
        .into_iter()
        .map(|row| One {
            current: text(&current, &row.name),
            live: text(&live, &row.name),
            name: row.name,
            defined: row.defined,
            kind: row.kind.to_string(),
            about: row.about,
            required: row.required,
        })
        .collect();
    Ok(Exported { form: FORM, secrets })
}

/// Brings secrets back beside those that there are; values become new versions. What processes had
/// counts as what they have, so the `.env` that belongs to it is to come back, too, and
/// `hostkit repair` makes the files.
///
/// The caller holds the project. Gives back how many values came.
pub fn import(
    cx: &mut Context,
    project: &ProjectName,
    from: &Exported,
    why: &str,
) -> Result<usize> {
    check(from)?;
    if from.is_empty() {
        return Ok(0);
    }
    let (ring, _) = keys::ring_or_new(cx)?;
    let actor = cx.caller.actor();
    let mut values: Vec<(&str, Secret, bool)> = Vec::new();
    for one in &from.secrets {
        if one.defined {
            let new = Definition {
                name: one.name.clone(),
                kind: one.kind.parse().unwrap_or_default(),
                about: one.about.clone(),
                required: one.required,
            };
            cx.registry()?.define_secret(project, &new, &actor)?;
        }
        let is_same = one.current == one.live;
        // In this order: the last one is what the next deploy brings.
        for (value, is_live) in
            [(one.live.as_ref().filter(|_| !is_same), true), (one.current.as_ref(), is_same)]
        {
            if let Some(value) = value {
                values.push((&one.name, Secret::new(value.as_str()), is_live));
            }
        }
    }
    let new: Vec<NewValue<'_>> = values
        .iter()
        .map(|(name, value, is_live)| NewValue { name, value, is_live: *is_live })
        .collect();
    let registry = cx.registry.as_mut().ok_or_else(|| Error::failed("no registry"))?;
    cx.host.journaling("bring secrets back", || {
        registry.set_secrets(project, &new, &ring.current, &Use::of(why, &actor))
    })?;
    // One that was taken away, and that processes had until then.
    let going: Vec<&str> = from
        .secrets
        .iter()
        .filter(|one| one.current.is_none() && one.live.is_some())
        .map(|one| one.name.as_str())
        .collect();
    if !going.is_empty() {
        cx.registry()?.unset_secrets(project, &going, &Use::of(why, &actor))?;
    }
    Ok(from.len())
}

/// A backup may come from anywhere.
fn check(from: &Exported) -> Result<()> {
    let refused = |why: String| {
        Error::usage("bad_backup", "the backup's secrets can't be read").caused_by(why)
    };
    if from.form != FORM {
        return Err(refused(format!("their form is {}, and this hostkit knows {FORM}", from.form))
            .hint("install a hostkit at least as new as the one that made it"));
    }
    for one in &from.secrets {
        super::check_name(&one.name).map_err(|error| refused(error.to_string()))?;
        one.kind.parse::<Format>().map_err(refused)?;
        let is_text = |value: &Option<String>| value.as_ref().is_none_or(|v| !v.contains('\0'));
        if !is_text(&one.current) || !is_text(&one.live) || one.about.contains(char::is_control) {
            return Err(refused(format!("`{}` holds what no secret can", one.name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;
    use crate::{
        caller::Caller,
        config::Config,
        registry::{Change, NewOperation, Outcome, Project, Registry, Way},
        sys::{Faults, Host},
        ui::{Ui, Voice},
    };

    /// A server of files alone, with a project `shop` and nobody's secrets.
    fn server() -> (tempfile::TempDir, Context) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::rehearsal(root.path(), Faults::none()).unwrap();
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let me = crate::sys::Owner::new(uid.as_raw(), gid.as_raw());
        for dir in ["/etc", "/etc/hostkit"] {
            host.make_dir(Path::new(dir), me, 0o755).unwrap();
        }
        let mut registry = Registry::create(&root.path().join("registry.db")).unwrap();
        let project: Project = project();
        let new =
            NewOperation { project: Some(&project.name), verb: "x", actor: "x", way: Way::Undo };
        let (id, _) = registry.begin(&new, None).unwrap();
        let change = Change::Add(Box::new(project.clone()));
        registry.close(id, Outcome::Done, None, &[change]).unwrap();
        let cx = Context {
            host,
            config: Config::default(),
            caller: Caller::Root,
            ui: Ui::start(Voice { json: false, quiet: true, verbose: false }),
            wait: Duration::ZERO,
            started_in: "/".into(),
            app: None,
            registry: Some(registry),
        };
        (root, cx)
    }

    fn project() -> Project {
        Project::plain("shop")
    }

    fn set(cx: &mut Context, name: &str, value: &str, is_live: bool) {
        let (ring, _) = keys::ring_or_new(cx).unwrap();
        let value = Secret::new(value);
        let new = [NewValue { name, value: &value, is_live }];
        let what = Use::of("set", "root");
        cx.registry().unwrap().set_secrets(&project().name, &new, &ring.current, &what).unwrap();
    }

    #[test]
    fn all_of_it_goes_to_another_server_under_another_key() {
        let shop = project().name;
        let (_one, mut cx) = server();
        let new = Definition {
            name: "MAIL".into(),
            kind: Format::Email,
            about: "who is told".into(),
            required: true,
        };
        cx.registry().unwrap().define_secret(&shop, &new, "root").unwrap();
        set(&mut cx, "SAME", "live and current", true);
        set(&mut cx, "NEWER", "live \"one\"", true);
        set(&mut cx, "NEWER", "next one\n", false);
        set(&mut cx, "WAITS", "next", false);
        set(&mut cx, "GOES", "live", true);
        let what = Use::of("delete", "root");
        cx.registry().unwrap().unset_secrets(&shop, &["GOES"], &what).unwrap();
        let exported = export(&mut cx, &shop, "backup").unwrap();
        assert_eq!(exported.len(), 3);
        let audit = cx.registry().unwrap().secret_audit(Some(&shop), Some("WAITS"), 9).unwrap();
        assert_eq!(audit.last().unwrap().what, "backup");

        let (_two, mut other) = server();
        let came = Exported::parse(exported.json().unwrap().expose()).unwrap();
        assert_eq!(import(&mut other, &shop, &came, "restore").unwrap(), 3);
        let ids = [&mut cx, &mut other].map(|cx| keys::ring(cx).unwrap().current.id().to_owned());
        assert_ne!(ids[0], ids[1]);
        for which in [Which::Current, Which::Live] {
            let [before, after] = [&mut cx, &mut other].map(|cx| {
                let all = values::read(cx, &shop, which, "show", None).unwrap();
                all.into_iter()
                    .map(|(name, (_, value))| format!("{name}={}", value.expose()))
                    .collect::<Vec<_>>()
            });
            assert_eq!(before, after);
            assert_eq!(before.len(), 3);
        }
        let row = other.registry().unwrap().secret(&shop, "MAIL").unwrap();
        assert!(row.required && row.kind == Format::Email && row.about == "who is told");
        // Once more over what is there: the same again.
        assert_eq!(import(&mut other, &shop, &came, "restore").unwrap(), 3);
        let row = other.registry().unwrap().secret(&shop, "NEWER").unwrap();
        assert_eq!((row.version, row.live_version), (Some(4), Some(3)));
    }

    #[test]
    fn what_is_no_backup_of_secrets_is_refused_without_a_word_of_it() {
        let one = |name: &str, kind: &str| {
            format!(
                "{{\"form\":1,\"secrets\":[{{\"name\":\"{name}\",\"defined\":false,\"kind\":\"{kind}\",\
                 \"about\":\"\",\"required\":false,\"current\":\"hunter2\",\"live\":null}}]}}"
            )
        };
        assert!(Exported::parse(&one("A", "text")).is_ok());
        for text in [
            String::new(),
            "{\"form\":2,\"secrets\":[]}".into(),
            one("A", "text").replace("\"live\":null", "\"live\":hunter2"),
            one("LD_PRELOAD", "text"),
            one("../../x", "text"),
            one("PORT", "text"),
            one("A", "nonesuch"),
        ] {
            let error = Exported::parse(&text).err().unwrap();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
