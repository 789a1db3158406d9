//! References to secrets: `env:NAME` and `file:PATH` in the fields that may hold a credential. A value that was read is
//! never printed: errors name the reference.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::config;
use crate::json::fault::token;
use crate::model::mask::write_only;
use crate::model::secret::Secret;

/// The largest file of a secret, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// Variables of Heraldry itself, its master key and tokens among them.
const OURS: &str = "HERALDRY_";
/// Shorter values occur in texts by chance and are not looked for there.
const SHORTEST_MASKED: usize = 4;

/// Where references lead.
pub(super) struct Sources {
    /// The folders below which files may be read, without symbolic links; a relative path is looked for in each.
    folders: Vec<PathBuf>,
}

/// The fields of one webhook with its references resolved.
#[derive(Default)]
pub(super) struct Resolved {
    pub(super) fields: Map<String, Value>,
    /// The references by the JSON pointer of their field.
    pub(super) references: BTreeMap<String, String>,
    /// JSON pointer and reason of each reference that leads nowhere or stands where none is read.
    pub(super) faults: Vec<(String, String)>,
    /// JSON pointers of credentials that stand in the file as text.
    pub(super) literals: Vec<String>,
}

/// Values that were read, which nothing printed may have.
#[derive(Default)]
pub(super) struct Values(Vec<(Secret, String)>);

impl Values {
    /// The text with each value replaced by its reference.
    pub(super) fn masked(&self, text: &str) -> String {
        let long = self.0.iter().filter(|(value, _)| value.expose().len() >= SHORTEST_MASKED);
        long.fold(text.to_owned(), |text, (value, reference)| text.replace(value.expose(), reference))
    }
}

impl Sources {
    /// Files may be read below the folder of the file of webhooks, and below another one if that is named.
    ///
    /// # Errors
    /// When a folder does not exist.
    pub(super) fn new(file: &Path, secrets_dir: Option<&Path>) -> std::io::Result<Self> {
        let own = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folders = std::iter::once(own).chain(secrets_dir).map(fs::canonicalize).collect::<Result<_, _>>()?;
        Ok(Self { folders })
    }

    /// Resolves the references in a webhook's fields. `schema` is that of its format's options, if that is known.
    pub(super) fn resolve(&self, fields: &Map<String, Value>, schema: Option<&Value>, values: &mut Values) -> Resolved {
        let mut resolved = Resolved { fields: fields.clone(), ..Resolved::default() };
        let mut work = Work { sources: self, values, resolved: &mut resolved };
        for (name, value) in fields {
            let pointer = format!("/{}", token(name));
            match name.as_str() {
                "secret" | "url" => work.field(value, &pointer),
                "headers" => {
                    for (header, value) in value.as_object().into_iter().flatten() {
                        work.field(value, &format!("{pointer}/{}", token(header)));
                    }
                }
                "format_options" => {
                    // Without a schema there is a fault already: the format is not known.
                    let Some(schema) = schema else { continue };
                    let credentials = write_only(schema, value).unwrap_or_default();
                    work.options(value, &pointer, &credentials);
                }
                // Its texts are the platform's ids, and an expression.
                "filter" => {}
                _ => work.without(value, &pointer),
            }
        }
        resolved
    }

    /// The value that a reference leads to.
    fn read(&self, reference: &str) -> Result<Secret, String> {
        let value = match reference.split_once(':') {
            Some(("env", name)) => variable(name)?,
            Some(("file", path)) => self.file(Path::new(path))?,
            _ => return Err("is no reference".to_owned()),
        };
        if value.expose().is_empty() {
            return Err(format!("{reference} is empty"));
        }
        Ok(value)
    }

    /// A file's text, without the line feed at its end.
    fn file(&self, path: &Path) -> Result<Secret, String> {
        let shown = format!("file:{}", path.display());
        // An absolute path stays as it is when it is joined.
        let found = self.folders.iter().find_map(|folder| fs::canonicalize(folder.join(path)).ok());
        let Some(found) = found else { return Err(format!("{shown} does not exist or cannot be read")) };
        if !self.folders.iter().any(|folder| found.starts_with(folder)) {
            return Err(format!(
                "{shown} is outside the folders that secrets are read from: the file's own, and --secrets-dir"
            ));
        }
        let unreadable = |error: std::io::Error| format!("{shown} cannot be read: {error}");
        // A pipe would be waited for.
        if !fs::metadata(&found).map_err(unreadable)?.is_file() {
            return Err(format!("{shown} is not a regular file"));
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(&found).map_err(unreadable)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("{shown} is larger than {MAX_BYTES} bytes"));
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"))?;
        let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        Ok(Secret::new(text))
    }
}

