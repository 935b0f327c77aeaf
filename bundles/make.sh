#!/usr/bin/env bash
# Train one of the released bundles anew, from dialogues to bundles/LANGUAGE:
#   bash bundles/make.sh en path/to/dialogues work/en
# The preset `released` gives each stage its minutes; other hardware gets further in them, or less far.
set -euo pipefail

language=$1
dialogues=$2
work=$3
rejoinder=${REJOINDER:-.venv/bin/rejoinder}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "$language" in
    zh) dropout=0.2 ;; # four times less data
    *) dropout=0.1 ;;
esac

"$rejoinder" prepare "$dialogues" --out "$work/data"
"$rejoinder" train mle --preset released --set "generator.dropout=$dropout" --data "$work/data" --out "$work/mle"
"$rejoinder" train cseqgan --preset released --set "start=$work/mle/bundle" --data "$work/data" --out "$work/cseqgan"
"$rejoinder" evaluate "MLE=$work/cseqgan/mle" "adversarial=$work/cseqgan/bundle" --data "$work/data" --out "$work/report" --contexts 600
"$rejoinder" export "$work/cseqgan/bundle" --to compact --out "$work/$language"
"$rejoinder" export "$work/mle/bundle" --to compact --out "$work/$language-mle"
"$rejoinder" chat "$work/$language" --seed 0 < "bundles/talk-$language.txt"
echo "The bundles are $work/$language and $work/$language-mle; look at $work/report/report.html before they replace any."
