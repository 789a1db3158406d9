//! What an author sees: the report on a bad file, and the way from nothing to a delivery, as it is told in
//! `formatters/AUTHORS.md`.

mod misfits;
mod transcript;
