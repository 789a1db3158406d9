//! One pass over the settings: each is asked for once, every fault is collected, and what is left in the
//! file at the end is unknown.

use std::path::Path;

/// The file's keys that nobody has asked for yet, and the faults so far.
#[derive(Default)]
pub(super) struct Sources {
    file_name: String,
    keys: toml::Table,
    known: Vec<&'static str>,
    faults: Vec<String>,
}

impl Sources {
    /// The settings in a TOML file.
    ///
    /// # Errors
    /// Where the text stops being TOML.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let file_name = path.display().to_string();
        let keys =
            text.parse().map_err(|error: toml::de::Error| format!("{file_name}: {}", error.to_string().trim_end()))?;
        Ok(Self { file_name, keys, ..Self::default() })
    }

    /// The setting `name`: what the command line or the environment `given`, else the file's key, else
    /// `default`. A value that `parse` refuses is a fault, and the default goes on in its place.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        given: Option<&str>,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.known.push(name);
        let in_file = self.keys.remove(name);
        let text = match (given, in_file) {
            (Some(text), _) => Ok((text.to_owned(), sources(name))),
            (None, Some(value)) => scalar(value).map(|text| (text, self.in_file(name))),
            (None, None) => return default,
        };
        let parsed = match text {
            Ok((text, place)) => one(&text, &place, &parse),
            Err(why) => Err(format!("{} {why}", self.in_file(name))),
        };
        parsed.unwrap_or_else(|fault| {
            self.faults.push(fault);
            default
        })
    }

    /// A setting that is a list: repeated or comma-separated when `given`, an array in the file.
    pub(super) fn read_list<T>(
        &mut self,
        name: &'static str,
        given: Option<&[String]>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        self.known.push(name);
        let in_file = self.keys.remove(name);
        let (texts, place) = match (given, in_file) {
            (Some(texts), _) => (texts.to_vec(), sources(name)),
            (None, Some(toml::Value::Array(items))) => {
                let place = self.in_file(name);
                let (texts, wrong): (Vec<_>, Vec<_>) = items.into_iter().map(scalar).partition(Result::is_ok);
                self.faults.extend(wrong.into_iter().filter_map(Result::err).map(|why| format!("{place} {why}")));
                (texts.into_iter().flatten().collect(), place)
            }
            (None, Some(_)) => {
                self.faults.push(format!("{} must be a list of texts", self.in_file(name)));
                return Vec::new();
            }
            (None, None) => return Vec::new(),
        };
        let mut values = Vec::new();
        for item in texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|item| !item.is_empty()) {
            match one(item, &place, &parse) {
                Ok(value) => values.push(value),
                Err(fault) => self.faults.push(fault),
            }
        }
        values
    }

    /// Notes a fault that no single value has.
    pub(super) fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// Every fault, with the keys that nobody asked for.
    pub(super) fn finish(mut self) -> Vec<String> {
        for key in self.keys.keys() {
            let meant = key.to_lowercase().replace('_', "-");
            let hint = if self.known.contains(&meant.as_str()) {
                format!("the key is `{meant}`")
            } else {
                "`heraldry serve --help` lists every setting".to_owned()
            };
            self.faults.push(format!("unknown key `{}` in {}: {hint}", key.escape_debug(), self.file_name));
        }
        self.faults
    }

    fn in_file(&self, name: &str) -> String {
        format!("{name} in {}", self.file_name)
    }
}

/// How the faults name what clap has put together.
fn sources(name: &str) -> String {
    format!("--{name} (or {})", variable(name))
}

/// The variable of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("HERALDRY_{}", name.to_uppercase().replace('-', "_"))
}

fn one<T>(text: &str, place: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
    if text.is_empty() {
        return Err(format!("{place} is empty; leave it out for the default"));
    }
    parse(text).map_err(|why| format!("{place}: `{}`: {why}", text.escape_debug()))
}

fn scalar(value: toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        other => Err(format!("must be a text or a whole number, not {}", other.type_str())),
    }
}
