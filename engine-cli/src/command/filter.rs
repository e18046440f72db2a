//! The conditions of `--filter`, as the engine takes them.

use engine_core::spec::Filter;

use crate::args::container::Condition;

/// All the conditions that were given.
pub(super) fn filter(conditions: Vec<Condition>) -> Filter {
    let mut filter = Filter::new();
    conditions.into_iter().for_each(|(key, value)| filter.add(key, value));
    filter
}
