//! A project's database in PostgreSQL, and databases that nobody else may enter.

use serde::{Deserialize, Serialize};

use super::{Before, Check, Kept, Step, restored};
use crate::{
    error::{Error, Result},
    sys::{
        Host,
        postgres::{self, identifier, literal},
    },
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Database {
    pub name: String,
    pub owner: String,
    pub comment: String,
}

impl Database {
    fn differs(&self, is: &postgres::Database) -> Vec<String> {
        let mut differs = Vec::new();
        if is.owner != self.owner {
            differs.push(format!("owner {} (should be {})", is.owner, self.owner));
        }
        for grant in &is.grants {
            let who = grant.to.as_deref().unwrap_or("everybody");
            differs.push(format!("{who} may {} (should not)", grant.privilege.to_lowercase()));
        }
        if !is.is_open {
            differs.push("closed to connections".into());
        }
        if is.comment.as_deref() != Some(self.comment.as_str()) {
            differs.push("comment".into());
        }
        differs
    }
}

impl Step for Database {
    fn title(&self) -> String {
        format!("database {}", self.name)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let Some(is) = host.database(&self.name)? else { return Ok(Check::absent()) };
        let differs = self.differs(&is);
        if differs.is_empty() {
            return Ok(Check::InPlace);
        }
        let kept = serde_json::to_vec(&is)
            .map_err(|e| Error::failed("could not keep a database").caused_by(e))?;
        Ok(Check::Missing { before: Before::Kept(Kept::new(kept)), differs: differs.join(", ") })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let Self { name, owner, comment } = self;
        let (database, role) = (identifier(name), identifier(owner));
        if host.database(name)?.is_none() {
            // Closed until PUBLIC has lost its right to connect: there is no moment when it had it.
            host.sql(
                &format!("make the database `{name}`"),
                &format!("CREATE DATABASE {database} OWNER {role} TEMPLATE template0 ENCODING 'UTF8' ALLOW_CONNECTIONS false"),
            )?;
        }
        let others = format!(
            "DO $$ DECLARE r text; BEGIN FOR r IN SELECT DISTINCT g.rolname FROM pg_database d, aclexplode(d.datacl) a \
             JOIN pg_roles g ON g.oid = a.grantee WHERE d.datname = {} AND a.grantee <> d.datdba \
             LOOP EXECUTE format('REVOKE ALL ON DATABASE %I FROM %I', {0}, r); END LOOP; END $$",
            literal(name)
        );
        host.sql(
            &format!("close the database `{name}` to others"),
            &format!(
                "ALTER DATABASE {database} OWNER TO {role}; REVOKE ALL ON DATABASE {database} FROM PUBLIC; {others}; \
                 COMMENT ON DATABASE {database} IS {}; ALTER DATABASE {database} ALLOW_CONNECTIONS true",
                literal(comment)
            ),
        )
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        let kept = match before {
            Before::Absent => return self.remove(host),
            Before::Kept(kept) => kept.bytes(host)?,
            other => return Err(other.foreign()),
        };
        let was: postgres::Database = serde_json::from_slice(&kept)
            .map_err(|e| Error::failed("could not read a kept database").caused_by(e))?;
        let database = identifier(&self.name);
        let mut sql = format!("ALTER DATABASE {database} OWNER TO {}", identifier(&was.owner));
        for grant in &was.grants {
            sql.push_str(&format!("; {}", grant.sql(&self.name)));
        }
        let comment = was.comment.as_deref().map_or("NULL".into(), literal);
        sql.push_str(&format!(
            "; COMMENT ON DATABASE {database} IS {comment}; ALTER DATABASE {database} ALLOW_CONNECTIONS {}",
            was.is_open
        ));
        host.sql(&format!("put the database `{}` back", self.name), &sql)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        restored::remove_beside(host, &self.name)?;
        host.drop_database(&self.name)
    }
}

/// A database of the server's own that PUBLIC may no longer connect to.
#[derive(Debug, Deserialize, Serialize)]
pub struct NotPublic {
    pub database: String,
}

impl Step for NotPublic {
    fn title(&self) -> String {
        format!("database {} closed to everybody", self.database)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let granted = host.public_privileges(&self.database)?;
        if granted.is_empty() {
            return Ok(Check::InPlace);
        }
        let differs = format!("everybody may {}", granted.join(", ").to_lowercase());
        Ok(Check::Missing { before: Before::Line(granted.join(", ")), differs })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let sql = format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", identifier(&self.database));
        host.sql(&format!("close the database `{}` to everybody", self.database), &sql)
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => Ok(()),
            Before::Line(granted) => host.sql(
                &format!("open the database `{}` again", self.database),
                &format!("GRANT {granted} ON DATABASE {} TO PUBLIC", identifier(&self.database)),
            ),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, _host: &Host) -> Result<()> {
        Ok(())
    }
}
