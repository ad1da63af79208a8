use super::*;
use crate::{
    names::ReleaseId,
    registry::{Change, Project, Release, ReleaseState, tests::fresh},
    release::Spec,
    secret::{Keyring, MasterKey, Place, Secret},
};

fn name(text: &str) -> ProjectName {
    text.parse().unwrap()
}

fn spec() -> Spec {
    serde_json::from_value(serde_json::json!({ "runtime": "custom", "processes": [] })).unwrap()
}

fn project(registry: &mut Registry, text: &str, n: u32) {
    let project =
        Project { uid: 20_000 + n, port: 8001 + u16::try_from(n).unwrap(), ..Project::plain(text) };
    close(registry, text, Change::Add(Box::new(project)));
}

fn close(registry: &mut Registry, project: &str, change: Change) {
    let project = name(project);
    let new = crate::registry::NewOperation {
        project: Some(&project),
        verb: "test",
        actor: "root",
        way: crate::registry::Way::Undo,
    };
    let (id, _) = registry.begin(&new, None).unwrap();
    registry.close(id, crate::registry::Outcome::Done, None, &[change]).unwrap();
}

fn set(registry: &mut Registry, project: &str, key: &MasterKey, values: &[(&str, &str)]) {
    let values: Vec<(&str, Secret)> =
        values.iter().map(|(name, value)| (*name, Secret::new(*value))).collect();
    let new: Vec<NewValue<'_>> =
        values.iter().map(|(name, value)| NewValue { name, value, is_live: false }).collect();
    registry.set_secrets(&name(project), &new, key, &Use::of("set", "root")).unwrap();
}

fn open(
    registry: &Registry,
    ring: &Keyring,
    project: &str,
    of: &str,
    version: i64,
) -> Option<String> {
    let sealed = registry.sealed(&name(project), of, version).ok()?;
    let value = ring.open(Place { project, name: of, version }, &sealed).unwrap();
    Some(value.expose().to_owned())
}

fn release(registry: &mut Registry, project: &str, id: &str) -> ReleaseId {
    let id: ReleaseId = id.parse().unwrap();
    let release = Release {
        id: id.clone(),
        state: ReleaseState::Staged,
        source: "x".into(),
        revision: None,
        spec: spec(),
        made_at: Timestamp::UNIX_EPOCH,
    };
    registry.add_release(&name(project), &release).unwrap();
    id
}

fn arrive(
    registry: &mut Registry,
    project: &str,
    release: &ReleaseId,
    versions: &[(&str, i64)],
    is_back: bool,
) {
    let versions = versions.iter().map(|(name, v)| ((*name).to_owned(), *v)).collect();
    let project_name = name(project);
    let release = release.clone();
    close(
        registry,
        project,
        Change::Secrets(Arrived { project: project_name, release, versions, is_back }),
    );
}

fn ring(key: &MasterKey) -> Keyring {
    Keyring { current: key.clone(), next: None }
}

/// Whether any of the registry's files has these bytes.
fn holds(dir: &tempfile::TempDir, part: &[u8]) -> bool {
    std::fs::read_dir(dir.path()).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes.windows(part.len()).any(|window| window == part)
    })
}

#[test]
fn versions_count_up_and_are_never_used_twice() {
    let (dir, mut registry) = fresh();
    project(&mut registry, "shop", 0);
    let key = MasterKey::generate().unwrap();
    for n in 1..=20 {
        set(&mut registry, "shop", &key, &[("TOKEN", &format!("v{n}"))]);
    }
    let row = registry.secret(&name("shop"), "TOKEN").unwrap();
    assert_eq!((row.version, row.live_version), (Some(20), None));
    assert_eq!(open(&registry, &ring(&key), "shop", "TOKEN", 20).as_deref(), Some("v20"));
    assert_eq!(open(&registry, &ring(&key), "shop", "TOKEN", 11).as_deref(), Some("v11"));
    assert_eq!(open(&registry, &ring(&key), "shop", "TOKEN", 10), None, "ten stay");
    let sealed = registry.sealed(&name("shop"), "TOKEN", 20).unwrap();
    registry.clear_secrets(&name("shop"), &["TOKEN"], &Use::of("clear", "root")).unwrap();
    assert!(!holds(&dir, &sealed.text), "overwritten, and not only forgotten");
    assert!(registry.secrets(&name("shop")).unwrap().is_empty());
    assert_eq!(registry.secret(&name("shop"), "TOKEN").unwrap_err().code, "no_secret");
}

#[test]
fn what_a_release_had_stays_as_long_as_the_release() {
    let (_dir, mut registry) = fresh();
    project(&mut registry, "shop", 0);
    let key = MasterKey::generate().unwrap();
    let shop = name("shop");
    let one = release(&mut registry, "shop", "20261121-093012");
    set(&mut registry, "shop", &key, &[("TOKEN", "first")]);
    arrive(&mut registry, "shop", &one, &[("TOKEN", 1)], false);
    for n in 2..=30 {
        set(&mut registry, "shop", &key, &[("TOKEN", &n.to_string())]);
    }
    let two = release(&mut registry, "shop", "20261121-093013");
    arrive(&mut registry, "shop", &two, &[("TOKEN", 30)], false);
    registry.unset_secrets(&shop, &["TOKEN"], &Use::of("delete", "root")).unwrap();
    assert_eq!(registry.pinned_secrets(&shop, &one).unwrap(), [("TOKEN".to_owned(), 1)].into());
    assert_eq!(open(&registry, &ring(&key), "shop", "TOKEN", 1).as_deref(), Some("first"));
    assert_eq!(open(&registry, &ring(&key), "shop", "TOKEN", 29), None, "deleted");
    let row = registry.secret(&shop, "TOKEN").unwrap();
    assert_eq!((row.version, row.live_version), (None, Some(30)));
    // All of it comes back, and is what the next deploy brings.
    arrive(&mut registry, "shop", &one, &[("TOKEN", 1)], true);
    let row = registry.secret(&shop, "TOKEN").unwrap();
    assert_eq!((row.version, row.live_version), (Some(1), Some(1)));
    registry.unset_secrets(&shop, &["TOKEN"], &Use::of("delete", "root")).unwrap();
    let three = release(&mut registry, "shop", "20261121-093014");
    arrive(&mut registry, "shop", &three, &[], false);
    registry.forget_release(&shop, &two).unwrap();
    registry.forget_release(&shop, &one).unwrap();
    arrive(&mut registry, "shop", &three, &[], false);
    assert_eq!(open(&registry, &ring(&key), "shop", "TOKEN", 1), None);
    assert!(registry.secrets(&shop).unwrap().is_empty());
}

