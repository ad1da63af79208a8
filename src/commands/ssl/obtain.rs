//! From the wish to a certificate in its place.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::{
    domains::{Sorted, Waiting, sort},
    files,
};
use crate::{
    commands::{Context, facts},
    error::{Error, Kind, Result},
    names::{Domain, ProjectName},
    projects,
    registry::{Change, Issued, NewOperation, Project, Tls, TlsSource, TlsState, TlsTrouble, Way},
    sys::{
        acme::{self, Account, Authority, Trouble, Why},
        certificate::Bundle,
    },
};

/// After a failure an hour, then two, and never more than a day unless the authority says so.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// No authority is left alone for longer than that.
const LONGEST_WISH: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Where a certificate is from that we asked for.
const ORIGIN: &str = "acme";

/// Writes down the wish, and lets the site answer challenges: all of it, or nothing.
pub(super) fn wish(cx: &mut Context, after: &Project, verb: &str) -> Result<()> {
    let project = facts::of_site(&cx.host, after)?;
    write(cx, after, &project, verb)
}

fn write(cx: &mut Context, after: &Project, facts: &projects::Facts, verb: &str) -> Result<()> {
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(&after.name), verb, actor: &actor, way: Way::Undo };
    let change = Change::Tls(Box::new(after.clone()));
    cx.carry_out(&new, None, |cx, _| {
        let plan = projects::tls_plan(after, facts, &cx.config, &cx.templates()?)?;
        Ok((plan, vec![change]))
    })
    .map(|_| ())
}

/// What an attempt came to, besides what the registry says by now.
pub(super) struct Obtained {
    pub(super) waiting: Vec<Waiting>,
    /// Whether there is a certificate that was not there before.
    pub(super) is_new: bool,
}

/// Asks the authority for a certificate for all domains that lead here, if there is a reason to.
/// The caller holds the account's lock, and no project's.
pub(super) fn obtain(
    cx: &mut Context,
    name: &ProjectName,
    account: &Account,
    verb: &str,
    force: bool,
) -> Result<Obtained> {
    let project = cx.registry()?.living_project(name)?;
    let tls = project.tls.clone().ok_or_else(|| without(name))?;
    let domains = projects::domains(&project, &cx.config)?;
    let mut sorted = sort(&domains, &account.thumbprint())?;
    let bundle = files::held(&cx.host, name);
    let is_others = bundle.as_ref().is_some_and(|bundle| bundle.origin() != Some(ORIGIN));
    let held = bundle.map(|bundle| files::issued(&bundle.certificate));
    if sorted.ready.is_empty() || held.as_ref().is_some_and(|held| is_early(held, &sorted)) {
        note_waiting(cx, &project, &sorted.waiting, held)?;
        return Ok(Obtained { waiting: sorted.waiting, is_new: false });
    }
    let lacks = |held: &Issued| sorted.ready.iter().any(|d| !projects::covers(&held.names, d));
    let is_wanted = held.as_ref().is_none_or(|held| is_due(held) || lacks(held));
    if !(is_wanted || is_others || force) {
        note_waiting(cx, &project, &sorted.waiting, held)?;
        return Ok(Obtained { waiting: sorted.waiting, is_new: false });
    }
    let good = held.as_ref().filter(|held| !(is_due(held) || is_others || force));
    let mut refused = Vec::new();
    let bundle = match order(cx, account, &mut sorted.ready, &mut refused, good) {
        Ok(bundle) => bundle,
        Err(trouble) => {
            note_trouble(cx, &project, &trouble, held, verb)?;
            return Ok(Obtained { waiting: sorted.waiting, is_new: false });
        }
    };
    sorted.waiting.extend(refused.iter().filter_map(|trouble: &Trouble| {
        Some(Waiting { domain: trouble.domain.clone()?, why: trouble.said.clone() })
    }));
    let failures = tls.trouble.map_or(0, |trouble| trouble.failures);
    let trouble = match refused.first() {
        Some(first) => Some(failed(first, failures, &sorted.waiting)),
        None => pending(&sorted.waiting),
    };
    let Some(bundle) = bundle else {
        note(cx, &project, |tls| (tls.trouble, tls.issued) = (trouble, held))?;
        return Ok(Obtained { waiting: sorted.waiting, is_new: false });
    };
    let is_new = install_again(cx, &project, &bundle, TlsSource::Acme, trouble, verb)
        .inspect_err(|error| remember(cx, &project, error, held, verb))?;
    Ok(Obtained { waiting: sorted.waiting, is_new })
}

/// The authority granted one that could not be put in its place: it is not asked for another at once.
fn remember(cx: &mut Context, project: &Project, error: &Error, held: Option<Issued>, verb: &str) {
    if matches!(error.kind, Kind::Interrupted(_)) {
        return;
    }
    let trouble = Trouble::new(Why::Refused, error.to_string());
    if let Err(more) = note_trouble(cx, project, &trouble, held, verb) {
        cx.ui.note(format!("and: {more}"));
    }
}

