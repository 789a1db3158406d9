//! The console's pages by the table of pages.

use super::*;

#[test]
fn templates_escape_everything() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/console");
    let mut read = 0;
    for file in std::fs::read_dir(folder).expect("the templates") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a template");
        for forbidden in ["|safe", "| safe", "|escape(", "escape(\"none", "<script", "style=", " onclick"] {
            assert!(!text.contains(forbidden), "{} has {forbidden}", path.display());
        }
        read += 1;
    }
    assert!(read > 5);
}

#[test]
fn a_page_is_in_the_table_once() {
    let mut seen = std::collections::HashSet::new();
    for page in PAGES {
        assert!(page.path.starts_with(ROOT), "{}", page.path);
        assert!(seen.insert((page.method.clone(), page.path)), "{} {}", page.method, page.path);
        assert!(page.method == Method::GET || page.method == Method::POST);
        assert!(page.method == Method::GET || page.roles == ADMIN, "{}: only an admin changes anything", page.path);
    }
}
