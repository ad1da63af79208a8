//! What a project's user may do, and whether sudo grants that and nothing else.

use std::collections::BTreeSet;

use super::USER_COMMANDS;
use crate::names::ProjectName;

/// The rules that sudo should list for a project's user, in its own words.
pub fn granted(name: &ProjectName) -> BTreeSet<String> {
    USER_COMMANDS
        .iter()
        .map(|command| format!("(root) NOPASSWD: /usr/bin/hostkit {command} {name}"))
        .collect()
}

/// The rules in what `sudo -l` prints. Long ones go on in lines of their own.
pub fn read_grants(listing: &str) -> BTreeSet<String> {
    let mut rules: Vec<String> = Vec::new();
    let after = listing.lines().skip_while(|line| !line.contains("may run the following commands"));
    for line in after.skip(1).map(str::trim).filter(|line| !line.is_empty()) {
        match rules.last_mut() {
            Some(rule) if !line.starts_with('(') => {
                rule.push(' ');
                rule.push_str(line);
            }
            _ => rules.push(line.to_owned()),
        }
    }
    rules.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_of_sudos_is_read_rule_by_rule() {
        let listing = "Matching Defaults entries for shop on vps:\n    env_reset, use_pty\n\n\
            User shop may run the following commands on vps:\n    \
            (root) NOPASSWD: /usr/bin/hostkit status shop\n    \
            (root) NOPASSWD: /usr/bin/hostkit project restart\n        shop\n    (ALL) ALL\n";
        let rules: Vec<String> = read_grants(listing).into_iter().collect();
        assert_eq!(
            rules,
            [
                "(ALL) ALL",
                "(root) NOPASSWD: /usr/bin/hostkit project restart shop",
                "(root) NOPASSWD: /usr/bin/hostkit status shop"
            ]
        );
        assert!(read_grants("User bob is not allowed to run sudo on vps.\n").is_empty());
        assert!(granted(&"shop".parse().unwrap()).contains(&rules[1]));
    }
}
