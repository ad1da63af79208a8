//! What a plan would change, for a person or a program to read. Nothing is touched.

use serde::Serialize;
use similar::TextDiff;

use super::Plan;
use crate::{
    error::Result,
    steps::{AnyStep, Before, Step},
    sys::Host,
};

/// One thing that is not as the plan wants it.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub sign: Sign,
    /// The part of the plan that it belongs to.
    pub part: String,
    pub what: String,
    /// Why it is not in place: "missing", "mode 0755 (should be 0750)".
    pub differs: String,
    /// A unified diff, where it is a text. Secrets are masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    Change,
    Create,
    Remove,
}

/// Everything that applying the plan would change, in its order.
pub fn differences(plan: &Plan, host: &Host) -> Result<Vec<Difference>> {
    let pending = plan.look(host)?;
    let mut differences = Vec::new();
    for p in &pending {
        let planned = &plan.steps[p.index];
        let sign = match (&planned.step, &p.before) {
            (AnyStep::Gone(_) | AnyStep::NoAlias(_), _) => Sign::Remove,
            (_, Before::Absent) => Sign::Create,
            _ => Sign::Change,
        };
        let diff = planned.step.diff(host)?.and_then(|(is, wanted)| unified(&is, &wanted));
        differences.push(Difference {
            sign,
            part: plan.parts.get(planned.part).map(|part| part.title.clone()).unwrap_or_default(),
            what: planned.step.title(),
            differs: p.differs.clone(),
            diff,
        });
    }
    Ok(differences)
}

fn unified(is: &str, wanted: &str) -> Option<String> {
    if is == wanted {
        return None;
    }
    let diff = TextDiff::from_lines(is, wanted);
    let text = diff.unified_diff().context_radius(2).to_string();
    Some(text)
}
