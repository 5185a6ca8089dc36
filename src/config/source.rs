//! The entries of a file while it is parsed: which of them are in force, and the problems and
//! notices found.

use super::keys::{self, DefaultValue};
use super::notice::Notice;
use super::problem::Problem;
use super::properties::Entry;
use super::values;
use log::Level;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The entries of a file, with the problems and notices found so far.
pub(super) struct Source<'a> {
    file: &'a Path,
    in_force: BTreeMap<&'a str, &'a Entry>,
    problems: Vec<Problem>,
    notices: Vec<Notice>,
    shown: Vec<(String, String)>,
}

impl<'a> Source<'a> {
    /// The last entry of each key is in force.
    pub(super) fn new(file: &'a Path, entries: &'a [Entry]) -> Source<'a> {
        let in_force = entries
            .iter()
            .map(|entry| (entry.key.as_str(), entry))
            .collect();
        let mut source = Source {
            file,
            in_force,
            problems: Vec::new(),
            notices: Vec::new(),
            shown: Vec::new(),
        };
        source.warn_of_duplicates(entries);
        source.warn_of_unknown();
        source
    }

    /// Parses the value of a key, or its default. A bad value adds a problem and yields the type's
    /// default.
    ///
    /// Ignores blanks around the value: Java keeps trailing ones, but nobody sees them. An empty
    /// value means unset for a key without default, and is a problem for any other key.
    pub(super) fn parse<T: Default>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let (line, value) = self.value(name);
        self.show(name.to_owned(), value);
        self.parse_value(line, name, value, read)
    }

    /// Like [`parse`](Self::parse), for a key whose default is derived from another key.
    pub(super) fn parse_or<T: Default + Display>(
        &mut self,
        name: &str,
        derived: T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        if self.line(name).is_some() {
            return self.parse(name, read);
        }
        self.show(name.to_owned(), &derived.to_string());
        derived
    }

    /// The path of a file, relative to the folder of this one; empty if the key is not set.
    pub(super) fn parse_path(&mut self, name: &str) -> PathBuf {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let (line, value) = self.value(name);
        let path = self.parse_value(line, name, value, |value| values::file(value, folder));
        self.show(name.to_owned(), &path.to_string_lossy());
        path
    }

    /// The same for a required key. `advice` says how to get such a file.
    pub(super) fn parse_required_path(&mut self, name: &str, advice: &str) -> PathBuf {
        let path = self.parse_path(name);
        if path.as_os_str().is_empty() && self.are_valid(&[name]) {
            self.add_missing(name, &format!("is not set; {advice}"));
        }
        path
    }

    /// Adds a problem for a missing key.
    pub(super) fn add_missing(&mut self, name: &str, text: &str) {
        // A misspelt key only causes a warning, and warnings are not shown along with problems.
        let misspelt = self
            .entries_in_force(|key| !keys::is_known(key) && keys::closest_match(key) == Some(name));
        match misspelt.first() {
            Some(entry) => self.add_problem(
                None,
                name,
                format!("is not set; is it the key of line {}?", entry.line),
            ),
            None => self.add_problem(self.line(name), name, text),
        }
    }

    /// The entries in force whose key is `wanted`, in file order.
    pub(super) fn entries_in_force(&self, wanted: impl Fn(&str) -> bool) -> Vec<&'a Entry> {
        let mut entries: Vec<_> = self
            .in_force
            .values()
            .copied()
            .filter(|entry| wanted(&entry.key))
            .collect();
        entries.sort_by_key(|entry| entry.line);
        entries
    }

    /// Whether these keys have no problems, so that their values can be compared.
    pub(super) fn are_valid(&self, names: &[&str]) -> bool {
        let mut wrong = self
            .problems
            .iter()
            .filter_map(|problem| problem.key.as_deref());
        !wrong.any(|key| names.contains(&key))
    }

    /// The line of the entry in force, if the file has one.
    pub(super) fn line(&self, name: &str) -> Option<u32> {
        self.in_force.get(name).map(|entry| entry.line)
    }

    /// Adds a problem for an entry that cannot be parsed.
    pub(super) fn add_line_problem(&mut self, line: u32, reason: &str) {
        self.problems
            .push(Problem::in_config(self.file, Some(line), None, reason));
    }

    /// Adds a problem with a key.
    pub(super) fn add_problem(&mut self, line: Option<u32>, key: &str, text: impl Into<String>) {
        self.problems
            .push(Problem::in_config(self.file, line, Some(key), text));
    }

    /// Adds a warning about a key.
    pub(super) fn add_warning(&mut self, line: Option<u32>, key: &str, text: impl Into<String>) {
        self.add_notice(Level::Warn, line, Some(key), text.into());
    }

    /// Records a value in force, escaped as in a properties file.
    pub(super) fn show(&mut self, key: String, value: &str) {
        self.shown.push((key, value.replace('\\', "\\\\")));
    }

    /// The problems in file order, the notices, and the values in force in the order of the table.
    pub(super) fn finish(mut self) -> (Vec<Problem>, Vec<Notice>, Vec<(String, String)>) {
        self.problems
            .sort_by_key(|problem| problem.line.unwrap_or(u32::MAX));
        self.shown.sort_by_key(|(key, _)| {
            let stem = key.split('.').next().unwrap_or_default();
            keys::KEYS.iter().position(|key| key.name == stem)
        });
        (self.problems, self.notices, self.shown)
    }

    fn value(&self, name: &str) -> (Option<u32>, &'a str) {
        match self.in_force.get(name) {
            Some(entry) => (Some(entry.line), entry.value.trim()),
            None => (
                None,
                keys::find(name)
                    .and_then(|key| key.default.fixed())
                    .unwrap_or_default(),
            ),
        }
    }

    fn parse_value<T: Default>(
        &mut self,
        line: Option<u32>,
        name: &str,
        value: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let default = keys::find(name).map_or(DefaultValue::Unset, |key| key.default);
        let refusal = match (value, default) {
            ("", DefaultValue::Unset) => return T::default(),
            ("", _) => "is empty; write a value or remove the line".to_owned(),
            _ => match read(value) {
                Ok(value) => return value,
                Err(refusal) => refusal,
            },
        };
        let hint = default
            .shown()
            .map(|default| format!(" (the default is {default})"))
            .unwrap_or_default();
        self.add_problem(line, name, refusal + &hint);
        T::default()
    }

    fn warn_of_duplicates(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| keys::is_known(&entry.key)) {
            if let Some(line) = self.line(&entry.key)
                && line != entry.line
            {
                let text = format!("is repeated in line {line}, which is in force; remove one");
                self.add_warning(Some(entry.line), &entry.key, text);
            }
        }
    }

    fn warn_of_unknown(&mut self) {
        let mut others = 0_usize;
        for entry in self.entries_in_force(|key| !keys::is_known(key)) {
            match keys::closest_match(&entry.key) {
                Some(name) => self.add_warning(
                    Some(entry.line),
                    &entry.key,
                    format!("is ignored; did you mean {name}?"),
                ),
                None => others += 1,
            }
        }
        let text = match others {
            0 => return,
            1 => "1 key of other components is ignored".to_owned(),
            _ => format!("{others} keys of other components are ignored"),
        };
        self.add_notice(Level::Info, None, None, text);
    }

    fn add_notice(&mut self, level: Level, line: Option<u32>, key: Option<&str>, text: String) {
        self.notices.push(Notice {
            level,
            file: self.file.to_owned(),
            line,
            key: key.map(str::to_owned),
            text,
        });
    }
}
