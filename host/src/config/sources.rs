//! Where the value of a setting comes from: the command line or the environment, else the file. Collects every fault,
//! and reports the keys of the file that no setting has.

use std::path::Path;

use super::Config;
use super::table::{self, Setting};

/// The file's keys that are not read yet, and the faults so far.
#[derive(Default)]
pub(super) struct Sources {
    file_name: String,
    keys: toml::Table,
    faults: Vec<String>,
}

impl Sources {
    /// Parses a TOML file.
    ///
    /// # Errors
    /// The first syntax error with its position.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let file_name = path.display().to_string();
        let keys =
            text.parse().map_err(|error: toml::de::Error| format!("{file_name}: {}", error.to_string().trim_end()))?;
        Ok(Self { file_name, keys, ..Self::default() })
    }

    /// Applies a setting from the first source that has it. `given` is the value of the flag, or else of the variable.
    /// An invalid value becomes a fault, and `config` keeps the default.
    pub(super) fn apply(&mut self, setting: &Setting, given: Option<&[String]>, config: &mut Config) {
        let in_file = self.keys.remove(setting.name);
        let (texts, origin) = match (given, in_file) {
            (Some(texts), _) => (texts.to_vec(), format!("--{} (or {})", setting.name, setting.variable())),
            (None, Some(value)) => {
                let origin = format!("{} in {}", setting.name, self.file_name);
                (self.file_texts(setting, value, &origin), origin)
            }
            (None, None) => return,
        };
        if setting.is_list() {
            let items = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
            items.filter(|item| !item.is_empty()).for_each(|item| self.apply_one(setting, item, &origin, config));
        } else {
            texts.iter().for_each(|text| self.apply_one(setting, text, &origin, config));
        }
    }

    fn apply_one(&mut self, setting: &Setting, text: &str, origin: &str, config: &mut Config) {
        if text.is_empty() {
            self.faults.push(format!("{origin} is empty; leave it out for the default"));
        } else if let Err(why) = setting.apply(config, text) {
            let shown = if setting.is_secret { String::new() } else { format!("`{}`: ", text.escape_debug()) };
            self.faults.push(format!("{origin}: {shown}{why}"));
        }
    }

    /// The texts of a value in the file: one, or those of a list.
    fn file_texts(&mut self, setting: &Setting, value: toml::Value, origin: &str) -> Vec<String> {
        let values = match value {
            toml::Value::Array(items) if setting.is_list() => items,
            _ if setting.is_list() => {
                self.faults.push(format!("{origin} must be a list of texts"));
                return Vec::new();
            }
            value => vec![value],
        };
        let mut texts = Vec::new();
        for value in values {
            match scalar(value) {
                Ok(text) => texts.push(text),
                Err(why) => self.faults.push(format!("{origin} {why}")),
            }
        }
        texts
    }

    /// Every fault, including the keys that no setting has.
    pub(super) fn finish(mut self) -> Vec<String> {
        for key in self.keys.keys() {
            let meant = key.to_lowercase().replace('_', "-");
            let hint = if table::all().any(|setting| setting.name == meant) {
                format!("the key is `{meant}`")
            } else {
                "`heraldry serve --help` lists every setting".to_owned()
            };
            self.faults.push(format!("unknown key `{}` in {}: {hint}", key.escape_debug(), self.file_name));
        }
        self.faults
    }
}

fn scalar(value: toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        other => Err(format!("must be a text or a whole number, not {}", other.type_str())),
    }
}
