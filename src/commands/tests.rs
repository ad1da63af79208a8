use clap::CommandFactory;

use super::*;

fn leaves(command: &clap::Command, path: &str, into: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let name = if path.is_empty() {
            sub.get_name().into()
        } else {
            format!("{path} {}", sub.get_name())
        };
        if sub.has_subcommands() && !TABLE.iter().any(|(row, _)| *row == name) {
            leaves(sub, &name, into);
        } else {
            into.push((name, sub.clone()));
        }
    }
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_a_row_and_every_row_a_command() {
    let mut commands = Vec::new();
    leaves(&Cli::command(), "", &mut commands);
    let mut names: Vec<&str> = commands.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let mut rows: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    rows.sort_unstable();
    assert_eq!(names, rows);
}

#[test]
fn every_command_shows_examples() {
    let mut commands = Vec::new();
    leaves(&Cli::command(), "", &mut commands);
    for (name, command) in commands.iter().filter(|(_, command)| !command.is_hide_set()) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Examples:\n  hostkit"), "{name}");
        assert!(command.get_about().is_some(), "{name}");
    }
}
