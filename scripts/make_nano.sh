#!/usr/bin/env bash
# Everything that made the embedded model, from nothing: textures, scenes, codec, stages, scores, files.
# Needs a Debian or Ubuntu machine (for the photographs), the extra [synth], and some hours on two cores.
# Interrupted, it goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
stablemtl=${STABLEMTL:-.venv/bin/stablemtl}

# 1. Photographs and textures that Debian distributes freely; sources and licences are in the model card.
mkdir -p data/textures
for package in plasma-workspace-wallpapers gnome-backgrounds mate-backgrounds lomiri-wallpapers-20.04 openarena-081-textures; do
    target=data/textures/x_$package
    [ -d "$target" ] && continue
    rm -rf data/packages && mkdir -p data/packages
    (cd data/packages && apt-get download "$package")
    dpkg -x data/packages/*.deb "$target.part"
    pack=$(find "$target.part" -name 'pak4-textures.pk3')
    [ -z "$pack" ] || python3 -m zipfile -e "$pack" "$target.part/pk"
    mv "$target.part" "$target"
done

# 2. Scenes, 96x128 px. Held-out ones use other random numbers and other textures.
synth() { "$stablemtl" synth --out data/mini --textures data/textures "$@"; }
synth --split test --worlds things --count 60
synth --split test --worlds rooms --count 20      # three views each
synth --split test --worlds streets --count 30    # three frames each
synth --split test --worlds cutouts --count 60
synth --worlds cutouts --count 6000
synth --worlds things rooms streets --count 168

# 3. Training; the options are in src/stablemtl/recipes/nano.py.
for recipe in nano-codec nano-flow nano-stage1 nano-stage2; do
    "$stablemtl" train "$recipe"
done

# 4. Scores, and the files of the package.
"$stablemtl" evaluate --data data/mini --model runs/nano-stage2/pipeline --out runs/nano-report.json
mkdir -p src/stablemtl/assets/nano
cp -r runs/nano-stage2/pipeline/. src/stablemtl/assets/nano/
