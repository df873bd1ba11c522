# What a developer runs. `just test` is what continuous integration runs.

# List the recipes
default:
    @just --list --unsorted

# Every check and test
test:
    scripts/test

# See it work: publish events, deliver and check them (just quickstart --exit)
quickstart *ARGS:
    cargo run --release -- quickstart {{ ARGS }}

# Run the platform on ./posthorn-data
serve *ARGS:
    cargo run --release -- serve {{ ARGS }}

# Measure with the project's own load generator (just bench --rate 100)
bench *ARGS:
    cargo run --release -- bench {{ ARGS }}

# Format the code
fmt:
    cargo fmt --all

# Lints; warnings are errors
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Licences, sources, banned crates, advisories (deny.toml)
audit:
    cargo deny check

# Make docs/openapi.json anew from the code
openapi:
    cargo run -q -- openapi > docs/openapi.json
