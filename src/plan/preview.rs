//! What a plan would change, for a person or a program to read. Nothing is touched.

use serde::Serialize;
use similar::{
    algorithms::{Capture, Compact, Replace, myers},
    udiff::UnifiedHunkHeader,
};

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

/// A unified diff by the one algorithm that it takes: `similar::TextDiff` carries each of its six
/// into the program, for every kind of text.
fn unified(is: &str, wanted: &str) -> Option<String> {
    if is == wanted {
        return None;
    }
    let (old, new) = (lines(is), lines(wanted));
    let mut found = Compact::new(Replace::new(Capture::new()), &*old, &*new);
    let Ok(()) = myers::diff(&mut found, &*old, 0..old.len(), &*new, 0..new.len());
    let mut text = String::new();
    for hunk in found.into_inner().into_inner().into_grouped_ops(2) {
        text += &format!("{}\n", UnifiedHunkHeader::new(&hunk));
        for (tag, lines) in hunk.iter().flat_map(|op| op.iter_slices(&*old, &*new)) {
            for line in lines {
                text += &format!("{tag}{line}");
                if !line.ends_with('\n') {
                    text += "\n\\ No newline at end of file\n";
                }
            }
        }
    }
    Some(text)
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use similar::TextDiff;

    use super::*;

    proptest! {
        #[test]
        fn a_diff_is_what_the_crate_makes_of_it(
            is in "([a-d]{0,2}\n){0,12}[a-d]{0,2}",
            wanted in "([a-d]{0,2}\n){0,12}[a-d]{0,2}",
        ) {
            let by_crate = TextDiff::from_lines(&is, &wanted).unified_diff().context_radius(2).to_string();
            prop_assert_eq!(unified(&is, &wanted).unwrap_or_default(), by_crate);
        }
    }
}
