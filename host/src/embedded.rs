//! What the build made and collected: the program's own formatters, and what a new formatter project is made of. No
//! more than bytes here.

include!(concat!(env!("OUT_DIR"), "/components.rs"));
include!(concat!(env!("OUT_DIR"), "/project.rs"));
