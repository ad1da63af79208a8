//! The master key: made once, never overwritten, changed with both keys at hand until it is done.

use std::path::Path;

use zeroize::Zeroizing;

use crate::{
    commands::Context,
    error::{Error, Result},
    secret::{Keyring, MasterKey},
    sys::{FileKind, Owner, signals::Changing},
    ui::count,
};

pub const PATH: &str = "/etc/hostkit/master.key";

/// Where the next key lies until all values are sealed under it.
const NEXT: &str = "/etc/hostkit/master.key.next";

/// What became of a change of keys.
pub struct Rotated {
    pub id: String,
    pub values: usize,
    /// Whether another run had begun it.
    pub went_on: bool,
}

/// The key that is there, or an error that says what is lost without it.
pub fn ring(cx: &mut Context) -> Result<Keyring> {
    let next = read(cx, NEXT)?;
    match read(cx, PATH)? {
        Some(current) => Ok(Keyring { current, next }),
        None => Err(absent(cx)?),
    }
}

/// The key that is there, or a new one where nothing was ever sealed; whether it is new.
pub fn ring_or_new(cx: &mut Context) -> Result<(Keyring, bool)> {
    if read(cx, PATH)?.is_some() || !cx.registry()?.sealing_keys()?.is_empty() {
        return ring(cx).map(|ring| (ring, false));
    }
    let made = make(cx)?;
    ring(cx).map(|ring| (ring, made))
}

fn make(cx: &mut Context) -> Result<bool> {
    let key = MasterKey::generate()?;
    let made = cx.host.create_secret(Path::new(PATH), key.file().expose().as_bytes())?;
    if made {
        let actor = cx.caller.actor();
        cx.registry()?.audit_key("init", &actor)?;
        cx.ui.note(format!(
            "made the master key `{PATH}`: keep a copy of it apart from the server's backups"
        ));
    }
    Ok(made)
}

fn read(cx: &Context, path: &str) -> Result<Option<MasterKey>> {
    let at = Path::new(path);
    let Some(meta) = cx.host.meta(at)? else { return Ok(None) };
    let is_ours = meta.owner.uid == rustix::process::geteuid().as_raw();
    if meta.kind != FileKind::File || !is_ours || meta.mode & 0o077 != 0 {
        return Err(Error::not_ready("key_exposed", format!("others than root may read `{path}`"))
            .caused_by(format!("owner {}, mode {:04o}", meta.owner.uid, meta.mode))
            .hint(format!(
                "`chown root:root {path} && chmod 600 {path}`; if somebody may have read it: \
                 `hostkit secrets rotate-key`, and new values for all secrets"
            )));
    }
    let text = Zeroizing::new(cx.host.read(at)?.unwrap_or_default());
    let key = std::str::from_utf8(&text).ok().and_then(MasterKey::parse);
    key.map(Some).ok_or_else(|| {
        Error::not_ready("key_damaged", format!("`{path}` holds no key"))
            .caused_by("it was cut off or changed")
            .hint("put it back from its copy; without one: `hostkit secrets init --new-key`")
    })
}

/// No key: because none was made yet, or because it is lost.
fn absent(cx: &mut Context) -> Result<Error> {
    let keys = cx.registry()?.sealing_keys()?;
    let sealed: u64 = keys.values().sum();
    if sealed == 0 {
        return Ok(Error::missing("no_key", "this server has no store of secrets yet")
            .hint("make it: `hostkit secrets init`"));
    }
    let values = count(usize::try_from(sealed).unwrap_or(usize::MAX), "sealed value");
    let names: Vec<&str> = keys.keys().map(String::as_str).collect();
    Ok(Error::not_ready("key_lost", format!("the master key `{PATH}` is gone"))
        .caused_by(format!(
            "the registry holds {values} that only the key {} opens; what processes have in `.env` is not touched",
            names.join(" or ")
        ))
        .hint(
            "put it back from its copy. Without one those values are lost: `hostkit secrets init --new-key` \
             begins anew, and `hostkit secrets import NAME /home/NAME/.env --known` takes up what `.env` still has",
        ))
}

/// How many values are lost, if no key on this server opens them.
pub fn lost(cx: &mut Context) -> Result<u64> {
    let known: Vec<MasterKey> =
        [PATH, NEXT].iter().filter_map(|path| read(cx, path).ok().flatten()).collect();
    let keys = cx.registry()?.sealing_keys()?;
    let is_known = |id: &String| known.iter().any(|key| key.id() == id);
    Ok(keys.iter().filter(|(id, _)| !is_known(id)).map(|(_, n)| n).sum())
}

/// Begins anew where the key is lost: forgets what nobody can open any more.
pub fn renew(cx: &mut Context) -> Result<(MasterKey, usize)> {
    let _changing = Changing::begin();
    let found = match read(cx, PATH) {
        Err(error) if error.code == "key_damaged" => None,
        other => other?,
    };
    if found.is_none() {
        // What is no key stays, under another name: somebody may still mend it.
        if cx.host.meta(Path::new(PATH))?.is_some() {
            let aside = format!("{PATH}.damaged-{}", jiff::Timestamp::now().as_second());
            cx.host.rename(Path::new(PATH), Path::new(&aside))?;
            cx.ui.note(format!("what was there is now `{aside}`"));
        }
        make(cx)?;
    }
    let ring = ring(cx)?;
    if ring.next.is_some() {
        return Err(Error::conflict("rotating", "a change of keys was interrupted")
            .hint("complete it first: `hostkit secrets rotate-key`"));
    }
    let actor = cx.caller.actor();
    let registry = cx.registry.as_mut().ok_or_else(|| Error::failed("no registry"))?;
    let gone = cx.host.journaling("forget lost secrets", || {
        registry.forget_lost_secrets(&ring.current, &actor)
    })?;
    Ok((ring.current, gone))
}

/// Seals everything under another key. Whoever calls holds the whole host.
///
/// The next key is on the disk before anything is sealed under it, and the old one is there until
/// nothing is sealed under that: killed anywhere, the keys that are there open everything.
pub fn rotate(cx: &mut Context) -> Result<Rotated> {
    let _changing = Changing::begin();
    let mut found = ring(cx)?;
    let went_on = found.next.is_some();
    if !went_on {
        let next = MasterKey::generate()?;
        cx.host.write(Path::new(NEXT), next.file().expose().as_bytes(), Owner::ROOT, 0o600)?;
        found.next = Some(next);
    }
    let actor = cx.caller.actor();
    let registry = cx.registry.as_mut().ok_or_else(|| Error::failed("no registry"))?;
    let values = cx.host.journaling("seal secrets anew", || registry.reseal(&found, &actor))?;
    cx.host.rename(Path::new(NEXT), Path::new(PATH))?;
    let id = found.next.map(|key| key.id().to_owned()).unwrap_or_default();
    Ok(Rotated { id, values, went_on })
}

/// Whether a change of keys was interrupted.
pub fn is_rotating(cx: &Context) -> bool {
    matches!(cx.host.meta(Path::new(NEXT)), Ok(Some(_)))
}

/// The keys as far as they are there and well.
pub fn known(cx: &Context) -> Option<Keyring> {
    let current = read(cx, PATH).ok()??;
    Some(Keyring { current, next: read(cx, NEXT).ok()? })
}
