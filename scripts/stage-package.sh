#!/bin/bash
# Lays out what every package of aoed holds: JavaScript instead of TypeScript (ADR 27), the two
# starters, and the manifest.
#
#   scripts/stage-package.sh FOLDER [VERSION]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1 version=${2:-}

rm -rf "$folder"
mkdir -p "$folder/bin"
bin/node node_modules/typescript/bin/tsc -p packaging --outDir "$folder/lib"
# What the sources read beside themselves, such as pages, goes along.
(cd src && find . -type f ! -name '*.ts' -exec cp --parents {} "$folder/lib/" \;)

# The compiler renames what is imported, and no file that is named elsewhere.
if grep -rnE '"\.{1,2}/[^"]*\.ts"' "$folder/lib" --include='*.js'; then
    echo "stage-package: the lines above name TypeScript files, which the package does not have" >&2
    exit 1
fi

cp LICENSE README.md bin/node "$folder/"
mv "$folder/node" "$folder/bin/node"
sed 's#/src/cli/aoed\.ts#/lib/cli/aoed.js#' bin/aoed >"$folder/bin/aoed"
chmod 755 "$folder/bin/aoed"
grep -q '/lib/cli/aoed.js' "$folder/bin/aoed"
# shellcheck disable=SC2086
bin/node packaging/manifest.ts $version >"$folder/package.json"
