#!/usr/bin/env bash
# Train one of the released bundles anew, from dialogues to bundles/LANGUAGE:
#   bash bundles/make.sh en path/to/dialogues work/en
# path/to/dialogues has train, valid and test files. First comes whatever people say there, then everyday conversations (training/corpus/everyday)
# among a sample of it, then the game. The preset `released` gives each stage its minutes; other hardware gets further in them, or less far.
set -euo pipefail

language=$1
dialogues=$2
work=$3
rejoinder=${REJOINDER:-.venv/bin/rejoinder}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "$language" in
    zh) minutes=65 dropout=0.2 sample=34000 talk=60 talk_dropout=0.15 ;; # four times less data; a fifth of them again later
    *) minutes=140 dropout=0.1 sample=20600 talk=48 talk_dropout=0.2 ;; # all everyday conversations and some hundred others, which are longer
esac

"$rejoinder" prepare "$dialogues" --out "$work/data"
"$rejoinder" train mle --preset released --set "generator.dropout=$dropout" --set "mle.minutes=$minutes" --data "$work/data" --out "$work/open"
"$rejoinder" prepare "everyday-$language" "$dialogues"/train.* --limit "$sample" --tokenizer "$work/open/bundle" --out "$work/talk"
"$rejoinder" train mle --preset released --set "start=$work/open/bundle" --set "generator.dropout=$talk_dropout" --set "mle.minutes=$talk" \
    --set mle.learning_rate=1e-3 --set mle.warmup=100 --set mle.evaluate_every=400 --data "$work/talk" --out "$work/mle"
"$rejoinder" train cseqgan --preset released --set "start=$work/mle/bundle" --set adversarial.minutes=10 --data "$work/talk" --out "$work/cseqgan"
for held_out in data talk; do
    "$rejoinder" evaluate "MLE=$work/cseqgan/mle" "adversarial=$work/cseqgan/bundle" --data "$work/$held_out" --out "$work/report-$held_out" \
        --contexts 600
done
"$rejoinder" export "$work/cseqgan/bundle" --to compact --out "$work/$language"
"$rejoinder" export "$work/mle/bundle" --to compact --out "$work/$language-mle"
"$rejoinder" prefer "$work/$language" --top-p 0.6
for script in bundles/talk-"$language"*.txt; do
    "$rejoinder" chat "$work/$language" --seed 0 --temperature 0.7 < "$script"
done
echo "The bundles are $work/$language and $work/$language-mle; look at $work/report-*/report.html before they replace any."