/// One order, and another without a domain that the authority refuses: the others are not its
/// hostages. None where what is left has a good certificate already.
fn order(
    cx: &Context,
    account: &Account,
    ready: &mut Vec<Domain>,
    refused: &mut Vec<Trouble>,
    good: Option<&Issued>,
) -> Result<Option<Bundle>, Trouble> {
    let ssl = &cx.config.ssl;
    let trust = match ssl.ca_file.as_str() {
        "" => None,
        path => Some(cx.host.read(Path::new(path))?.ok_or_else(|| {
            Error::missing("no_file", format!("there is no `{path}` (`ssl.ca_file`)"))
        })?),
    };
    let authority = Authority { directory: &ssl.directory, trust, email: &ssl.email, account };
    loop {
        match acme::order(&authority, ready) {
            Ok(granted) => {
                let bundle = Bundle::read(granted.key.expose().as_bytes(), &granted.chain)?;
                return Ok(Some(bundle.marked(ORIGIN)));
            }
            Err(trouble) => {
                let at = ready.iter().position(|d| Some(d) == trouble.domain.as_ref());
                match at {
                    Some(at) if ready.len() > 1 && trouble.kind == Why::Refused => {
                        ready.remove(at);
                        refused.push(trouble);
                        let is_held =
                            |good: &Issued| ready.iter().all(|d| projects::covers(&good.names, d));
                        if good.is_some_and(is_held) {
                            return Ok(None);
                        }
                    }
                    _ => return Err(trouble),
                }
            }
        }
    }
}

/// Puts a certificate in its place: with the site that names it, or neither.
pub(super) fn install(
    cx: &mut Context,
    name: &ProjectName,
    bundle: &Bundle,
    source: TlsSource,
    trouble: Option<TlsTrouble>,
    verb: &str,
) -> Result<()> {
    let _held = cx.take_project(name, verb)?;
    let project = cx.registry()?.living_project(name)?;
    put(cx, project, bundle, source, trouble, verb)
}

/// As [`install`], for a project that was looked at a while ago: nothing is done, and that is told,
/// where it is another by now or wants none any more.
pub(super) fn install_again(
    cx: &mut Context,
    was: &Project,
    bundle: &Bundle,
    source: TlsSource,
    trouble: Option<TlsTrouble>,
    verb: &str,
) -> Result<bool> {
    let _held = cx.take_project(&was.name, verb)?;
    let Some(project) = still(cx, was)? else { return Ok(false) };
    put(cx, project, bundle, source, trouble, verb).map(|()| true)
}

/// The project as it is now, unless it is another or wants no certificate any more. The caller
/// holds it.
fn still(cx: &mut Context, was: &Project) -> Result<Option<Project>> {
    let now = cx.registry()?.find_project(&was.name)?;
    Ok(now.filter(|now| now.uid == was.uid && !now.deleting && now.tls.is_some()))
}

fn put(
    cx: &mut Context,
    project: Project,
    bundle: &Bundle,
    source: TlsSource,
    trouble: Option<TlsTrouble>,
    verb: &str,
) -> Result<()> {
    // Domains may have changed hands since somebody looked.
    let domains = projects::domains(&project, &cx.config)?;
    let names = &bundle.certificate.names;
    if !domains.iter().any(|domain| projects::covers(names, domain)) {
        let name = &project.name;
        return Err(Error::usage("wrong_names", format!("this certificate is not {name}'s"))
            .caused_by(format!("it holds for {}", names.join(", ")))
            .hint(format!("`hostkit project info {name}` shows the project's domains")));
    }
    let before = project.tls.clone();
    let mut after = project;
    after.tls = Some(Tls {
        hsts: before.is_some_and(|tls| tls.hsts),
        issued: Some(files::issued(&bundle.certificate)),
        trouble,
        ..Tls::wanted(source)
    });
    let mut facts = facts::of_site(&cx.host, &after)?;
    facts.tls.held = Some(files::shown(bundle));
    files::make_place(cx)?;
    facts.tls.has_http2 = cx.host.nginx_version()? >= [1, 25, 1];
    write(cx, &after, &facts, verb)
}

/// Whether a certificate has lived two thirds of its life, or is not of this time.
pub(super) fn is_due(held: &Issued) -> bool {
    let (now, life) = (Timestamp::now(), held.until.duration_since(held.at));
    held.until.duration_since(now) < life / 3
}

/// Whether a renewal can wait for a domain that has left for a while.
fn is_early(held: &Issued, sorted: &Sorted) -> bool {
    let (now, life) = (Timestamp::now(), held.until.duration_since(held.at));
    sorted.loses(&held.names) && held.until.duration_since(now) > life / 6
}

fn told(waiting: &[Waiting]) -> String {
    let each = waiting.iter().map(|Waiting { domain, why }| format!("{domain}: {why}"));
    each.collect::<Vec<_>>().join("; ")
}

fn pending(waiting: &[Waiting]) -> Option<TlsTrouble> {
    (!waiting.is_empty()).then(|| TlsTrouble {
        kind: TlsState::Pending,
        why: told(waiting),
        failures: 0,
        next: Timestamp::now(),
    })
}