fn variable(name: &str) -> Result<Secret, String> {
    if !is_variable_name(name) {
        return Err("what follows env: must be the name of a variable: letters, digits and _".to_owned());
    }
    if name.to_ascii_uppercase().starts_with(OURS) {
        return Err(format!("env:{name} is a variable of Heraldry itself, which is never sent to a destination"));
    }
    let value = config::variable(name).ok_or_else(|| format!("env:{name} is not set"))?;
    value.into_string().map(Secret::new).map_err(|_| format!("env:{name} is not UTF-8"))
}

fn is_variable_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_word) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// True for a text that is read as a reference where one may stand.
fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

/// True for a text that can only be meant as a reference.
fn looks_like_reference(text: &str) -> bool {
    text.strip_prefix("env:").is_some_and(is_variable_name)
        || text.strip_prefix("file:").is_some_and(|path| !path.is_empty() && !path.contains(char::is_whitespace))
}

struct Work<'a> {
    sources: &'a Sources,
    values: &'a mut Values,
    resolved: &'a mut Resolved,
}

impl Work<'_> {
    /// A field that may hold a credential.
    fn field(&mut self, value: &Value, pointer: &str) {
        let Value::String(text) = value else { return };
        if !is_reference(text) {
            if pointer == "/secret" || pointer.starts_with("/format_options/") {
                self.resolved.literals.push(pointer.to_owned());
            }
            return;
        }
        match self.sources.read(text) {
            Ok(value) => {
                set(&mut self.resolved.fields, pointer, value.expose());
                self.resolved.references.insert(pointer.to_owned(), text.clone());
                self.values.0.push((value, format!("[{text}]")));
            }
            Err(reason) => self.resolved.faults.push((pointer.to_owned(), reason)),
        }
    }

    /// Options: those at `credentials`, relative to the options, and everything below them.
    fn options(&mut self, options: &Value, at: &str, credentials: &[String]) {
        self.each_text(options, at, &mut |work, text, pointer| {
            let within = pointer.strip_prefix(at).unwrap_or_default();
            let is_credential = credentials.iter().any(|credential| is_at_or_below(within, credential));
            if is_credential { work.field(text, pointer) } else { work.without(text, pointer) }
        });
    }

    /// A field that no reference may stand in.
    fn without(&mut self, value: &Value, at: &str) {
        self.each_text(value, at, &mut |work, text, pointer| {
            if text.as_str().is_some_and(looks_like_reference) {
                let places = "secret, url, values of headers, and options that the format's schema marks writeOnly";
                work.resolved.faults.push((pointer.to_owned(), format!("env: and file: are read only in {places}")));
            }
        });
    }

    fn each_text(&mut self, value: &Value, pointer: &str, each: &mut impl FnMut(&mut Self, &Value, &str)) {
        match value {
            Value::String(_) => each(self, value, pointer),
            Value::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    self.each_text(element, &format!("{pointer}/{index}"), each);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    self.each_text(member, &format!("{pointer}/{}", token(name)), each);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// True if one JSON pointer is the other, or of a value within the other's.
pub(super) fn is_at_or_below(pointer: &str, other: &str) -> bool {
    pointer.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn set(fields: &mut Map<String, Value>, pointer: &str, text: &str) {
    let (first, rest) = match pointer[1..].find('/') {
        Some(at) => pointer[1..].split_at(at),
        None => (&pointer[1..], ""),
    };
    if let Some(value) = fields.get_mut(first).and_then(|field| field.pointer_mut(rest)) {
        *value = Value::from(text);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    struct Place {
        root: TempDir,
    }

    impl Place {
        /// `webhooks/` is the file's folder, `secrets/` the other one, `elsewhere/` neither.
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a folder");
            for folder in ["webhooks/below", "secrets", "elsewhere"] {
                fs::create_dir_all(root.path().join(folder)).expect("a folder");
            }
            let write = |name: &str, text: &[u8]| fs::write(root.path().join(name), text).expect("a file");
            write("webhooks/token", b"hush\n");
            write("webhooks/below/token", b"low\r\n");
            write("webhooks/two", b" two\n\n");
            write("webhooks/empty", b"\n");
            write("webhooks/binary", b"\xff");
            write("webhooks/large", &[b'x'; MAX_BYTES as usize + 1]);
            write("secrets/key", b"key");
            write("elsewhere/other", b"other");
            symlink(root.path().join("elsewhere/other"), root.path().join("webhooks/link")).expect("a link");
            symlink("below/token", root.path().join("webhooks/inner")).expect("a link");
            symlink(root.path().join("elsewhere"), root.path().join("webhooks/out")).expect("a link");
            Self { root }
        }

        fn sources(&self, with_other: bool) -> Sources {
            let other = self.root.path().join("secrets");
            let file = self.root.path().join("webhooks/w.toml");
            Sources::new(&file, with_other.then_some(other.as_path())).expect("folders")
        }

        fn read(&self, path: &str, with_other: bool) -> Result<String, String> {
            let value = self.sources(with_other).read(&format!("file:{path}"));
            value.map(|value| value.expose().to_owned())
        }
    }

    #[test]
    fn files_are_read_below_two_folders_only() {
        let place = Place::new();
        let absolute = |name: &str| place.root.path().join(name).display().to_string();
        for (path, text) in [
            ("token", "hush"),
            ("./below/../token", "hush"),
            ("below/token", "low"),
            ("two", " two\n"),
            ("inner", "low"),
            (&absolute("webhooks/token"), "hush"),
        ] {
            assert_eq!(place.read(path, false).as_deref(), Ok(text), "{path}");
        }
        for path in ["key", &absolute("secrets/key")] {
            assert_eq!(place.read(path, true).as_deref(), Ok("key"), "{path}");
            assert!(place.read(path, false).is_err(), "{path}");
        }
        for (path, why) in [
            ("../elsewhere/other", "outside"),
            ("link", "outside"),
            ("out/other", "outside"),
            (&absolute("elsewhere/other"), "outside"),
            ("/etc/passwd", "outside"),
            ("missing", "does not exist"),
            ("below", "not a regular file"),
            ("", "not a regular file"),
            ("empty", "is empty"),
            ("binary", "not UTF-8"),
            ("large", "larger than"),
        ] {
            let error = place.read(path, true).expect_err(path);
            assert!(error.contains(why) && !error.contains("hush"), "{path}: {error}");
        }
    }

    #[test]
    fn variables_of_the_host_itself_are_never_read() {
        let place = Place::new();
        let read = |name: &str| place.sources(false).read(&format!("env:{name}"));
        assert!(read("PATH").is_ok_and(|value| !value.expose().is_empty()));
        for (name, why) in [
            ("HERALDRY_TOKEN", "of Heraldry itself"),
            ("HERALDRY_MASTER_KEY", "of Heraldry itself"),
            ("heraldry_x", "of Heraldry itself"),
            ("NO_SUCH_VARIABLE_AT_ALL", "is not set"),
            ("", "name of a variable"),
            ("A B", "name of a variable"),
            ("1A", "name of a variable"),
            ("${HOME}", "name of a variable"),
        ] {
            let error = read(name).expect_err(name);
            assert!(error.contains(why), "{name}: {error}");
        }
    }

    #[test]
    fn references_are_read_only_where_credentials_stand() {
        let place = Place::new();
        let schema = json!({"properties": {"key": {"writeOnly": true}, "title": {}}});
        let fields = json!({
            "name": "env:PATH", "url": "file:token", "secret": "file:token", "format": "json",
            "headers": {"X-A": "file:below/token", "X-B": "plain"},
            "format_options": {"key": "file:token", "title": "file:token"},
            "filter": {"engagement_ids": ["env:PROD"]}, "tls": {"ca": "file: a text"},
        });
        let mut values = Values::default();
        let resolved = place.sources(false).resolve(fields.as_object().expect("fields"), Some(&schema), &mut values);
        let read = Value::Object(resolved.fields);
        assert_eq!((&read["url"], &read["secret"]), (&json!("hush"), &json!("hush")));
        assert_eq!(read["headers"], json!({"X-A": "low", "X-B": "plain"}));
        assert_eq!(read["format_options"], json!({"key": "hush", "title": "file:token"}));
        assert_eq!(read["filter"], fields["filter"]);
        let pointers: Vec<&str> = resolved.references.keys().map(String::as_str).collect();
        assert_eq!(pointers, ["/format_options/key", "/headers/X-A", "/secret", "/url"]);
        let faults: Vec<&str> = resolved.faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(faults, ["/format_options/title", "/name"]);
        assert_eq!(values.masked("it says hush and low"), "it says [file:token] and low");
    }

    #[test]
    fn credentials_in_the_file_are_found() {
        let place = Place::new();
        let schema = json!({"properties": {"key": {"writeOnly": true}}});
        let fields = json!({"secret": "text", "url": "http://a/", "format_options": {"key": "text", "other": "x"}});
        let fields = fields.as_object().expect("fields");
        let resolved = place.sources(false).resolve(fields, Some(&schema), &mut Values::default());
        assert_eq!(resolved.literals, ["/format_options/key", "/secret"]);
        assert!(resolved.references.is_empty() && resolved.faults.is_empty() && resolved.fields == *fields);
    }
}
