#!/bin/sh
# Runs one fuzz target with a scratch corpus of its own: smoke.sh PROGRAM SCRATCH ARGUMENTS...
# Meson names the program from the build folder, and findings go to the scratch folder.
program=$(realpath "$1") || exit 1
scratch=$2
shift 2
mkdir -p "$scratch" || exit 1
cd "$scratch" || exit 1
# libFuzzer exits with 77 for a finding, which Meson takes for a test that was skipped.
"$program" "$scratch" "$@" || exit 1
