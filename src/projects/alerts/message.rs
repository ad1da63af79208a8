//! What is said, as each kind of channel takes it.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::ChannelKind;
use crate::registry::Alert;

/// So many are told by name; the rest is counted.
const MOST: usize = 15;

#[derive(Serialize)]
struct One<'a> {
    key: &'a str,
    state: &'static str,
    text: &'a str,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    over_at: Option<Timestamp>,
}

/// All the news for a channel, in one message: its type, and the message.
pub fn message(kind: ChannelKind, server: &str, news: &[&Alert]) -> (&'static str, String) {
    const JSON: &str = "application/json";
    let text = text(server, news);
    match kind {
        ChannelKind::Slack => {
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            (JSON, json!({ "text": text }).to_string())
        }
        ChannelKind::Discord => {
            // It takes no more, and must wake nobody by a name that happens to stand there.
            let text: String = text.chars().take(1900).collect();
            (JSON, json!({ "content": text, "allowed_mentions": { "parse": [] } }).to_string())
        }
        ChannelKind::Ntfy => ("text/plain; charset=utf-8", text),
        ChannelKind::Webhook => {
            let alerts: Vec<One<'_>> = news.iter().map(|alert| One::of(alert)).collect();
            let whole = json!({
                "hostkit": env!("CARGO_PKG_VERSION"),
                "server": server,
                "text": text,
                "alerts": alerts,
            });
            (JSON, whole.to_string())
        }
    }
}

impl<'a> One<'a> {
    fn of(alert: &'a Alert) -> Self {
        let Alert { key, text, since, over_at, .. } = alert;
        let state = if over_at.is_some() { "over" } else { "problem" };
        Self { key, state, text, since: *since, over_at: *over_at }
    }
}

fn text(server: &str, news: &[&Alert]) -> String {
    if news.is_empty() {
        return format!("{server}: this is a test by `hostkit alert test`, and all that it says");
    }
    let mut lines: Vec<String> = news.iter().take(MOST).map(|alert| line(alert)).collect();
    if news.len() > MOST {
        lines.push(format!("… and {} more: `hostkit alert list`", news.len() - MOST));
    }
    match &lines[..] {
        [one] => format!("{server}: {one}"),
        many => format!("{server}:\n{}", many.join("\n")),
    }
}

fn line(alert: &Alert) -> String {
    let Alert { key, text, since, over_at, .. } = alert;
    let text = text.lines().next().unwrap_or_default();
    match over_at {
        None => format!("✗ {key}: {text} (since {})", since.strftime("%-d %b %H:%M UTC")),
        Some(at) => {
            let minutes = (at.duration_since(*since).as_secs() + 59) / 60;
            format!("✓ {key}: well again after {minutes} min")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(key: &str, text: &str, is_over: bool) -> Alert {
        let at = |minute: i64| Timestamp::from_second(1_800_000_000 + minute * 60).unwrap();
        Alert {
            key: key.into(),
            text: text.into(),
            since: at(0),
            over_at: is_over.then(|| at(12)),
            told: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn each_kind_says_it_in_its_own_way() {
        let (down, over) = (
            alert("shop: web", "failing <!channel> & @everyone", false),
            alert("nginx", "x", true),
        );
        let say = |kind, news: &[&Alert]| message(kind, "vps1", news).1;
        assert_eq!(
            say(ChannelKind::Ntfy, &[&down, &over]),
            "vps1:\n✗ shop: web: failing <!channel> & @everyone (since 15 Jan 08:00 UTC)\n✓ nginx: well again after 12 min"
        );
        let slack = say(ChannelKind::Slack, &[&down]);
        assert!(slack.contains("&lt;!channel&gt; &amp; @everyone"), "{slack}");
        let discord: serde_json::Value =
            serde_json::from_str(&say(ChannelKind::Discord, &[&down])).unwrap();
        assert_eq!(discord["allowed_mentions"]["parse"], json!([]));
        let own: serde_json::Value =
            serde_json::from_str(&say(ChannelKind::Webhook, &[&down, &over])).unwrap();
        assert_eq!(
            (&own["alerts"][0]["state"], &own["alerts"][1]["state"]),
            (&json!("problem"), &json!("over"))
        );
        assert_eq!(own["server"], "vps1");
        assert!(say(ChannelKind::Slack, &[]).contains("test"));
    }

    #[test]
    fn a_storm_is_one_message() {
        let many: Vec<Alert> =
            (0..40).map(|n| alert(&format!("p{n}: web"), &"x".repeat(300), false)).collect();
        let all: Vec<&Alert> = many.iter().collect();
        let (_, text) = message(ChannelKind::Ntfy, "vps1", &all);
        assert!(
            text.lines().count() == 17 && text.ends_with("… and 25 more: `hostkit alert list`")
        );
        let (_, discord) = message(ChannelKind::Discord, "vps1", &all);
        assert!(discord.chars().count() < 2100);
    }
}
