#!/usr/bin/env bash
# Train one of the released bundles anew, from dialogues to bundles/LANGUAGE:
#   bash bundles/make.sh en path/to/dialogues work/en
# The preset `released` sets the minutes of each stage; with less or other hardware the result differs.
set -euo pipefail

language=$1
dialogues=$2
work=$3
rejoinder=${REJOINDER:-.venv/bin/rejoinder}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

"$rejoinder" prepare "$dialogues" --out "$work/data"
"$rejoinder" train mle --preset released --data "$work/data" --out "$work/mle"
"$rejoinder" train cseqgan --preset released --data "$work/data" --out "$work/cseqgan" --set "start=$work/mle/bundle"
"$rejoinder" evaluate "MLE=$work/cseqgan/mle" "adversarial=$work/cseqgan/bundle" --data "$work/data" --out "$work/report"
# `mle` is the likelihood model with the pretrained discriminator beside it: what the evaluation found no worse than more.
"$rejoinder" export "$work/cseqgan/mle" --to compact --out "bundles/$language"
"$rejoinder" chat "bundles/$language" --best-of 8 --seed 0 < "bundles/talk-$language.txt"
