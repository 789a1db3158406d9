[package]
name = "{{name}}"
version = "0.1.0"
edition = "2024"
rust-version = "1.95"
publish = false

[dependencies]
heraldry-formatter = { path = "vendor/heraldry-formatter" }
serde = { version = "1", features = ["derive"] }
serde_json = { version = "1", features = ["raw_value"] }

[dev-dependencies]
heraldry-formatter = { path = "vendor/heraldry-formatter", features = ["testing"] }

# The profile of `heraldry formatter build`: optimized, without unwinding; function names stay, so that backtraces are readable.
[profile.formatter]
inherits = "release"
opt-level = 3
lto = true
codegen-units = 1
panic = "abort"
strip = "debuginfo"

[workspace]
