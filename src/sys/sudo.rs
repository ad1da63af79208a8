//! What sudo says: whether rules are well-formed, and what a user may become by them.

use std::path::Path;

use super::{Cmd, Host};
use crate::error::{Error, Result};

const VISUDO: &str = "/usr/sbin/visudo";

/// Fails unless every rule in the file is one that sudo takes.
pub fn check(host: &Host, file: &Path) -> Result<()> {
    let said = host.ask(&Cmd::new(VISUDO).args(["-c", "-f"]).arg(file))?;
    said.success().map(|_| ()).map_err(|e| {
        Error::failed("sudo would not take the rules that were made")
            .caused_by(e.cause.unwrap_or(e.message))
            .hint("if `/etc/hostkit/templates/sudoers/` has a template of your own, mend it")
    })
}

/// Fails unless all rules together are ones that sudo takes.
pub fn check_all(host: &Host) -> Result<()> {
    host.ask(&Cmd::new(VISUDO).arg("-c"))?.success().map(|_| ())
}

/// What sudo prints of all that a user may run.
pub fn listing(host: &Host, user: &str) -> Result<String> {
    let cmd = Cmd::new("/usr/bin/sudo").args(["-n", "-l", "-U", user]);
    // Whom it lets run nothing it names with a status of its own.
    Ok(host.ask(&cmd)?.stdout_text())
}

/// Whether sudo's rules let that user become root anyway.
pub fn may_become_root(host: &Host, user: &str) -> bool {
    let cmd = Cmd::new("/usr/bin/sudo").args(["-n", "-l", "-U", user, "/bin/sh"]);
    host.ask(&cmd).is_ok_and(|out| out.status.success())
}
