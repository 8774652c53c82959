#!/usr/bin/env bash
# Regenerates the goldens with PyTorch and transformers, compares them with the committed ones, and holds `fovea look` to
# every attention weight of a 256-token text. Called by `./check --oracles`, which builds build/fovea first.
#   FOVEA_ORACLE_PYTHON  an interpreter that has requirements.txt already; otherwise build/oracles/venv is made
#   FOVEA_MINILM         the folder of all-MiniLM-L6-v2; otherwise it is fetched
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/steps.sh"

readonly kHere=tests/golden kWork=build/oracles

python=${FOVEA_ORACLE_PYTHON:-}
if [[ -z $python ]]; then
  python=$kWork/venv/bin/python
  if ! cmp -s $kHere/requirements.txt $kWork/venv/requirements.txt; then
    step "oracle venv" python3 -m venv --clear $kWork/venv
    step "oracle packages" "$python" -m pip install --quiet --disable-pip-version-check -r $kHere/requirements.txt
    cp $kHere/requirements.txt $kWork/venv/requirements.txt  # last: a venv that has it is whole
  fi
fi
if [[ -z ${FOVEA_MINILM:-} ]]; then
  scripts/fetch-minilm
  export FOVEA_MINILM=build/models/minilm
fi
export PYTHONDONTWRITEBYTECODE=1

rm -rf $kWork/data
mkdir -p $kWork/data
for script in "$kHere"/*_goldens.py; do
  name=$(basename "$script" _goldens.py)
  step "oracle $name" "$python" "$script" --model "$FOVEA_MINILM" --out $kWork/data
done
step "same goldens" "$python" $kHere/compare.py goldens $kHere/data $kWork/data
tail -n 1 $kLogs/same-goldens.log

rm -rf $kWork/sentences
step "sentences" build/fovea train demo --pairs 1000 --write-sentences $kWork/sentences
step "demo model" "$python" $kHere/demo_translations.py build/fovea demo/model $kWork/sentences
tail -n 1 $kLogs/demo-model.log

# Without --out the script prints only where --full went, then the text.
"$python" $kHere/minilm_goldens.py --model "$FOVEA_MINILM" --full $kWork/long.safetensors 2>/dev/null | tail -n 1 >$kWork/long.txt
step "fovea look" build/fovea look --model "$FOVEA_MINILM" --export $kWork/fovea.safetensors "$(<$kWork/long.txt)"
step "256 tokens" "$python" $kHere/compare.py export $kWork/long.safetensors $kWork/fovea.safetensors
tail -n 1 $kLogs/256-tokens.log
