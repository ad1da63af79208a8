//! What a tree with routes is.

use super::*;

#[test]
fn routes_go_with_a_runtime() {
    let run = |entries: &[&str], manifest: &str| with(entries, manifest, None, None, ALL_TOOLS);
    let files = "[routes]\n\"/\" = { static = \"site\", spa = true }\n";
    let recipe = run(&["x"], files).unwrap();
    assert_eq!((recipe.runtime, recipe.spec.public.is_none()), (Runtime::Static, true));
    assert!(recipe.spec.web().is_none() && recipe.public_candidates.is_empty());
    // Whoever says how a process starts has one, even where no route leads there.
    let web = "[process.web]\ncommand = \"bin/x\"\n";
    assert_eq!(run(&["x"], &format!("{files}{web}")).unwrap().runtime, Runtime::Custom);
    let python = &["requirements.txt=flask\n", "main.py=app = 1", "site/index.html"];
    assert_eq!(run(python, &format!("{files}{web}")).unwrap().runtime, Runtime::Python);

    let api = "[routes]\n\"/api/\" = { process = \"web\" }\n";
    let error = run(&["index.html"], api).unwrap_err();
    assert_eq!(error.code, "no_process", "{error}");
    let error = run(&["index.php"], api).unwrap_err();
    assert!(error.message.contains("php-fpm"), "{error}");
}
