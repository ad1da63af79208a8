//! What a tree in PHP is.

use super::*;

#[test]
fn php_is_its_pages_and_what_composer_brings() {
    let slim = "composer.json={\"require\":{\"php\":\">=8.1\",\"slim/slim\":\"^4\"}}";
    let recipe =
        |entries: &[&str], manifest: &str| with(entries, manifest, None, None, ALL_TOOLS).unwrap();
    let public = recipe(&[slim, "composer.lock", "public/index.php", "index.php"], "");
    assert_eq!((public.runtime, public.because.as_str()), (Runtime::Php, "composer.json"));
    assert_eq!(public.spec.public.as_deref(), Some("public"));
    assert_eq!(
        web(&public),
        "/usr/sbin/php-fpm8.2 --nodaemonize --force-stderr --fpm-config /etc/hostkit-php/my-shop.conf"
    );
    assert_eq!(
        steps_of(&public),
        ["/usr/bin/env composer install --no-dev --no-interaction --prefer-dist --no-progress \
          --optimize-autoloader"]
    );
    assert!(public.notes.is_empty(), "{:?}", public.notes);
    let unlocked = recipe(&[slim, "index.php"], "");
    assert_eq!(unlocked.spec.public.as_deref(), Some(""));
    assert!(unlocked.notes[0].contains("no composer.lock"));
    let assets = "package.json={\"scripts\":{\"build\":\"vite build\"}}";
    let plain = recipe(&["index.php", "index.html", assets], "");
    assert_eq!((plain.runtime, plain.because.as_str()), (Runtime::Php, "index.php"));
    assert_eq!(steps_of(&plain).last().unwrap(), "/bin/rm -rf node_modules");
    // Their sources are never served, whatever the manifest calls the directory.
    let named = recipe(&["web/index.php", "index.html"], "[project]\npublic = \"web\"\n");
    assert_eq!((named.runtime, named.spec.public.as_deref()), (Runtime::Php, Some("web")));
    let manifest = "[project]\nruntime = \"php\"\n[process.web]\nhealth = \"/up\"\n\
        [process.queue]\ncommand = \"php artisan queue:work\"\n";
    let declared = recipe(&["public/index.php"], manifest);
    assert_eq!(declared.spec.web().unwrap().health.as_ref().unwrap().path, "/up");
    let names: Vec<&str> = declared.spec.processes.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["web", "queue"]);
    assert_eq!(declared.spec.processes[1].command[0], "/usr/bin/php");
    let own = "[process.web]\ncommand = \"php -S 127.0.0.1:$PORT\"\n";
    assert_eq!(recipe(&["index.php"], own).runtime, Runtime::Custom);
}

#[test]
fn php_wants_its_programs_and_its_pages() {
    let entries = ["composer.json={}", "index.php"];
    let without = |tools| with(&entries, "", None, None, tools).unwrap_err();
    for tools in
        [Tools { fpm: None, ..ALL_TOOLS }, Tools { composer: false, ..ALL_TOOLS }, Tools::default()]
    {
        let error = without(tools);
        assert_eq!((error.code, error.kind.exit_code()), ("program_missing", 8));
        assert!(error.hint.unwrap().contains("apt-get install php-fpm"));
    }
    let none = with(&["a.php"], "[project]\nruntime = \"php\"", None, None, ALL_TOOLS).unwrap_err();
    assert_eq!((none.code, none.kind.exit_code()), ("no_pages", 2));
    assert_eq!(Fpm::of("php-fpm8.10"), Some(Fpm { major: 8, minor: 10 }));
    assert!(Fpm::of("php-fpm8.10") > Fpm::of("php-fpm8.4") && Fpm::of("php-fpm").is_none());
}
