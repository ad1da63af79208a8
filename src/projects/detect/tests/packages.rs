//! Packages of the manifest's, beside what a tree lists.

use super::*;

#[test]
fn packages_of_the_manifest_are_installed_too() {
    let of = |entries: &[&str], manifest: &str| {
        let all = [&["main.py"], entries].concat();
        with(&all, manifest, None, None, ALL_TOOLS)
    };
    let both =
        "[build]\npackages = [\"gunicorn==23.0.0\"]\nconstraints = \"deploy/constraints.txt\"\n";
    let pins = "deploy/constraints.txt=packaging==25.0\n";
    let flask = "requirements.txt=flask==3.0.0\n";
    let recipe = of(&[flask, pins], both).unwrap();
    assert_eq!(
        steps_of(&recipe)[1],
        "/usr/bin/python3 -m pip --python venv/bin/python install --disable-pip-version-check \
         --no-input --constraint deploy/constraints.txt gunicorn==23.0.0 --requirement requirements.txt"
    );
    // All of it decides whether it would be installed again.
    let installs = recipe.spec.installs.unwrap();
    let digest = |entries: &[&str], manifest: &str| of(entries, manifest).unwrap().spec.installs;
    assert_eq!(digest(&[flask, pins, "README.md=x"], both), Some(installs.clone()));
    for (entries, manifest) in [
        (&[flask, pins][..], both.replace("23.0.0", "23.0.1")),
        (&[flask, pins], both.replace("gunicorn==23.0.0\"", "gunicorn==23.0.0\", \"x==1\"")),
        (&[flask, pins], format!("{both}[build.env]\nCFLAGS = \"-O3\"\n")),
        (&[flask, "deploy/constraints.txt=packaging==24.0\n"], both.to_owned()),
        (&[flask], "[build]\npackages = [\"gunicorn==23.0.0\"]\n".to_owned()),
    ] {
        let other = digest(entries, &manifest);
        assert!(other.is_some() && other.as_ref() != Some(&installs), "{entries:?} {manifest}");
    }
    // What another day may be other is installed each time.
    for (entries, manifest) in [
        (&[flask, pins][..], both.replace("==23.0.0", "")),
        (&[flask, "deploy/constraints.txt=-c other.txt\n"], both.to_owned()),
    ] {
        assert_eq!(digest(entries, &manifest), None, "{entries:?} {manifest}");
    }
    // Beside a lock file, in a directory, and alone.
    let lock = of(&["pyproject.toml=[project]\nname='x'\n", "uv.lock", pins], both).unwrap();
    assert_eq!(
        steps_of(&lock)[1],
        "/usr/bin/env uv pip install --python venv/bin/python --constraint deploy/constraints.txt gunicorn==23.0.0"
    );
    let part = ["backend/requirements.txt=flask\n", "backend/main.py=app = FastAPI()\n", pins];
    let part = with(&part, both, None, None, ALL_TOOLS).unwrap();
    assert!(steps_of(&part)[1].contains("--constraint ../deploy/constraints.txt gunicorn"));
    let alone = of(&[], "[build]\npackages = [\"flask\"]\n").unwrap();
    assert!(steps_of(&alone)[1].ends_with("--no-input flask"), "{:?}", steps_of(&alone));
    // What nothing would install is refused.
    assert_eq!(of(&[flask], both).unwrap_err().code, "no_constraints");
    let node = "[project]\nruntime = \"node\"\n[process.web]\ncommand = \"node x.js\"\n[build]\npackages = [\"flask\"]\n";
    assert_eq!(of(&["package.json={}"], node).unwrap_err().code, "not_python");
}
