//! Texts of cards as Microsoft's renderer gives them; card_texts.mjs makes the fixtures.

use std::path::Path;

use heraldry_looks::{Language, draw};
use serde_json::Value;

use crate::page;

#[test]
fn cards_read_as_with_the_reference_renderer() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cards.json");
    let fixtures: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let fixtures = fixtures.as_object().unwrap();
    assert!(fixtures.len() >= 8);
    for (name, fixture) in fixtures {
        let drawing = draw("application/json", fixture["card"].to_string().as_bytes());
        assert_eq!(drawing.language, Language::Cards, "{name}");
        assert_eq!(page::message(&drawing), page::squeezed(fixture["text"].as_str().unwrap()), "{name}");
    }
}
