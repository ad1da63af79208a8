//! The house as a browser sees it, with machines at home that come and go.

use std::collections::BTreeSet;

use super::house::{self, DOMAIN, House, PASSWORD, start_node};
use crate::vps::{Vps, browser::Browser};

struct Visit<'a> {
    house: &'a House,
    browser: Browser,
}

impl Visit<'_> {
    fn enter(&self, name: &str, code: &str, button: &str) {
        self.browser.fill("[name=username]", name);
        self.browser.fill("[name=password]", PASSWORD);
        self.browser.fill("[name=code]", code);
        self.browser.click(&format!("//button[normalize-space()='{button}']"));
    }

    fn leave(&self) {
        self.browser.click("[aria-label='Sign out']");
        self.browser.sees("h1", "Welcome back");
    }

    fn turn_to(&self, page: &str) {
        self.browser.click(&format!("nav a[href='/{page}']"));
    }

    /// Asks something in a new conversation, and reads while the answer is written. Returns how
    /// many parts of it were seen before it was whole.
    fn ask(&self, question: &str, answer: &str, by: &str) -> usize {
        let browser = &self.browser;
        self.turn_to("chat");
        browser.click("//button[normalize-space()='New']");
        browser.fill("textarea", question);
        browser.click("//button[normalize-space()='Send']");
        let mut parts = BTreeSet::new();
        self.house.vps.wait_until("the answer", |_| {
            let writing = browser.texts("[role=log] [data-writing] p");
            parts.extend(writing.into_iter().filter(|part| !part.ends_with('…')));
            let whole = browser.texts("[role=log] [data-role=assistant]:not([data-writing])");
            whole.iter().any(|text| text.contains(answer) && text.contains(by))
        });
        parts.len()
    }

    /// Waits until the panel shows a node so, without being touched.
    fn shows(&self, node: &str, status: &str) {
        let cells = format!(
            "return [...document.querySelectorAll('tr:has([data-status={status}]) th')].map((e) => e.innerText)"
        );
        self.house.vps.wait_until(&format!("{node} is {status}"), |_| {
            let names = self.browser.script(&cells);
            names.as_array().unwrap().iter().any(|name| name.as_str().unwrap().contains(node))
        });
    }
}

#[test]
fn a_browser_finds_all_of_it_and_answers_come_from_another_server() {
    let home = Vps::bare();
    house::push(&home);
    start_node(&home, "cellar", 11434, "--host 0.0.0.0 --pause 0.4");
    // Slower, so only the second choice.
    start_node(&home, "attic", 11435, "--host 0.0.0.0 --pause 0.1 --slow 0.7");
    let house =
        House::built("sed -i 's/^LOG_LEVEL.*/&\\nNODE_CHECK_SECONDS = \"3\"/' hostkit.toml");
    let _ = house.administrator("root1");
    let browser = Browser::open(DOMAIN, &house.vps.address());
    let visit = Visit { house: &house, browser };
    let Visit { browser, .. } = &visit;

    // Nobody comes in without the code.
    browser.go(&format!("http://{DOMAIN}/"));
    browser.click("//button[normalize-space()='Create one']");
    visit.enter("ann", "wrong", "Create account");
    browser.sees("[role=alert]", "The access code is wrong or missing");
    browser.picture("halext-1-sign-in");
    visit.enter("ann", &house.code, "Create account");
    browser.sees("h1", "Tasks");
    visit.leave();
    visit.enter("ann", &house.code, "Sign in");
    browser.sees("h1", "Tasks");
    assert!(browser.texts("nav a").iter().all(|page| !page.contains("Admin")));

    browser.fill("[name=title]", "water the plants");
    browser.click("//button[normalize-space()='Add']");
    browser.sees("li", "water the plants");
    // What lies deep is found, and nobody signs in twice.
    browser.go(&format!("http://{DOMAIN}/tasks"));
    browser.sees("li", "water the plants");
    browser.picture("halext-2-tasks");
    visit.leave();

    // The administrator adds the machines at home.
    visit.enter("root1", &house.code, "Sign in");
    visit.turn_to("admin");
    for (name, port) in [("cellar", "11434"), ("attic", "11435")] {
        browser.fill("[name=name]", name);
        browser.fill("[name=hostname]", &home.address());
        browser.fill("[name=port]", port);
        browser.click("//button[normalize-space()='Add node']");
        visit.shows(name, "online");
    }
    browser.picture("halext-3-nodes");

    let parts =
        visit.ask("who are you", "cellar with llama3 heard: who are you", "cellar · llama3");
    assert!(parts >= 3, "it is seen as it is written: {parts}");
    browser.picture("halext-4-chat");

    // One goes, and the next one answers; both go, and the mock does.
    visit.turn_to("admin");
    visit.shows("cellar", "online");
    home.sh("systemctl stop node-cellar").succeeds();
    visit.shows("cellar", "offline");
    visit.shows("attic", "online");
    browser.picture("halext-5-offline");
    visit.ask("and now", "attic with llama3 heard: and now", "attic · llama3");
    home.sh("systemctl stop node-attic").succeeds();
    visit.ask("who is there", "You said: who is there", "mock");
    visit.turn_to("admin");
    visit.shows("attic", "offline");
    browser.picture("halext-6-nobody");

    // Who is back is asked again.
    start_node(&home, "cellar", 11434, "--host 0.0.0.0");
    visit.shows("cellar", "online");
    visit.ask("hello again", "cellar with llama3 heard: hello again", "cellar · llama3");
    let log = house.vps.read("/var/log/nginx/hostkit-halext.access.log");
    let asked: Vec<&str> = log.lines().filter(|line| line.contains("Chrome/")).collect();
    assert!(asked.len() > 30, "{log}");
    let failed: Vec<_> = asked.iter().filter(|line| line.contains("\" 5")).collect();
    assert!(failed.is_empty(), "{failed:?}");
}
