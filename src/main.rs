//! hostkit: parse, run, and tell how it ended.

use std::{io::Write, process::ExitCode};

use hostkit::{
    commands,
    sys::{inherit, signals},
    ui::print_error,
};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(
            std::io::stderr(),
            "error: hostkit has a bug ({place})\nhint:  nothing is half-done: `hostkit recover` undoes what was begun; please report this line"
        );
        std::process::exit(1);
    }));
    let argv: Vec<_> = std::env::args_os().collect();
    // Runs as root in an environment of a project's: before anything that would read one, and
    // while there is one thread, which alone may change its view of the disk.
    if argv.get(1).is_some_and(|verb| verb == "door") {
        return commands::door::run(&argv[2..]);
    }
    let started = inherit::reset().and_then(|started_in| signals::listen().map(|()| started_in));
    match started {
        Ok(started_in) => commands::run(argv, started_in),
        Err(error) => {
            print_error(false, "", &error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}
