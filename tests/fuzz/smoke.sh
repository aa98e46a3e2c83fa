#!/bin/sh
# Runs one fuzz target with a scratch corpus of its own: smoke.sh PROGRAM SCRATCH ARGUMENTS...
program=$1
scratch=$2
shift 2
mkdir -p "$scratch" || exit 1
cd "$scratch" || exit 1
exec "$program" "$scratch" "$@"