#[test]
fn a_definition_outlives_the_value_and_a_value_the_definition() {
    let (_dir, mut registry) = fresh();
    project(&mut registry, "shop", 0);
    let key = MasterKey::generate().unwrap();
    let shop = name("shop");
    let new = Definition {
        name: "MAIL".into(),
        kind: Format::Email,
        about: "who is told".into(),
        required: true,
    };
    registry.define_secret(&shop, &new, "root").unwrap();
    set(&mut registry, "shop", &key, &[("MAIL", "a@b.c")]);
    registry.unset_secrets(&shop, &["MAIL"], &Use::of("delete", "root")).unwrap();
    let row = registry.secret(&shop, "MAIL").unwrap();
    assert!(row.required && row.kind == Format::Email && row.version.is_none());
    set(&mut registry, "shop", &key, &[("MAIL", "a@b.c")]);
    registry.undefine_secret(&shop, "MAIL", "root").unwrap();
    let row = registry.secret(&shop, "MAIL").unwrap();
    assert!(!row.required && row.kind == Format::Text && row.version == Some(2));
}

#[test]
fn a_change_of_keys_leaves_nothing_of_the_old_one() {
    let (dir, mut registry) = fresh();
    project(&mut registry, "shop", 0);
    project(&mut registry, "wiki", 1);
    let (old, new) = (MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
    set(&mut registry, "shop", &old, &[("A", "1"), ("B", "2")]);
    set(&mut registry, "wiki", &old, &[("A", "3")]);
    let sealed = registry.sealed(&name("shop"), "A", 1).unwrap();
    let both = Keyring { current: old.clone(), next: Some(new.clone()) };
    assert_eq!(registry.reseal(&both, "root").unwrap(), 3);
    assert_eq!(registry.sealing_keys().unwrap(), [(new.id().to_owned(), 3)].into());
    let now = ring(&new);
    assert_eq!(open(&registry, &now, "shop", "B", 1).as_deref(), Some("2"));
    assert_eq!(open(&registry, &now, "wiki", "A", 1).as_deref(), Some("3"));
    assert!(!holds(&dir, &sealed.text), "nor does the file hold what the old key opens");
}

#[test]
fn a_value_that_no_key_opens_keeps_a_change_of_keys_from_anything() {
    let (_dir, mut registry) = fresh();
    project(&mut registry, "shop", 0);
    let [old, new, lost] = [(); 3].map(|()| MasterKey::generate().unwrap());
    set(&mut registry, "shop", &old, &[("A", "1")]);
    set(&mut registry, "shop", &lost, &[("B", "2")]);
    let both = Keyring { current: old.clone(), next: Some(new) };
    assert_eq!(registry.reseal(&both, "root").unwrap_err().code, "key_unknown");
    assert_eq!(open(&registry, &ring(&old), "shop", "A", 1).as_deref(), Some("1"));
    assert_eq!(registry.forget_lost_secrets(&old, "root").unwrap(), 1);
    let row = registry.secret(&name("shop"), "B").unwrap();
    assert_eq!((row.version, row.live_version), (None, None));
    assert_eq!(open(&registry, &ring(&old), "shop", "A", 1).as_deref(), Some("1"));
}

#[test]
fn each_use_is_noted_and_none_pushes_out_anothers() {
    let (_dir, mut registry) = fresh();
    project(&mut registry, "shop", 0);
    project(&mut registry, "wiki", 1);
    let key = MasterKey::generate().unwrap();
    set(&mut registry, "wiki", &key, &[("A", "1")]);
    let names = vec!["A"; 20_010];
    let reads = names.into_iter().map(|name| (name, Some(1)));
    registry.audit_secrets(&name("shop"), &Use::of("show", "eve"), reads).unwrap();
    let all = registry.secret_audit(Some(&name("shop")), None, 100_000).unwrap();
    assert_eq!(all.len(), 20_000);
    let wiki = registry.secret_audit(Some(&name("wiki")), Some("A"), 10).unwrap();
    assert_eq!((wiki.len(), wiki[0].what.as_str(), wiki[0].actor.as_str()), (1, "set", "root"));
}

#[test]
fn nothing_of_a_value_is_in_the_registrys_files() {
    let (dir, mut registry) = fresh();
    project(&mut registry, "shop", 0);
    let key = MasterKey::generate().unwrap();
    set(&mut registry, "shop", &key, &[("TOKEN", "correct-horse-battery-staple")]);
    assert!(holds(&dir, b"TOKEN") && !holds(&dir, b"horse") && !holds(&dir, b"staple"));
}
