#!/usr/bin/env bash
# The two ways of somebody new, as the pages tell them, carried out and timed.
#
#   scripts/newcomer.sh page    from clone to the page in a browser           (docs/index.md)
#   scripts/newcomer.sh data    from 20 images of your own to a model         (docs/own-data.md)
#   scripts/newcomer.sh         both, one after the other
#
# In an empty folder that is removed at the end, with a copy of what is committed here. Setting up the environment needs
# a package index. VENV=PATH takes an environment that is there already, and leaves that step out.
set -euo pipefail

what=${1:-both}
case $what in page | data | both) ;; *) echo "usage: scripts/newcomer.sh [page|data]" >&2; exit 2 ;; esac

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
place=$(mktemp -d)
app=
finish() {
    [ -z "$app" ] || kill "$app" 2>/dev/null || true
    rm -rf "$place"
}
trap finish EXIT

names=() times=()
step() { # NAME COMMAND...: run, and note how long it took
    local name=$1 start end
    shift
    printf '\n== %s\n$ %s\n' "$name" "$*"
    start=$(date +%s.%N)
    "$@"
    end=$(date +%s.%N)
    names+=("$name")
    times+=("$(awk -v a="$start" -v b="$end" 'BEGIN { printf "%.1f", b - a }')")
}

set_up() {
    cd "$place"
    step 'clone' git clone --quiet "$REPOSITORY" stablemtl
    cd stablemtl
    if [ -n "${VENV:-}" ]; then
        ln -s "$(cd "$VENV" && pwd)" .venv
        export PYTHONPATH="$PWD/src"
        step 'seven maps of an example pair' .venv/bin/python -m stablemtl demo --out demo
    else
        step 'make demo: environment, seven maps of an example pair' make demo
    fi
}

stablemtl() {
    if [ -n "${VENV:-}" ]; then .venv/bin/python -m stablemtl "$@"; else .venv/bin/stablemtl "$@"; fi
}

page() {
    [ -n "${VENV:-}" ] || step 'what the page needs' .venv/bin/pip install --quiet -c constraints.txt -e '.[app]'
    step 'the page is served' serve
    [ -n "${VENV:-}" ] || .venv/bin/pip install --quiet -c constraints.txt playwright # drives the browser, in a newcomer's place
    step 'a browser shows it' look
}

serve() { # until it answers
    stablemtl app --no-open-browser --port 0 >app.log 2>&1 &
    app=$!
    for _ in $(seq 600); do
        url=$(grep -o 'http://127[^ ]*' app.log || true)
        if [ -n "$url" ] && .venv/bin/python -c "import urllib.request as u; u.urlopen('$url').read()" 2>>app.log; then
            return 0
        fi
        kill -0 "$app" 2>/dev/null || break
        sleep 0.1
    done
    cat app.log >&2
    return 1
}

look() { # the button is there, and after a press on "Example" and "Predict" so are the maps
    .venv/bin/python - "$url" <<'PYTHON'
import os
import shutil
import sys

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sys.exit("playwright is not installed: the page was served, but not looked at")
browser_path = os.environ.get("BROWSER_PATH") or shutil.which("chromium") or shutil.which("google-chrome")
with sync_playwright() as play:
    browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page()
    page.goto(sys.argv[1])
    page.set_default_timeout(300_000)
    page.click("#smtl-example")
    page.wait_for_selector("#smtl-second img")
    page.click("#smtl-predict")
    page.wait_for_selector("#smtl-download:not([disabled])")
    print(page.title(), "shows", page.inner_text("#smtl-summary"))
    browser.close()
PYTHON
}

data() {
    step 'twenty labelled images' .venv/bin/python examples/own_data/make_data.py data/photos
    step 'check them' stablemtl data check data
    step 'look at one' stablemtl data show photos 7 --root data --out sample.png
    step 'train 60 steps' stablemtl train nano-stage1 --data.root data --data.pairs None --init nano \
        --out runs/photos --loop.steps 60 --loop.batch-size 4 --loop.learning-rate 1e-4
    step 'predict' stablemtl predict data/photos/wall_5.jpg --next data/photos/wall_5_next.jpg \
        --model runs/photos/pipeline --out maps
    step 'evaluate before' stablemtl evaluate --data data --model nano --single-stream --out before
    step 'evaluate after' stablemtl evaluate --data data --model runs/photos/pipeline --out after
    step 'compare' stablemtl compare before/report.json after/report.json
}

set_up
[ "$what" = data ] || page
[ "$what" = page ] || data

printf '\n%8s  %s\n' seconds step
total=0
for i in "${!names[@]}"; do
    printf '%8s  %s\n' "${times[$i]}" "${names[$i]}"
    total=$(awk -v a="$total" -v b="${times[$i]}" 'BEGIN { print a + b }')
done
printf '%8.1f  in all\n' "$total"
