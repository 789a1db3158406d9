//! Files that `build.rs` embeds: the built-in formatters, the evaluator of filter expressions, and the files of a new formatter project.

include!(concat!(env!("OUT_DIR"), "/components.rs"));
include!(concat!(env!("OUT_DIR"), "/evaluator.rs"));
include!(concat!(env!("OUT_DIR"), "/project.rs"));
