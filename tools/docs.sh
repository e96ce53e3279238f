#!/usr/bin/env bash
# The reference pages, from the code's own tables and the binary's own help.
#   tools/docs.sh           writes docs/{CONFIG,METRICS,SCHEMA,ERRORS,CLI}.md and the table in docs/BUFFER.md
#   tools/docs.sh --check   shows how they differ from what the code says; exit code 1 if they do
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
bluelake=$build/bluelake
pages=$build/tools/bluelake_docs
for binary in "$bluelake" "$pages"; do
    [ -x "$binary" ] || { echo "docs: $binary is not built: make build" >&2; exit 1; }
done

cli() {
    printf '# Command line\n\nGenerated from `bluelake COMMAND --help`; `make docs` renews it.\n\n```\n'
    "$bluelake" --help
    printf '```\n\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 verification found differences.\n'
    sed -n 's/^COMMAND(\([a-z]*\),.*/\1/p' src/cmd/commands.def | while read -r command; do
        printf '\n## %s\n\n```\n' "$command"
        "$bluelake" "$command" --help
        printf '```\n'
    done
}

# The audit's table replaces the one that stands in the page.
buffer() {
    "$pages" audit >"$1/audit"
    awk -v table="$1/audit" '
        /^\| setting \| required \|/ { while ((getline line < table) > 0) print line; skip = 1 }
        skip && !/^\|/ { skip = 0 }
        !skip' docs/BUFFER.md
    rm "$1/audit"
}

generate() {
    env -i PATH="$PATH" "$bluelake" config --document >"$1/CONFIG.md"
    for page in metrics schema errors; do "$pages" $page >"$1/${page^^}.md"; done
    cli >"$1/CLI.md"
    buffer "$1" >"$1/BUFFER.md"
}

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
generate "$made"
if [ "${1:-}" = --check ]; then
    stale=0
    for page in "$made"/*.md; do
        diff -u "docs/$(basename "$page")" "$page" --label "docs/$(basename "$page")" --label generated || stale=1
    done
    [ $stale = 0 ] || { echo "docs: stale pages: make docs renews them"; exit 1; }
    echo "docs: $(ls "$made" | wc -l) generated pages are up to date"
else
    cp "$made"/*.md docs/
    echo "docs: wrote $(cd "$made" && echo *.md)"
fi
