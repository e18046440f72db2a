//! What happened to the things of a store: docker's events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::spec::{Filter, Timestamp};

/// What kind of thing something happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EventKind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// The engine itself.
    Daemon,
}

impl EventKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Container => "container",
            EventKind::Image => "image",
            EventKind::Network => "network",
            EventKind::Volume => "volume",
            EventKind::Daemon => "daemon",
        }
    }
}

/// Something happened. Serialises as a message of Docker's event stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Message", into = "Message")]
#[non_exhaustive]
pub struct SystemEvent {
    /// What kind of thing it happened to.
    pub kind: EventKind,
    /// What happened: `create`, `die`, `exec_start: sh`, `health_status: healthy`.
    pub action: String,
    /// The thing: the identifier of a container or network, the name of a volume, the name or identifier of an image.
    pub id: String,
    /// What the thing was at that moment: its labels, its `name`, its `image`, and what belongs to the action.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

impl SystemEvent {
    /// Something that happens now.
    pub(crate) fn now(kind: EventKind, action: impl Into<String>, id: impl Into<String>) -> SystemEvent {
        let (action, id, time) = (action.into(), id.into(), Timestamp::now());
        SystemEvent { kind, action, id, attributes: BTreeMap::new(), time }
    }

    /// Adds an attribute.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: impl Into<String>) -> SystemEvent {
        self.attributes.insert(key.to_owned(), value.into());
        self
    }
}

/// A message of Docker's event stream.
#[derive(Serialize, Deserialize)]
struct Message {
    // What clients of the first versions read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(rename = "Type")]
    kind: EventKind,
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    time: i64,
    #[serde(rename = "timeNano")]
    nanos: i64,
}

#[derive(Serialize, Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes", default)]
    attributes: BTreeMap<String, String>,
}

impl From<SystemEvent> for Message {
    fn from(event: SystemEvent) -> Message {
        let old = matches!(event.kind, EventKind::Container | EventKind::Image);
        let from = event.attributes.get("image").filter(|_| event.kind == EventKind::Container).cloned();
        Message {
            status: old.then(|| event.action.clone()),
            id: old.then(|| event.id.clone()),
            from,
            kind: event.kind,
            action: event.action,
            actor: Actor { id: event.id, attributes: event.attributes },
            scope: "local".to_owned(),
            time: event.time.seconds(),
            nanos: event.time.nanos(),
        }
    }
}

impl From<Message> for SystemEvent {
    fn from(message: Message) -> SystemEvent {
        SystemEvent {
            kind: message.kind,
            action: message.action,
            id: message.actor.id,
            attributes: message.actor.attributes,
            time: Timestamp::from_nanos(message.nanos),
        }
    }
}

/// The keys by which events can be chosen.
const KEYS: [&str; 9] =
    ["container", "daemon", "event", "image", "label", "network", "scope", "type", "volume"];

/// Refuses a filter that events do not have.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput).
pub(crate) fn check(filter: &Filter) -> Result<()> {
    filter.allow(&KEYS).map_err(|e| Error::invalid(e.subject(), "events have no such filter").caused_by(e))
}

/// Whether docker's filters choose the event: one value of each key has to fit, and every label.
pub(crate) fn selects(filter: &Filter, event: &SystemEvent) -> bool {
    let exact = |key: &str, found: &str| filter.any(key, |wanted| wanted == found);
    // By name or identifier, and as in docker by the beginning of one. A thing of another kind is not meant.
    let thing = |kind: EventKind| {
        let name = event.attributes.get("name").map(String::as_str).unwrap_or_default();
        filter.values(kind.as_str()).is_none()
            || event.kind == kind
                && filter.any(kind.as_str(), |wanted| {
                    event.id.starts_with(wanted.as_str()) || name.starts_with(wanted.as_str())
                })
    };
    exact("type", event.kind.as_str())
        && exact("scope", "local")
        && action(filter, &event.action)
        && [EventKind::Container, EventKind::Daemon, EventKind::Network, EventKind::Volume]
            .into_iter()
            .all(thing)
        && image(filter, event)
        && filter.labels(&event.attributes)
}

