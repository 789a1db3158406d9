.venv/
__pycache__/
*.wasm
