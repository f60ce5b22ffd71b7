#!/bin/bash
# The web page in Debian's Chromium, and the alert rules in Debian's Prometheus. Whichever of the
# two is missing is left out with a reason. WEB_SCREENSHOTS=FOLDER keeps pictures of the page.
set -euo pipefail
cd "$(dirname "$0")/.."

tests=()
if command -v "${CHROMIUM:-chromium}" >/dev/null; then
    tests+=(page.test.ts)
else
    echo "SKIPPED: the page in a browser: it needs chromium (apt-get install chromium)"
fi
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    tests+=(prometheus.test.ts)
else
    echo "SKIPPED: the alert rules: they need prometheus (apt-get install prometheus)"
fi
[ ${#tests[@]} -gt 0 ] || exit 0
exec bin/node node_modules/vitest/vitest.mjs run --config web-tests/vitest.config.ts "${tests[@]}"
