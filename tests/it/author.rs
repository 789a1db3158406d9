//! The tools of formatter authors: the reports on rejected files, and the transcripts of `formatters/AUTHORS.md`.

mod rejected;
mod transcript;
