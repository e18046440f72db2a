//! Filters of lists: `key=value` pairs, as docker's `--filter` takes them.

use std::collections::BTreeMap;

use super::Timestamp;
use crate::error::{Error, Result};

/// The conditions of a list. Values of one key are alternatives, keys must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(BTreeMap<String, Vec<String>>);

impl Filter {
    /// No condition.
    pub fn new() -> Filter {
        Filter::default()
    }

    /// Adds the condition that `key` has `value`.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().push(value.into());
    }

    /// Adds a condition written as `key=value`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when there is no `=`.
    pub fn add_text(&mut self, text: &str) -> Result<()> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                self.add(key.trim(), value.trim());
                Ok(())
            }
            _ => Err(Error::invalid(format!("filter {text:?}"), "must have the form key=value")),
        }
    }

    /// Refuses keys that the list does not know.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), naming the first unknown key and the known
    /// ones.
    pub fn allow(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Error::invalid(format!("filter {key:?}"), "this list has no such filter")
                .with_remedy(format!("use one of: {}", known.join(", ")))),
        }
    }

    /// The values asked for under `key`; `None` if the key is not restricted.
    pub fn values(&self, key: &str) -> Option<&[String]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// Whether `key` is unrestricted, or one of its values satisfies `test`.
    pub fn any(&self, key: &str, test: impl FnMut(&String) -> bool) -> bool {
        self.values(key).is_none_or(|values| values.iter().any(test))
    }

    /// The time that `until` gives: a point in time, or how long ago.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is neither.
    pub fn until(&self) -> Result<Option<Timestamp>> {
        match self.values("until").and_then(<[String]>::first) {
            None => Ok(None),
            Some(text) => Timestamp::from_words(text).map(Some),
        }
    }

    /// Whether the labels satisfy every `label=key` and `label=key=value` condition, and no `label!=…` one.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |condition: &String| match condition.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(condition),
        };
        self.values("label").unwrap_or_default().iter().all(holds)
            && !self.values("label!").unwrap_or_default().iter().any(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_alternatives_and_labels_must_all_hold() {
        let mut filter = Filter::new();
        for text in ["name=web", "name = db", "label=a", "label=b=1"] {
            filter.add_text(text).expect("well formed");
        }
        assert!(filter.any("name", |value| value == "db"));
        assert!(!filter.any("name", |value| value == "x"));
        assert!(filter.any("status", |_| false), "an absent key restricts nothing");
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        assert!(filter.labels(&labels(&[("a", ""), ("b", "1")])));
        assert!(!filter.labels(&labels(&[("a", ""), ("b", "2")])));
        let mut unlabelled = Filter::new();
        unlabelled.add_text("label!=keep").expect("well formed");
        assert!(unlabelled.labels(&labels(&[("a", "")])));
        assert!(!unlabelled.labels(&labels(&[("keep", "1")])));
        assert!(filter.allow(&["name", "label"]).is_ok());
        assert!(filter.allow(&["name"]).is_err());
        assert!(Filter::new().add_text("name").is_err());
    }
}
