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
    #[serde(skip)]
    pub password: Option<Secret>,
}

impl Role {
    fn differs(&self, is: &postgres::Role) -> Vec<String> {
        let mut differs: Vec<String> = is
            .attributes
            .split(' ')
            .filter(|word| !PLAIN.split(' ').any(|plain| plain == *word))
            .map(|word| format!("{} (should not be)", word.to_lowercase()))
            .collect();
        for group in is.groups.iter().filter(|group| *group != GROUP_ROLE) {
            differs.push(format!("member of {group} (should not be)"));
        }
        if !is.groups.iter().any(|group| group == GROUP_ROLE) {
            differs.push(format!("no member of {GROUP_ROLE}"));
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
    sql
}

impl Step for Role {
    fn title(&self) -> String {
        format!("role {} in PostgreSQL", self.name)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let Some(is) = host.role(&self.name)? else { return Ok(Check::absent()) };
        let differs = self.differs(&is);
        if differs.is_empty() {
            return Ok(Check::InPlace);
        }
        let kept = serde_json::to_vec(&is)
            .map_err(|e| Error::failed("could not keep a role").caused_by(e))?;
        Ok(Check::Missing { before: Before::Kept(Kept::new(kept)), differs: differs.join(", ") })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let is = host.role(&self.name)?;
        let verifier = match (&self.password, &is) {
            (Some(password), Some(is))
                if is.verifier.as_ref().is_some_and(|v| postgres::verifies(v, password)) =>
            {
                is.verifier.clone()
            }
            (Some(password), _) => Some(postgres::verifier(password)),
            (None, is) => is.as_ref().and_then(|is| is.verifier.clone()),
        };
        let wanted = postgres::Role {
            attributes: PLAIN.into(),
            connections: i32::try_from(self.connections).unwrap_or(i32::MAX),
            groups: vec![GROUP_ROLE.into()],
            comment: Some(self.comment.clone()),
            verifier,
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
        let groups = host.role(&self.name)?.map(|is| is.groups).unwrap_or_default();
        host.sql(&format!("put the role `{}` back", self.name), &shape(&self.name, &was, &groups))
    }

    fn remove(&self, host: &Host) -> Result<()> {
        host.strip_role(&self.name)?;
        let sql = format!("DROP ROLE IF EXISTS {}", identifier(&self.name));
        host.sql(&format!("remove the role `{}`", self.name), &sql)
    }

    fn revoke(&self, host: &Host) -> Result<()> {
        if host.role(&self.name)?.is_none() {
            return Ok(());
        }
        let sql = format!(
            "ALTER ROLE {} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {}",
            identifier(&self.name),
            literal(&self.name)
        );
        host.sql(&format!("end the logins of `{}`", self.name), &sql)
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
