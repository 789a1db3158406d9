//! Strict JSON (a subset of RFC 8259), so that every reader of a text sees the same value in it.
//!
//! - `check`: [`decode`] requires UTF-8 without a byte order mark; [`check()`] rejects the inputs on which parsers are
//!   known to disagree (duplicate members, lone surrogates) and nesting deeper than [`MAX_DEPTH`].
//! - `scan`: the same decision in one quick pass over the bytes, for texts without anything unusual.
//! - `canonical`: the digest of a value, independent of its spelling.
//! - `number`: numbers by their exact decimal value, however large or long.
//! - [`fields`]: reads an object member by member and collects every [`fault`].
//!
//! Texts are never serialised again: whatever is stored or passed on is a slice of the input.

mod canonical;
mod check;
pub mod fault;
pub mod fields;
mod number;
mod scan;

pub use canonical::{Digest, MAX_DEPTH};
pub use check::{Document, SyntaxError, check, check_elements, check_part, decode, elements, is_array, lines};

#[cfg(fuzzing)]
pub(crate) use number::fuzzing as fuzz_numbers;
