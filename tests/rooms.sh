#!/bin/sh
# The arrow of inclusion: config <- drivers <- dataplane <- control, and nothing includes tests or tools.
# Usage: rooms.sh SOURCE_ROOT. Prints each offending line.
cd "${1:-.}" || exit 1
status=0

# deny ROOM REGEX: no include of the room may match.
deny() {
    if grep -rnE "^ *# *include *[<\"]($2)" --include='*.[ch]' "$1"; then
        echo "rooms: $1/ may not include the above" >&2
        status=1
    fi
}

for room in config drivers dataplane control tools tests; do
    if [ ! -d "$room" ]; then
        echo "rooms: $room/ is missing" >&2
        status=1
    fi
done
deny config    '\.\./|(drivers|dataplane|control|tests|tools)/|rte_|liburing'
deny drivers   '\.\./|(dataplane|control|tests|tools)/'
deny dataplane '\.\./|(control|tests|tools)/|liburing|rte_(eal|ethdev|lcore|cycles)'
deny control   '\.\./|(tests|tools)/|liburing|rte_'
deny tools     '\.\./|(control|tests)/'
# pollux-bench is a client of our own stack; the other tools know a server only from outside.
if grep -rnE '^ *# *include *"(drivers|dataplane)/' --include='*.[ch]' tools |
    grep -vE '^tools/pollux-bench/[a-z0-9_]+\.[ch]:[0-9]+:#include "(drivers/(clock|packet|dpdk/dpdk)|dataplane/net/(net|checksum))\.h"'; then
    echo "rooms: tools/ may not include the above" >&2
    status=1
fi

# Includes of our own files are written from the repository root, so that the lines above see them.
if grep -rnE '^ *# *include *"' --include='*.[ch]' config drivers dataplane control |
    grep -vE 'include *"(config|drivers|dataplane|control)/'; then
    echo "rooms: write includes from the repository root" >&2
    status=1
fi
exit $status
