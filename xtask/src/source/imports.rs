//! What a module refers to: its `use` items, and the paths in its code.

use std::collections::BTreeMap;
use std::ops::Range;

use super::words::Word;

/// Something that a module refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) line: usize,
    pub(crate) target: Target,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// In the same crate, from its root on.
    Inside(Vec<String>),
    /// In another crate, whose name comes first.
    Outside(Vec<String>),
}

/// What the module at `module`, whose words are these, refers to.
pub(crate) fn imports(words: &[Word<'_>], module: &[String]) -> Vec<Import> {
    let mut reader = Reader {
        words,
        at: 0,
        module: module.to_vec(),
        names: BTreeMap::new(),
        uses: Vec::new(),
        inner: Vec::new(),
        found: Vec::new(),
    };
    reader.children();
    reader.uses();
    reader.paths();
    reader.found.sort();
    reader.found.dedup();
    reader.found
}

struct Reader<'a> {
    words: &'a [Word<'a>],
    at: usize,
    module: Vec<String>,
    /// What names at the beginning of a path mean here.
    names: BTreeMap<&'a str, Target>,
    /// The words of the `use` items.
    uses: Vec<Range<usize>>,
    /// The modules that are written within this one: their words and names.
    inner: Vec<(Range<usize>, &'a str)>,
    found: Vec<Import>,
}

