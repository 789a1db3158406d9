/target
/*.wasm