/// When to ask again after so many failures.
fn failed(trouble: &Trouble, failures: u32, waiting: &[Waiting]) -> TlsTrouble {
    let doubled = FIRST_PAUSE * 2_i32.saturating_pow(failures.min(10));
    let wish = trouble.pause.map(|pause| SignedDuration::try_from(pause).unwrap_or(LONGEST_WISH));
    let pause = doubled.min(LONGEST_PAUSE).max(wish.unwrap_or_default().min(LONGEST_WISH));
    let kind = if trouble.kind == Why::Unreachable { TlsState::Pending } else { TlsState::Failed };
    let why = if waiting.is_empty() { trouble.said.clone() } else { told(waiting) };
    let next = Timestamp::now().checked_add(pause).unwrap_or(Timestamp::MAX);
    TlsTrouble { kind, why, failures: failures.saturating_add(1), next }
}

fn note_waiting(
    cx: &mut Context,
    project: &Project,
    waiting: &[Waiting],
    held: Option<Issued>,
) -> Result<()> {
    note(cx, project, |tls| {
        tls.trouble = pending(waiting);
        tls.issued = held;
    })
    .map(|_| ())
}

fn note_trouble(
    cx: &mut Context,
    project: &Project,
    trouble: &Trouble,
    held: Option<Issued>,
    verb: &str,
) -> Result<()> {
    let why = match &trouble.domain {
        Some(domain) => format!("{domain}: {}", trouble.said),
        None => trouble.said.clone(),
    };
    let who = match trouble.kind {
        Why::Unreachable => format!("`{}` does not answer: {why}", cx.config.ssl.directory),
        Why::Limited | Why::Refused => why,
    };
    let is_there = note(cx, project, |tls| {
        let failures = tls.trouble.as_ref().map_or(0, |trouble| trouble.failures);
        tls.trouble = Some(TlsTrouble { why: who.clone(), ..failed(trouble, failures, &[]) });
        tls.issued = held;
    })?;
    if !is_there {
        return Ok(());
    }
    // It stands in the registry, and is told by whoever asked.
    let _ = cx.record(Some(&project.name), verb, Err(Error::failed(who)));
    Ok(())
}

/// Writes down what became of an attempt that changed nothing on the host; says whether there is
/// still somebody whose it is.
fn note(cx: &mut Context, was: &Project, change: impl FnOnce(&mut Tls)) -> Result<bool> {
    let _held = cx.take_project(&was.name, "ssl renew")?;
    let Some(mut project) = still(cx, was)? else { return Ok(false) };
    let Some(tls) = project.tls.as_mut() else { return Ok(false) };
    let before = tls.clone();
    change(tls);
    if *tls == before {
        return Ok(true);
    }
    cx.registry()?.note_tls(&project)?;
    Ok(true)
}

/// For a project that asked for no certificate.
pub(super) fn without(name: &ProjectName) -> Error {
    Error::missing("no_certificate", format!("{name} is not set up for HTTPS"))
        .hint(format!("set it up: `hostkit ssl enable {name}`"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn trouble(kind: Why, pause: Option<u64>) -> Trouble {
        let pause = pause.map(Duration::from_secs);
        Trouble { kind, domain: None, said: "no".into(), pause }
    }

    fn hours(trouble: &TlsTrouble) -> i64 {
        let pause = trouble.next.duration_since(Timestamp::now());
        (pause.as_secs() + 1800) / 3600
    }

    #[test]
    fn each_failure_waits_longer_and_no_wish_of_an_authority_is_ignored() {
        for (failures, wish, wanted) in [
            (0, None, 1),
            (1, None, 2),
            (3, None, 8),
            (9, None, 24),
            (u32::MAX, None, 24),
            (0, Some(36 * 3600), 36),
            (0, Some(10), 1),
            (0, Some(u64::MAX), 168),
        ] {
            let told = failed(&trouble(Why::Limited, wish), failures, &[]);
            assert_eq!(
                (told.kind, hours(&told)),
                (TlsState::Failed, wanted),
                "{failures} {wish:?}"
            );
        }
        assert_eq!(failed(&trouble(Why::Unreachable, None), 0, &[]).kind, TlsState::Pending);
    }

    #[test]
    fn a_certificate_is_due_when_a_third_of_its_life_is_left() {
        let now = Timestamp::now();
        let at = |days: i64| now.checked_add(SignedDuration::from_hours(24 * days)).unwrap();
        let of = |from, until| Issued {
            names: vec!["a.test".into()],
            issuer: "x".into(),
            at: at(from),
            until: at(until),
        };
        assert!(!is_due(&of(-50, 40)));
        assert!(is_due(&of(-61, 29)));
        assert!(is_due(&of(-100, -10)));
        let waiting = Waiting { domain: "a.test".parse().unwrap(), why: "x".into() };
        let sorted = Sorted { ready: Vec::new(), waiting: vec![waiting] };
        assert!(is_early(&of(-61, 29), &sorted));
        assert!(!is_early(&of(-80, 10), &sorted));
        let others = Sorted { waiting: Vec::new(), ..sorted };
        assert!(!is_early(&of(-61, 29), &others));
    }
}
