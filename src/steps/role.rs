//! A project's role in PostgreSQL, and the group that marks all of them.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Kept, Step};
use crate::{
    error::{Error, Result},
    secret::Secret,
    sys::{
        Host,
        postgres::{self, GROUP_ROLE, PLAIN, identifier, literal},
    },
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Role {
    pub name: String,
    pub connections: u32,
    pub comment: String,
    /// Of the two logins of a project one is valid; the other has no password.
    #[serde(default = "yes")]
    pub can_login: bool,
    /// The role in whose name it works, and whose all that it makes is. Where it can't log in
    /// either, there is none like it.
    #[serde(default)]
    pub stands_for: Option<String>,
    #[serde(skip)]
    pub password: Option<Secret>,
}

fn yes() -> bool {
    true
}

impl Role {
    fn attributes(&self) -> String {
        if self.can_login { PLAIN.into() } else { format!("NO{PLAIN}") }
    }

    fn groups(&self) -> Vec<String> {
        std::iter::once(GROUP_ROLE.to_owned()).chain(self.stands_for.clone()).collect()
    }

    fn is_to_be_gone(&self) -> bool {
        !self.can_login && self.stands_for.is_some()
    }

    fn differs(&self, is: &postgres::Role) -> Vec<String> {
        let mut differs: Vec<String> = is
            .attributes
            .split(' ')
            .filter(|word| !self.attributes().split(' ').any(|plain| plain == *word))
            .map(|word| format!("{} (should not be)", word.to_lowercase()))
            .collect();
        let groups = self.groups();
        for group in is.groups.iter().filter(|group| !groups.contains(group)) {
            differs.push(format!("member of {group} (should not be)"));
        }
        for group in groups.iter().filter(|group| !is.groups.contains(group)) {
            differs.push(format!("no member of {group}"));
        }
        if is.stands_for != self.stands_for {
            let whose = |role: &Option<String>| role.clone().unwrap_or_else(|| "itself".into());
            let (is, wanted) = (whose(&is.stands_for), whose(&self.stands_for));
            differs.push(format!("works for {is} (should for {wanted})"));
        }
        if !self.can_login && is.verifier.is_some() {
            differs.push("has a password (should not)".into());
        }
        if i64::from(is.connections) != i64::from(self.connections) {
            differs
                .push(format!("{} connections (should be {})", is.connections, self.connections));
        }
        if is.comment.as_deref() != Some(self.comment.as_str()) {
            differs.push("comment".into());
        }
        let knows = |password: &Secret| {
            is.verifier.as_ref().is_some_and(|verifier| postgres::verifies(verifier, password))
        };
        if self.password.as_ref().is_some_and(|password| !knows(password)) {
            differs.push("password".into());
        }
        differs
    }
}

/// Statements that make an existing role so.
fn shape(name: &str, to: &postgres::Role, from_groups: &[String]) -> String {
    let role = identifier(name);
    let mut sql =
        format!("ALTER ROLE {role} {} CONNECTION LIMIT {}", to.attributes, to.connections);
    match &to.verifier {
        Some(verifier) => sql.push_str(&format!(" PASSWORD {}", literal(verifier))),
        None => sql.push_str(" PASSWORD NULL"),
    }
    let comment = to.comment.as_deref().map_or("NULL".into(), literal);
    sql.push_str(&format!("; COMMENT ON ROLE {role} IS {comment}"));
    for group in from_groups.iter().filter(|group| !to.groups.contains(group)) {
        sql.push_str(&format!("; REVOKE {} FROM {role}", identifier(group)));
    }
    for group in &to.groups {
        sql.push_str(&format!("; GRANT {} TO {role}", identifier(group)));
    }
    match &to.stands_for {
        Some(owner) => sql.push_str(&format!("; ALTER ROLE {role} SET role = {}", literal(owner))),
        None => sql.push_str(&format!("; ALTER ROLE {role} RESET role")),
    }
    sql
}

/// Makes a role what it was, also where it is gone.
pub(super) fn put_back(host: &Host, name: &str, was: &postgres::Role) -> Result<()> {
    let is = host.role(name)?;
    let make =
        if is.is_none() { format!("CREATE ROLE {}; ", identifier(name)) } else { String::new() };
    let groups = is.map(|is| is.groups).unwrap_or_default();
    let sql = format!("{make}{}", shape(name, was, &groups));
    host.sql(&format!("put the role `{name}` back"), &sql)
}

/// Nobody gets in by a role from now on, and whoever is in leaves.
pub(super) fn end_logins(host: &Host, role: &str) -> Result<()> {
    if host.role(role)?.is_none() {
        return Ok(());
    }
    let sql = format!(
        "ALTER ROLE {} NOLOGIN PASSWORD NULL; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {}",
        identifier(role),
        literal(role)
    );
    host.sql(&format!("end the logins of `{role}`"), &sql)
}

/// Takes a role away; what it made in databases of others is theirs.
pub(super) fn drop_role(host: &Host, role: &str) -> Result<()> {
    host.strip_role(role)?;
    let sql = format!("DROP ROLE IF EXISTS {}", identifier(role));
    host.sql(&format!("remove the role `{role}`"), &sql)
}

impl Step for Role {
    fn title(&self) -> String {
        format!("role {} in PostgreSQL", self.name)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let Some(is) = host.role(&self.name)? else {
            return Ok(if self.is_to_be_gone() { Check::InPlace } else { Check::absent() });
        };
        let differs = if self.is_to_be_gone() {
            vec!["is there (should not be)".into()]
        } else {
            self.differs(&is)
        };
        if differs.is_empty() {
            return Ok(Check::InPlace);
        }
        let kept = serde_json::to_vec(&is)
            .map_err(|e| Error::failed("could not keep a role").caused_by(e))?;
        Ok(Check::Missing { before: Before::Kept(Kept::new(kept)), differs: differs.join(", ") })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        if self.is_to_be_gone() {
            return self.remove(host);
        }
        let is = host.role(&self.name)?;
        let verifier = match (&self.password, &is) {
            _ if !self.can_login => None,
            (Some(password), Some(is))
                if is.verifier.as_ref().is_some_and(|v| postgres::verifies(v, password)) =>
            {
                is.verifier.clone()
            }
            (Some(password), _) => Some(postgres::verifier(password)),
            (None, is) => is.as_ref().and_then(|is| is.verifier.clone()),
        };
        let wanted = postgres::Role {
            attributes: self.attributes(),
            connections: i32::try_from(self.connections).unwrap_or(i32::MAX),
            groups: self.groups(),
            comment: Some(self.comment.clone()),
            verifier,
            stands_for: self.stands_for.clone(),
        };
        let role = identifier(&self.name);
        let make = if is.is_none() { format!("CREATE ROLE {role}; ") } else { String::new() };
        let groups = is.map(|is| is.groups).unwrap_or_default();
        // All in one implicit transaction: the role is never there without its limits.
        let sql = format!(
            "{make}{}; ALTER ROLE {role} SET temp_file_limit = '1GB'",
            shape(&self.name, &wanted, &groups)
        );
        host.sql(&format!("make the role `{}`", self.name), &sql)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        let kept = match before {
            Before::Absent => return self.remove(host),
            Before::Kept(kept) => kept.bytes(host)?,
            other => return Err(other.foreign()),
        };
        let was: postgres::Role = serde_json::from_slice(&kept)
            .map_err(|e| Error::failed("could not read a kept role").caused_by(e))?;
        put_back(host, &self.name, &was)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        if self.is_to_be_gone() {
            end_logins(host, &self.name)?;
        }
        drop_role(host, &self.name)
    }

    fn revoke(&self, host: &Host) -> Result<()> {
        end_logins(host, &self.name)
    }
}

/// The group of all projects' roles. It may do nothing; rules in `pg_hba.conf` name it.
#[derive(Debug, Deserialize, Serialize)]
pub struct GroupRole {}

impl Step for GroupRole {
    fn title(&self) -> String {
        format!("role {GROUP_ROLE} in PostgreSQL")
    }

    fn check(&self, host: &Host) -> Result<Check> {
        Ok(if host.role(GROUP_ROLE)?.is_some() { Check::InPlace } else { Check::absent() })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        host.sql(
            &format!("make the role `{GROUP_ROLE}`"),
            &format!("CREATE ROLE {GROUP_ROLE} NOLOGIN"),
        )
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        let sql = format!("DROP ROLE IF EXISTS {GROUP_ROLE}");
        host.sql(&format!("remove the role `{GROUP_ROLE}`"), &sql)
    }
}
