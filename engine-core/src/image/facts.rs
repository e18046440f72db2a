//! What the events of images say: one call for each thing that happened, when it has.

use super::config::ImageConfig;
use super::driver::ImageRecord;
use crate::event::{EventKind, SystemEvent};
use crate::parts::Parts;
use crate::reference::Reference;

/// Tells that `action` happened to the image.
pub(super) fn tell(parts: &Parts, image: &ImageRecord, action: &str) {
    let id = image.id.to_string();
    parts.tell(&event(image, action, &id).with("name", id.as_str()));
}

/// Tells that the image has got another name.
pub(super) fn tell_tag(parts: &Parts, image: &ImageRecord, tag: &Reference) {
    parts.tell(&event(image, "tag", image.id.as_str()).with("name", tag.familiar()));
}

/// Tells that the image was fetched. Docker tells it of the name.
pub(super) fn tell_pull(parts: &Parts, image: &ImageRecord, asked: &Reference) {
    parts.tell(&event(image, "pull", &asked.familiar()).with("name", asked.familiar_name()));
}

fn event(image: &ImageRecord, action: &str, id: &str) -> SystemEvent {
    let mut event = SystemEvent::now(EventKind::Image, action, id);
    let config = ImageConfig::parse(image.config.as_bytes());
    event.attributes = config.map(|config| config.config.labels).unwrap_or_default();
    event
}
