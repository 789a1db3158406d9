//! Compiling, linking and calling components. Only this folder names wasmtime.
//!
//! [`compile`] turns a component into machine code, in a [`child`] process and through the [`code_cache`]. A
//! [`sandbox`] loads the code into one of its [`engine`]s, links it with the host's one import and runs each
//! [`call`] in a fresh [`instance`] within [`limits`] and on [`terms`].

mod backtrace;
mod bindings;
mod call;
mod child;
mod code_cache;
mod compile;
mod engine;
mod error;
mod instance;
mod library_errors;
mod limits;
mod payload;
mod sandbox;
mod terms;

pub use child::{CHILD_COMMAND, compile_for_parent};
pub use code_cache::{CodeCache, code_cache_key};
pub use compile::Compiler;
pub use error::{Limit, RenderError};
pub use instance::{LogLevel, LogLine};
pub use limits::{DIGEST_FACTOR, DIGEST_INPUT_BYTES, Limits, Size};
pub use payload::{Digested, Payload, Verdict};

pub(super) use call::Called;
pub(super) use compile::ComponentCompiler;
pub(super) use engine::Compiled;
pub(super) use error::{CompileError, LinkError, LoadError};
pub(super) use sandbox::{Abilities, Linked, Sandbox};
pub(super) use terms::{LONG, OnLong, TOO_LONG_HERE, Terms};