impl<'a> Reader<'a> {
    fn text(&self, at: usize) -> &'a str {
        self.words.get(at).map_or("", |word| word.text)
    }

    /// The modules below this one, which paths begin with without more ado.
    fn children(&mut self) {
        for at in 0..self.words.len() {
            if self.text(at) == "mod" && matches!(self.text(at + 2), ";" | "{") {
                let name = self.text(at + 1);
                let mut path = self.module.clone();
                path.push(name.to_owned());
                self.names.insert(name, Target::Inside(path));
                if self.text(at + 2) == "{" {
                    self.inner.push((at + 2..self.end(at + 2), name));
                }
            }
        }
    }

    /// The index of the bracket that closes the one at `open`.
    fn end(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for (at, word) in self.words.iter().enumerate().skip(open) {
            match word.text {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.words.len()
    }

    /// The module that the word at `at` is in.
    fn module(&self, at: usize) -> Vec<String> {
        let inner = self.inner.iter().filter(|(words, _)| words.contains(&at));
        self.module.iter().cloned().chain(inner.map(|(_, name)| (*name).to_owned())).collect()
    }

    fn uses(&mut self) {
        self.at = 0;
        while self.at < self.words.len() {
            let begins =
                matches!(self.text(self.at.wrapping_sub(1)), "" | ";" | "}" | "{" | ")" | "pub" | "]");
            let is_use =
                self.text(self.at) == "use" && (self.at == 0 || begins) && self.text(self.at + 1) != "<";
            self.at += 1;
            if is_use {
                let begin = self.at;
                self.tree(Vec::new());
                self.uses.push(begin..self.at);
            }
        }
    }

    /// A tree of a `use` item that begins here, below `before`.
    fn tree(&mut self, before: Vec<&'a str>) {
        let mut path = before;
        loop {
            let Some(word) = self.words.get(self.at).copied() else { return };
            self.at += 1;
            match word.text {
                "::" => {}
                "{" => {
                    while !matches!(self.text(self.at), "}" | "") {
                        self.tree(path.clone());
                        if self.text(self.at) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "*" => return self.import(&path, word.line, None),
                _ if word.is_name() => {
                    path.push(word.text);
                    if self.text(self.at) == "as" {
                        let name = self.text(self.at + 1);
                        self.at += 2;
                        return self.import(&path, word.line, Some(name));
                    }
                    if self.text(self.at) != "::" {
                        return self.import(&path, word.line, path.last().copied());
                    }
                }
                _ => return,
            }
        }
    }

    /// Notes an import, and what name it gives.
    fn import(&mut self, path: &[&'a str], line: usize, name: Option<&'a str>) {
        let (path, name) = match path {
            // `use a::{self}` is `use a`.
            [before @ .., "self"] if !before.is_empty() => {
                (before, if name == Some("self") { before.last().copied() } else { name })
            }
            path => (path, name),
        };
        if let Some(target) = self.resolve(path, self.at.saturating_sub(1)) {
            if let Some(name) = name {
                self.names.insert(name, target.clone());
            }
            self.found.push(Import { line, target });
        }
    }

    /// What a path that ends before the word at `at` leads to.
    fn resolve(&self, path: &[&str], at: usize) -> Option<Target> {
        let (first, mut rest) = path.split_first()?;
        let mut base = match *first {
            "crate" => Vec::new(),
            "self" => self.module(at),
            "super" => {
                let mut base = self.module(at);
                base.pop();
                while let Some(("super", more)) = rest.split_first().map(|(name, more)| (*name, more)) {
                    base.pop();
                    rest = more;
                }
                base
            }
            name => match self.names.get(name) {
                Some(Target::Inside(base)) => base.clone(),
                Some(Target::Outside(base)) => {
                    return Some(Target::Outside(base.iter().cloned().chain(owned(rest)).collect()));
                }
                None => return Some(Target::Outside(owned(path).collect())),
            },
        };
        base.extend(owned(rest));
        Some(Target::Inside(base))
    }

    /// The paths in code: those of at least two names.
    fn paths(&mut self) {
        let mut uses = std::mem::take(&mut self.uses).into_iter().peekable();
        let mut at = 0;
        while at < self.words.len() {
            if let Some(item) = uses.next_if(|item| item.start <= at) {
                at = item.end.max(at + 1);
                continue;
            }
            let word = self.words[at];
            let begins =
                word.is_name() && self.text(at + 1) == "::" && (at == 0 || self.text(at - 1) != "::");
            if !begins {
                at += 1;
                continue;
            }
            let mut path = vec![word.text];
            at += 1;
            while self.text(at) == "::" && self.words.get(at + 1).is_some_and(Word::is_name) {
                path.push(self.text(at + 1));
                at += 2;
            }
            if path.len() > 1
                && let Some(target) = self.resolve(&path, at - 1)
            {
                self.found.push(Import { line: word.line, target });
            }
        }
    }
}

fn owned<'a>(names: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    names.iter().map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let module = ["volume".to_owned(), "local".to_owned()];
        let mut found: Vec<String> = imports(&words(text), &module)
            .into_iter()
            .map(|import| match import.target {
                Target::Inside(path) => format!("crate::{}", path.join("::")),
                Target::Outside(path) => path.join("::"),
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn trees_aliases_and_relative_paths_are_followed() {
        assert_eq!(
            found("use crate::error::{Error, Result};"),
            ["crate::error::Error", "crate::error::Result"]
        );
        assert_eq!(found("pub(crate) use super::driver::*;"), ["crate::volume::driver"]);
        assert_eq!(found("use super::super::id;"), ["crate::id"]);
        assert_eq!(
            found("use self::options::{self, A as B};"),
            ["crate::volume::local::options", "crate::volume::local::options::A"]
        );
        assert_eq!(found("use crate::{a, b::{c, d}};"), ["crate::a", "crate::b::c", "crate::b::d"]);
        assert_eq!(
            found("use crate::image; fn f() { image::gc::keep() }"),
            ["crate::image", "crate::image::gc::keep"]
        );
        assert_eq!(
            found("use std::process as p; fn f() { p::Command::new() }"),
            ["std::process", "std::process::Command::new"]
        );
    }

    #[test]
    fn paths_in_code_and_modules_below_are_found() {
        assert_eq!(
            found("mod options; fn f() { options::parse() }"),
            ["crate::volume::local::options::parse"]
        );
        assert_eq!(found("fn f() -> crate::error::Result<()> {}"), ["crate::error::Result"]);
        assert_eq!(found("fn f() { rusqlite::Connection::open() }"), ["rusqlite::Connection::open"]);
        assert_eq!(
            found("mod a { use super::b; } use super::c;"),
            ["crate::volume::c", "crate::volume::local::b"]
        );
        assert_eq!(found("fn f() -> impl Sized + use<'a> {} x.y::<T>()"), Vec::<String>::new());
    }
}
