#!/usr/bin/env bash
# Builds the Debian package, and prints its name. It needs cargo-deb (`cargo install cargo-deb --locked`) and Debian's
# dpkg-dev, which finds out what libraries the program needs. What is in the package is said in Cargo.toml.
#
#   packaging/build-deb.sh [OPTIONS OF CARGO DEB]
set -euo pipefail

cd -- "$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"
# Files of the package get the rights that they have here.
umask 022

if ! command -v cargo-deb >/dev/null; then
    printf 'cargo-deb is missing; install it: cargo install cargo-deb --locked\n' >&2
    exit 2
fi
cargo build --release --locked --bin portreeve
target=$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
# Below target/release, which is where Cargo.toml looks for them, wherever that may be.
packaging/docs.sh "$target/release/portreeve" "$target/release/packaging"
# Without names and times in them, so that the same pages always give the same files.
gzip -9n "$target/release/packaging/man/"*.1
# The lines of a release build are for whoever looks into a crash of a checkout; they are four fifths of the program.
cargo deb --no-build --locked --strip "$@"
