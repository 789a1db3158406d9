//! Parses a file of webhooks, TOML or JSON, into JSON values that know their lines.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::json;
use crate::json::fault::{Faults, token};
use crate::json::fields::{Field, Kind};

/// A file's content.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) value: Value,
    /// The line of each value, by its JSON pointer.
    lines: BTreeMap<String, usize>,
}

/// Something wrong with the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// From 1.
    pub(super) line: usize,
    pub(super) text: String,
}

impl Fault {
    pub(super) fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

impl Document {
    /// Parses a text: JSON if the file is called so or, without an ending that tells, if it begins with a brace.
    ///
    /// # Errors
    /// The first syntax error.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Fault> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let is_json = match path.extension().and_then(|ending| ending.to_str()) {
            Some(ending) if ending.eq_ignore_ascii_case("json") => true,
            Some(ending) if ending.eq_ignore_ascii_case("toml") => false,
            _ => text.trim_start().starts_with('{'),
        };
        let mut reader = Reader { text, lines: BTreeMap::new() };
        let value = if is_json { reader.json() } else { reader.toml() }?;
        Ok(Self { value, lines: reader.lines })
    }

    /// The line of the value at a JSON pointer, or of the nearest one around it.
    pub(super) fn line(&self, pointer: &str) -> usize {
        let mut pointer = pointer;
        loop {
            if let Some(line) = self.lines.get(pointer) {
                return *line;
            }
            let Some((around, _)) = pointer.rsplit_once('/') else { return 1 };
            pointer = around;
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    lines: BTreeMap<String, usize>,
}

impl<'a> Reader<'a> {
    fn line_at(&self, offset: usize) -> usize {
        1 + self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
    }

    fn toml(&mut self) -> Result<Value, Fault> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line_at(span.start));
            // Not the error as a whole: it quotes the line, which may have a secret.
            Fault::new(line, error.message())
        })?;
        self.toml_table(table.get_ref(), "")
    }

    fn toml_table(&mut self, table: &DeTable<'_>, pointer: &str) -> Result<Value, Fault> {
        let mut members = Map::new();
        for (name, value) in table {
            let below = format!("{pointer}/{}", token(name.get_ref()));
            self.lines.insert(below.clone(), self.line_at(name.span().start));
            members.insert(name.get_ref().to_string(), self.toml_value(value, &below)?);
        }
        Ok(Value::Object(members))
    }

    fn toml_value(&mut self, value: &Spanned<DeValue<'_>>, pointer: &str) -> Result<Value, Fault> {
        let wrong = |line, text: &str| Fault::new(line, format!("{pointer}: {text}"));
        let line = self.line_at(value.span().start);
        match value.get_ref() {
            DeValue::String(text) => Ok(Value::from(text.as_ref())),
            DeValue::Boolean(is_true) => Ok(Value::Bool(*is_true)),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::from)
                .map_err(|_| wrong(line, "the number is beyond 64 bits")),
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok().and_then(Number::from_f64);
                number.map(Value::Number).ok_or_else(|| wrong(line, "a number must be finite"))
            }
            DeValue::Datetime(_) => Err(wrong(line, "a date or time must be a string: put it in quotes")),
            DeValue::Array(elements) => {
                let mut values = Vec::new();
                for (index, element) in elements.iter().enumerate() {
                    let below = format!("{pointer}/{index}");
                    self.lines.insert(below.clone(), self.line_at(element.span().start));
                    values.push(self.toml_value(element, &below)?);
                }
                Ok(Value::Array(values))
            }
            DeValue::Table(table) => self.toml_table(table, pointer),
        }
    }

    fn json(&mut self) -> Result<Value, Fault> {
        let text = self.text;
        let document = json::check(text).map_err(|error| Fault::new(error.line, error.to_string()))?;
        self.json_value(&Field::new(document.text(), ""))
    }

    fn json_value(&mut self, field: &Field<'a>) -> Result<Value, Fault> {
        let line = self.line_at((field.text().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize));
        self.lines.insert(field.pointer(), line);
        // The text passed the check, so a value of this kind has no faults.
        let mut faults = Faults::new();
        match field.kind() {
            Kind::Object => {
                let mut members = Map::new();
                for (name, value) in field.members(&mut faults).unwrap_or_default() {
                    members.insert(name, self.json_value(&value)?);
                }
                Ok(Value::Object(members))
            }
            Kind::Array => {
                let elements = field.elements(&mut faults).unwrap_or_default();
                elements.iter().map(|element| self.json_value(element)).collect::<Result<_, _>>().map(Value::Array)
            }
            Kind::Null | Kind::Bool | Kind::Number | Kind::String => field.value(&mut faults).ok_or_else(|| {
                let details = faults.into_inner().into_iter().map(|fault| fault.detail);
                Fault::new(line, format!("{}: {}", field.pointer(), details.collect::<Vec<_>>().join("; ")))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(name: &str, text: &str) -> Result<Document, Fault> {
        Document::parse(Path::new(name), text)
    }

    const TOML: &str = "\
# a comment
[[webhooks]]
name = \"ops\"
event_types = [
  \"finding_added\",
  \"report_ready\",
]

[webhooks.filter]
min_severity = \"high\"

[[webhooks]]
name = \"siem\"
timeout_ms = 10_000
format_options = { \"a/b\" = 1.5, on = true }
";

    #[test]
    fn both_forms_are_the_same_values_with_their_lines() {
        let toml = parse("w.toml", TOML).expect("a document");
        let wanted = json!({"webhooks": [
            {"name": "ops", "event_types": ["finding_added", "report_ready"], "filter": {"min_severity": "high"}},
            {"name": "siem", "timeout_ms": 10_000, "format_options": {"a/b": 1.5, "on": true}},
        ]});
        assert_eq!(toml.value, wanted);
        for (pointer, line) in [
            ("/webhooks/0/name", 3),
            ("/webhooks/0/event_types/1", 6),
            ("/webhooks/0/filter/min_severity", 10),
            ("/webhooks/1/format_options/a~1b", 15),
            ("/webhooks/1/timeout_ms/deeper", 14),
        ] {
            assert_eq!(toml.line(pointer), line, "{pointer}");
        }
        assert_eq!((toml.line("/webhooks/0"), toml.line("/webhooks/1")), (2, 12));
        let text = serde_json::to_string_pretty(&wanted).expect("JSON");
        for name in ["w.json", "webhooks", "w.conf"] {
            let json = parse(name, &text).expect("a document");
            assert_eq!(json.value, wanted);
            assert_eq!(
                (json.line("/webhooks/0/name"), json.line("/webhooks/1/format_options/a~1b")),
                (11, 15),
                "{text}"
            );
        }
        assert_eq!(parse("webhooks", TOML).expect("a document").value, wanted);
    }

    #[test]
    fn a_syntax_error_names_its_line_and_quotes_nothing() {
        for (name, text, line) in [
            ("w.toml", "[[webhooks]]\nsecret = \"hush\" x\n", 2),
            ("w.toml", "[[webhooks]]\nsecret = \"hush\"\nsecret = \"hush\"\n", 3),
            ("w.toml", "a = 1\nb = 1979-05-27\n", 2),
            ("w.toml", "a = inf\n", 1),
            ("w.json", "{\n\"secret\": \"hush\" x}", 2),
            ("w.json", "{\"a\": 1,\n\"a\": 2}", 2),
            ("w.json", "{\"a\":\n1e999}", 2),
        ] {
            let fault = parse(name, text).expect_err(text);
            assert_eq!(fault.line, line, "{text}: {}", fault.text);
            assert!(!fault.text.contains("hush"), "{}", fault.text);
        }
    }
}
