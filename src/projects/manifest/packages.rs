//! `[build] packages`: what is installed beside what the tree lists.
//!
//! Each ends as a word of pip's command line, so it is the name of a package with its version, and
//! neither an option, nor a path, nor an address.

use super::reader::{Table, printable};
use crate::error::Result;

pub(super) const MOST_PACKAGES: usize = 50;

/// What a pattern of texts takes, for a schema.
pub(super) const REQUIREMENT: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*(\\[[A-Za-z0-9._,-]+\\])?\
     ((==|~=|!=|>=|<=|>|<)[A-Za-z0-9._+!*-]+(,(==|~=|!=|>=|<=|>|<)[A-Za-z0-9._+!*-]+)*)?$";

/// What pip takes for a file where there is one.
const ARCHIVES: &[&str] =
    &[".bz2", ".gz", ".lz", ".lzma", ".tar", ".tbz", ".tgz", ".tlz", ".txz", ".whl", ".xz", ".zip"];

pub(super) fn read(table: &Table<'_>) -> Result<Vec<String>> {
    let mut packages = Vec::new();
    for at in table.strings("packages", MOST_PACKAGES)?.unwrap_or_default() {
        if !is_requirement(at.value) {
            let why = format!("`{}` is no package with its version", printable(at.value));
            return Err(table.refused(&at.span, why).hint(
                "write \"gunicorn==23.0.0\" or \"uvicorn[standard]>=0.30,<1\"; what has an \
                 address, a path or options goes into requirements.txt",
            ));
        }
        packages.push(at.value.to_owned());
    }
    Ok(packages)
}

fn is_requirement(text: &str) -> bool {
    let signs = ['=', '~', '!', '>', '<'];
    let end = text.find(signs).unwrap_or(text.len());
    let (what, versions) = text.split_at(end);
    let (name, extras) = match what.split_once('[') {
        Some((name, rest)) => (name, rest.strip_suffix(']')),
        None => (what, Some("none")),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_version = |version: &str| {
        let number = ["==", "~=", "!=", ">=", "<=", ">", "<"]
            .into_iter()
            .find_map(|sign| version.strip_prefix(sign))
            .unwrap_or_default();
        !number.is_empty()
            && number.chars().all(|c| c.is_ascii_alphanumeric() || "._+!*-".contains(c))
    };
    let extras_fit = extras
        .is_some_and(|extras| !extras.is_empty() && extras.chars().all(|c| plain(c) || c == ','));
    text.len() <= 200
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
        && !ARCHIVES.iter().any(|end| text.to_ascii_lowercase().ends_with(end))
        && extras_fit
        && (versions.is_empty() || versions.split(',').all(is_version))
}

/// Whether it names one version, so that it is the same on each day.
pub(in crate::projects) fn is_pinned(package: &str) -> bool {
    package.split_once("==").is_some_and(|(what, version)| {
        !what.contains(['=', '~', '!', '>', '<']) && !version.contains(['*', ',', '='])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_package_is_a_name_with_a_version() {
        for good in [
            "gunicorn",
            "gunicorn==23.0.0",
            "uvicorn[standard]>=0.30,<1",
            "psycopg[binary,pool]~=3.2",
            "zope.interface!=5.0",
            "x==1!2.0+local.1",
            "django==4.*",
        ] {
            assert!(is_requirement(good), "{good}");
        }
        for bad in [
            "",
            "-e",
            "--index-url=https://evil.example",
            "-r/etc/passwd",
            "./local",
            "../x",
            "/srv/x",
            "a/b",
            ".",
            "https://example.com/x.whl",
            "git+https://example.com/x",
            "x @ https://example.com/x",
            "x.whl",
            "X.TAR.GZ",
            "x==1.zip",
            "a b",
            "a;b",
            "a\n--pre",
            "a[b",
            "a[]",
            "a[b]c",
            "a==",
            "a===1",
            "a>=1,",
            "a>=1,b",
            "$HOME",
            "a=1",
            "é",
        ] {
            assert!(!is_requirement(bad), "{bad}");
        }
        for (package, pinned) in [
            ("a==1.2", true),
            ("a[b]==1", true),
            ("a", false),
            ("a==1.*", false),
            ("a>=1,==1.2", false),
            ("a==1,<2", false),
        ] {
            assert_eq!(is_pinned(package), pinned, "{package}");
        }
    }

    proptest! {
        #[test]
        fn no_package_is_an_option_or_a_place(text in "[-a-z./:@=<>~!\\[\\], *+#;$%\n]{0,12}") {
            if is_requirement(&text) {
                prop_assert!(text.starts_with(|c: char| c.is_ascii_alphanumeric()));
                prop_assert!(!text.contains(['/', ':', '@', ' ', '\n', '#', ';', '$', '%']));
            }
        }
    }
}
