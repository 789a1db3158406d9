node_modules/
*.wasm
