//! `draw CONTENT-TYPE FILE..` writes each body as a document to standard output; a golden file's body needs no type.

use std::io::Write;

use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let content_type = arguments.next().ok_or("usage: draw CONTENT-TYPE FILE..")?;
    let mut out = std::io::stdout().lock();
    for file in arguments {
        let bytes = std::fs::read(&file)?;
        let golden = serde_json::from_slice::<Value>(&bytes).ok();
        let body = golden.as_ref().and_then(|golden| golden.get("content_type").and(golden.get("body")));
        let body = body.map_or(bytes.clone(), |body| body.to_string().into_bytes());
        writeln!(out, "{}", heraldry_looks::draw(&content_type, &body).document())?;
    }
    Ok(())
}
