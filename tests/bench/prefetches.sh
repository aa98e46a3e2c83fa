#!/bin/sh
# Whether entries are prefetched at all: nothing but the speed of a large keyspace shows it, and
# link-time optimisation has dropped the calls before (see table_prefetch_entry).
# Usage: prefetches.sh POLLUXD
command -v objdump >/dev/null || exit 77
objdump -d --no-show-raw-insn "$1" |
    grep -qE '[[:space:]](callq?|jmpq?|bl?)[[:space:]].*<table_prefetch_entry>' || {
    echo "prefetches: $1 never calls table_prefetch_entry" >&2
    exit 1
}
