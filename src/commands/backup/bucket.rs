//! A project's bucket as one archive: out of the storage, and into it again.

use std::io::{Read, Write};

use crate::{
    commands::{Context, storage},
    error::{Context as _, Error, Result},
    registry::Project,
    sys::storage::fits,
    ui::count,
};

/// Where objects are in the archive.
const OBJECTS: &str = "objects/";

/// Writes the bucket's objects down, as entries that lead nowhere else; how many. `None` where the
/// project has no bucket.
pub(super) fn pack(cx: &Context, project: &Project, to: &mut dyn Write) -> Result<Option<u64>> {
    let failed = || "could not hand on the bucket".into();
    let Some(store) = storage::store(cx, project)? else { return Ok(None) };
    let mut archive = tar::Builder::new(to);
    let (mut packed, mut passed_over) = (0, 0_usize);
    store.each("", |object| {
        if !fits(&object.key) {
            passed_over += 1;
            return Ok(());
        }
        let mut reading = store.get(&object.key)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(reading.size().unwrap_or(object.size));
        header.set_mode(0o600);
        header.set_mtime(0);
        packed += 1;
        archive.append_data(&mut header, entry_name(&object.key), &mut reading).context(failed)
    })?;
    archive.finish().context(failed)?;
    if passed_over > 0 {
        cx.ui.note(format!(
            "{} of the bucket can be asked for by no address (a part of their names is a dot), and are not in its backup",
            count(passed_over, "object")
        ));
    }
    Ok(Some(packed))
}

/// Puts the objects of an archive into the bucket; how many. Others stay as they are.
pub(super) fn unpack(cx: &Context, project: &Project, from: &mut dyn Read) -> Result<u64> {
    let store = storage::store(cx, project)?.ok_or_else(|| {
        Error::missing("no_bucket", format!("{} has no bucket", project.name))
            .hint(format!("hostkit storage enable {}", project.name))
    })?;
    each(from, |key, mut object| store.put(key, &mut object).map(|_| ()))
}

/// Reads an archive to its end; how many objects it holds.
pub(super) fn look_through(from: &mut dyn Read) -> Result<u64> {
    each(from, |_, mut object| {
        std::io::copy(&mut object, &mut std::io::sink()).context(failed)?;
        Ok(())
    })
}

fn each(
    from: &mut dyn Read,
    mut see: impl FnMut(&str, &mut dyn Read) -> Result<()>,
) -> Result<u64> {
    let mut archive = tar::Archive::new(from);
    let mut seen = 0;
    for entry in archive.entries().context(failed)? {
        let mut entry = entry.context(failed)?;
        let path = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&path).into_owned();
        let key = key_of(&name).ok_or_else(|| {
            Error::failed(failed()).caused_by(format!("`{}` is no object", name.escape_debug()))
        })?;
        see(&key, &mut entry)?;
        seen += 1;
    }
    Ok(seen)
}

fn failed() -> String {
    "could not read a kept bucket".into()
}

/// The object's name, with whatever could mean something written as `%XX`.
fn entry_name(key: &str) -> String {
    let mut name = OBJECTS.to_owned();
    for byte in key.bytes() {
        let after_slash = name.ends_with('/');
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(byte.into()),
            b'/' if !after_slash => name.push('/'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    // An object may be called like a directory of others.
    if name.ends_with('/') {
        name.pop();
        name.push_str("%2F");
    }
    name
}

/// What [`entry_name`] made a name of.
fn key_of(name: &str) -> Option<String> {
    let name = name.strip_prefix(OBJECTS)?;
    let mut key = Vec::new();
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            key.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        key.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(key).ok().filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_object_is_called_like_a_way_out() {
        for (key, name) in [
            ("a/b.txt", "objects/a/b.txt"),
            ("/etc/passwd", "objects/%2Fetc/passwd"),
            ("a//b", "objects/a/%2Fb"),
            ("a b\n", "objects/a%20b%0A"),
            ("dir/", "objects/dir%2F"),
            ("100%", "objects/100%25"),
            ("ä", "objects/%C3%A4"),
        ] {
            assert_eq!(entry_name(key), name);
            assert_eq!(key_of(name).as_deref(), Some(key));
        }
        for name in ["etc/passwd", "objects/", "objects/%", "objects/%4", "objects/%zz"] {
            assert_eq!(key_of(name), None, "{name}");
        }
    }
}
