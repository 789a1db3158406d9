//! Writing HTML so that text cannot become markup: tags, attribute names and classes are constants of this crate.

/// No element and no text is begun after this many bytes.
pub(crate) const MAX_BYTES: usize = 2 * 1024 * 1024;

/// HTML in the making, with every element closed.
pub(crate) struct Html {
    out: String,
    is_full: bool,
}

impl Html {
    pub(crate) fn new() -> Self {
        Self { out: String::new(), is_full: false }
    }

    /// Writes an element; `class` may be empty.
    pub(crate) fn wrap(&mut self, tag: &'static str, class: &'static str, inside: impl FnOnce(&mut Self)) {
        if class.is_empty() { self.with(tag, &[], inside) } else { self.with(tag, &[("class", class)], inside) }
    }

    /// Writes an element with attributes.
    pub(crate) fn with(
        &mut self,
        tag: &'static str,
        attributes: &[(&'static str, &str)],
        inside: impl FnOnce(&mut Self),
    ) {
        if !self.begin(tag, attributes) {
            return;
        }
        inside(self);
        self.out.push_str("</");
        self.out.push_str(tag);
        self.out.push('>');
    }

    /// Writes an element that has no end tag.
    pub(crate) fn void(&mut self, tag: &'static str, attributes: &[(&'static str, &str)]) {
        self.begin(tag, attributes);
    }

    fn begin(&mut self, tag: &'static str, attributes: &[(&'static str, &str)]) -> bool {
        if self.is_full || self.out.len() >= MAX_BYTES {
            self.is_full = true;
            return false;
        }
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            // Values are short: URLs up to 4096 bytes, names of characters.
            for c in value.chars() {
                match mark(c) {
                    Some(_) => self.out.push_str(&format!("U+{:04X}", u32::from(c))),
                    None => self.character(c),
                }
            }
            self.out.push('"');
        }
        self.out.push('>');
        true
    }

    /// Writes text; control and bidirectional characters become visible marks.
    pub(crate) fn text(&mut self, text: &str) {
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            if self.is_full || self.out.len() >= MAX_BYTES {
                self.is_full = true;
                return;
            }
            if c == '\r' && characters.peek() == Some(&'\n') {
                continue;
            }
            match mark(c) {
                Some(name) => {
                    let code = format!("U+{:04X}", u32::from(c));
                    self.with("span", &[("class", "mark"), ("title", name)], |html| html.out.push_str(&code));
                }
                None => self.character(c),
            }
        }
    }

    fn character(&mut self, c: char) {
        match c {
            '&' => self.out.push_str("&amp;"),
            '<' => self.out.push_str("&lt;"),
            '>' => self.out.push_str("&gt;"),
            '"' => self.out.push_str("&quot;"),
            '\'' => self.out.push_str("&#39;"),
            _ => self.out.push(c),
        }
    }

    /// Appends what was written elsewhere.
    pub(crate) fn append(&mut self, other: Self) {
        self.out.push_str(&other.out);
        if other.is_full {
            self.out.push_str("<p class=\"over\">The rest is not drawn: the preview has reached its size limit.</p>");
        }
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }
}

/// Names a character that must not act on the text around it; none for those that are shown as they are.
fn mark(c: char) -> Option<&'static str> {
    match c {
        '\n' | '\t' => None,
        '\0' => Some("null"),
        '\u{1b}' => Some("escape"),
        '\r' => Some("carriage return"),
        '\u{61c}' => Some("Arabic letter mark"),
        '\u{200e}' => Some("left-to-right mark"),
        '\u{200f}' => Some("right-to-left mark"),
        '\u{2028}' => Some("line separator"),
        '\u{2029}' => Some("paragraph separator"),
        '\u{202a}' => Some("left-to-right embedding"),
        '\u{202b}' => Some("right-to-left embedding"),
        '\u{202c}' => Some("pop directional formatting"),
        '\u{202d}' => Some("left-to-right override"),
        '\u{202e}' => Some("right-to-left override"),
        '\u{2066}' => Some("left-to-right isolate"),
        '\u{2067}' => Some("right-to-left isolate"),
        '\u{2068}' => Some("first strong isolate"),
        '\u{2069}' => Some("pop directional isolate"),
        '\u{feff}' => Some("byte order mark"),
        c if c.is_control() => Some("control character"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_hidden_characters_are_visible() {
        let mut html = Html::new();
        html.text("<b a=\"1\" b='2'>&amp;\u{202e}x\u{7}\r\ny\rz");
        assert_eq!(
            html.finish(),
            "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;amp;<span class=\"mark\" title=\"right-to-left override\">U+202E</span>x\
             <span class=\"mark\" title=\"control character\">U+0007</span>\ny\
             <span class=\"mark\" title=\"carriage return\">U+000D</span>z"
        );
    }

    #[test]
    fn attributes_cannot_be_left() {
        let mut html = Html::new();
        html.void("meter", &[("value", "\"><script>\u{202e}")]);
        assert_eq!(html.finish(), "<meter value=\"&quot;&gt;&lt;script&gt;U+202E\">");
    }

    #[test]
    fn a_full_page_closes_its_elements_and_says_so() {
        let mut html = Html::new();
        html.wrap("div", "", |html| {
            html.text(&"x".repeat(MAX_BYTES + 1));
            html.wrap("p", "", |html| html.text("more"));
        });
        let mut whole = Html::new();
        whole.append(html);
        let page = whole.finish();
        assert!(page.len() < MAX_BYTES + 1000);
        assert!(page.contains("x</div><p class=\"over\">The rest is not drawn"), "{}", &page[MAX_BYTES - 10..]);
        assert!(!page.contains("more"));
    }
}
