#!/usr/bin/env bash
# Draws docs/pictures/*.dot as SVG, by Graphviz: ./run pictures
set -euo pipefail
cd "$(dirname "$0")"
for source in *.dot; do
  # Comments of Graphviz's name its version, which says nothing of the picture.
  dot -Tsvg "$source" | sed '/^<!--/d; /^ -->/d' >"${source%.dot}.svg"
done
