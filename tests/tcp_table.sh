#!/bin/sh
# docs/tcp.md names the test for each requirement: every one of them has to exist.
# Usage: tcp_table.sh SOURCE_ROOT. Prints each row that is wrong.
cd "${1:-.}" || exit 1
table=docs/tcp.md
status=0

complain() {
    echo "tcp_table: $*" >&2
    status=1
}

# named TOKEN: the script, unit test or file of that name is there.
named() {
    case $1 in
    'test_'*': '*)
        file=$(find tests/unit -name "${1%%: *}.c")
        [ -n "$file" ] && grep -qE "^Test\([a-z0-9_]+, ${1#*: }[,)]" "$file"
        ;;
    *.pkt)
        # shellcheck disable=SC2086 # a name may stand for several
        ls tests/net/scripts/$1 >/dev/null 2>&1
        ;;
    *)
        [ -e "$1" ]
        ;;
    esac
}

# Each name, one a line; names of directives and the like have neither slash nor colon.
names=$(sed -n '/^## /,$p' "$table" | grep -o '`[^`]*`' | tr -d '`' | grep -E '/|^test_' | sort -u)
[ "$(echo "$names" | wc -l)" -gt 200 ] || complain "$table has lost its names"
while IFS= read -r name; do
    named "$name" || complain "$name does not exist"
done <<LIST
$names
LIST

# Every MUST has one row, and every row a test, another row or a reason.
for number in $(seq 1 69); do
    [ "$(grep -c "^| MUST-$number |" "$table")" -eq 1 ] || complain "MUST-$number has no row of its own"
done
grep '^| ' "$table" | grep -vE '^\| (no\.|RFC|stack|---)' | while IFS= read -r row; do
    last=${row%|*}
    echo "${last##*|}" | grep -qE '/[a-z0-9_*]+\.|`test_|\*\*no\*\*|as (MUST|above)' || echo "$row"
done | { ! grep . >&2; } || complain "the rows above name no test"
exit $status