/// An action, by the word; those that go on after a colon also by its beginning.
fn action(filter: &Filter, action: &str) -> bool {
    filter.any("event", |wanted| {
        wanted == action || action.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with(':'))
    })
}

/// An image, or a container that was made from it; with its tag or without.
fn image(filter: &Filter, event: &SystemEvent) -> bool {
    let attribute = if event.kind == EventKind::Image { "name" } else { "image" };
    let name = event.attributes.get(attribute).map(String::as_str).unwrap_or_default();
    filter.any("image", |wanted| {
        [event.id.as_str(), name].into_iter().any(|found| wanted == found || wanted == untagged(found))
    })
}

/// A reference without its tag. The colon of a registry's port has a slash after it.
fn untagged(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, action: &str, id: &str, attributes: &[(&str, &str)]) -> SystemEvent {
        attributes
            .iter()
            .fold(SystemEvent::now(kind, action, id), |event, (key, value)| event.with(key, *value))
    }

    fn filter(conditions: &[&str]) -> Filter {
        let mut filter = Filter::new();
        conditions.iter().for_each(|text| filter.add_text(text).expect("well formed"));
        filter
    }

    #[test]
    fn a_message_is_docker_s_and_survives_its_own_text() {
        let mut event = event(EventKind::Container, "start", "abc", &[("image", "busybox"), ("name", "web")]);
        event.time = Timestamp::from_nanos(1_700_000_000_000_000_007);
        let text = serde_json::to_string(&event).expect("serialises");
        assert_eq!(
            text,
            "{\"status\":\"start\",\"id\":\"abc\",\"from\":\"busybox\",\"Type\":\"container\",\"Action\":\"start\",\
             \"Actor\":{\"ID\":\"abc\",\"Attributes\":{\"image\":\"busybox\",\"name\":\"web\"}},\"scope\":\"local\",\
             \"time\":1700000000,\"timeNano\":1700000000000000007}"
        );
        assert_eq!(serde_json::from_str::<SystemEvent>(&text).expect("its own"), event);
        let volume = SystemEvent::now(EventKind::Volume, "create", "data");
        assert!(!serde_json::to_string(&volume).expect("serialises").contains("status"));
    }

    #[test]
    fn filters_choose_as_docker_s_do() {
        let start = event(
            EventKind::Container,
            "start",
            "abcdef",
            &[("image", "host:5000/box:1"), ("name", "web"), ("tier", "front")],
        );
        let exec = event(EventKind::Container, "exec_start: sh -c x", "abcdef", &[("name", "web")]);
        let connect =
            event(EventKind::Network, "connect", "n1", &[("name", "bridge"), ("container", "abcdef")]);
        for (conditions, chosen) in [
            (&[][..], [true, true, true]),
            (&["type=container"], [true, true, false]),
            (&["type=container", "type=network"], [true, true, true]),
            (&["event=start"], [true, false, false]),
            (&["event=exec_start"], [false, true, false]),
            (&["container=web"], [true, true, false]),
            (&["container=abc"], [true, true, false]),
            (&["network=bridge"], [false, false, true]),
            (&["image=host:5000/box"], [true, false, false]),
            (&["image=host:5000/box:1"], [true, false, false]),
            (&["label=tier=front"], [true, false, false]),
            (&["label=tier", "label=other"], [false, false, false]),
            (&["container=web", "event=connect"], [false, false, false]),
            (&["scope=swarm"], [false, false, false]),
            (&["volume=x"], [false, false, false]),
        ] {
            let filter = filter(conditions);
            assert!(check(&filter).is_ok());
            assert_eq!(
                [&start, &exec, &connect].map(|event| selects(&filter, event)),
                chosen,
                "{conditions:?}"
            );
        }
        assert!(check(&filter(&["colour=red"])).is_err());
    }
}
