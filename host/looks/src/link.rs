//! Links: https only, with the host in sight.

use url::Url;

use crate::html::Html;

/// Longer URLs are shown as text.
const MAX_URL_BYTES: usize = 4096;

/// Writes a link around a label, followed by its host; the URL in words where it must not be followed.
pub(crate) fn link(html: &mut Html, class: &'static str, address: &str, label: impl FnOnce(&mut Html)) {
    match safe(address) {
        Some(url) => {
            let attributes = [("class", class), ("href", url.as_str()), ("rel", "noreferrer noopener")];
            html.with("a", &attributes[usize::from(class.is_empty())..], label);
            let host = url.host_str().unwrap_or_default();
            html.wrap("span", "host", |html| html.text(&format!(" ({host})")));
        }
        None => {
            html.wrap("span", class, label);
            html.wrap("span", "host", |html| html.text(&format!(" (not a link: {address})")));
        }
    }
}

/// Writes a link whose label is the URL itself.
pub(crate) fn bare(html: &mut Html, address: &str) {
    match safe(address) {
        Some(url) => {
            let attributes = [("href", url.as_str()), ("rel", "noreferrer noopener")];
            html.with("a", &attributes, |html| html.text(address));
            // The address as it is written may hide where it leads.
            let host = url.host_str().unwrap_or_default();
            if !address.strip_prefix("https://").is_some_and(|rest| plainly(rest, host)) {
                html.wrap("span", "host", |html| html.text(&format!(" ({host})")));
            }
        }
        None => html.text(address),
    }
}

/// Returns true if the rest of an address starts with the host and then leaves it.
fn plainly(rest: &str, host: &str) -> bool {
    rest.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#', ':']))
}

/// Shows a picture's place: nothing is loaded.
pub(crate) fn picture(html: &mut Html, address: &str, alt: &str) {
    html.wrap("span", "picture", |html| {
        html.text("Picture: ");
        link(html, "", address, |html| html.text(if alt.is_empty() { "without description" } else { alt }));
    });
}

fn safe(address: &str) -> Option<Url> {
    if address.len() > MAX_URL_BYTES {
        return None;
    }
    let url = Url::parse(address).ok()?;
    let is_safe = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    (is_safe && url.as_str().len() <= MAX_URL_BYTES).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(address: &str) -> String {
        let mut html = Html::new();
        link(&mut html, "", address, |html| html.text("go"));
        html.finish()
    }

    #[test]
    fn the_host_is_where_a_browser_would_go() {
        let start = "<a href=\"https://evil.example/@good.example\" rel=\"noreferrer noopener\">go</a>";
        assert_eq!(
            drawn("https://evil.example\\@good.example"),
            format!("{start}<span class=\"host\"> (evil.example)</span>")
        );
        assert!(drawn("https://gооd.example/").contains("(xn--"), "a homograph is shown as punycode");
    }

    #[test]
    fn nothing_but_https_is_a_link() {
        for address in [
            "http://a.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "//a",
            "",
            "https://u:p@a.example",
            "JaVaScRiPt:1",
        ] {
            let html = drawn(address);
            assert!(!html.contains("<a") && html.contains("not a link: "), "{address}: {html}");
        }
    }
}
