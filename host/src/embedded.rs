//! The program's own formatters, as the build made them. No more than bytes here.

include!(concat!(env!("OUT_DIR"), "/components.rs"));
