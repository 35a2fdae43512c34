#!/bin/bash
# The transfer matrix with the ways "calibrated" and "adapted-calibrated" on one GPU; cells that are there are kept.
# DEADLINE: seconds in all. TAR: transfer/ (cells so far) and trained/crowds. OUT: a folder for transfer/.
DEADLINE=${DEADLINE:-200} TAR=${TAR:-carry.tar.gz} OUT=${OUT:-out} PROCESSES=${PROCESSES:-14}
BEGUN=$(date +%s)
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0} OMP_NUM_THREADS=1
export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps CUDA_MPS_LOG_DIRECTORY=/tmp/mps
nvidia-cuda-mps-control -d 2>/dev/null
mkdir -p "$OUT"; tar xzf "$TAR" -C . trained; [ -d "$OUT/transfer" ] || tar xzf "$TAR" -C "$OUT" transfer
LEFT=$((DEADLINE - 30 - $(date +%s) + BEGUN))
timeout -s INT $((DEADLINE - 10)) python -m eos_platform.analysis.transfer bundled-small bundled-small-v2 bundled-qwen bundled-gemma \
  bundled-smolvlm bundled-onevision trained/crowds:crowds --budgets .2,.15 \
  --ways calibrated,adapted-calibrated,zero-shot,adapted --processes "$PROCESSES" --seconds "$LEFT" --out "$OUT/transfer" > "$OUT/transfer.log" 2>&1
grep -v '^|' "$OUT/transfer.log" | tail -3
python - "$OUT/transfer/cells.jsonl" <<'P'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
good = {r["key"]: r for r in rows if r["status"] == "measured"}
anew = {(r["place"], r["budget"]): r["accuracy"] for r in good.values() if r["kind"] == "searched anew"}
for budget in (0.2, 0.15):
    for kind in ("zero-shot", "calibrated", "adapted", "adapted-calibrated"):
        some = [r for r in good.values() if r["kind"] == kind and r["budget"] == budget]
        kept = [r["accuracy"] / anew[r["place"], budget] for r in some]
        if not kept:
            continue
        by = {p: [k for k, r in zip(kept, some) if r["place"] == p] for p in {r["place"] for r in some}}
        print(f"{budget} {kind:18s} cells {len(kept)} mean {100 * sum(kept) / len(kept):.1f} >=95%: {sum(k >= .95 for k in kept)}"
              f" s {sum(r['seconds'] for r in some) / len(some):.0f} |", *(f"{p.split('/')[-1].split(':')[0].removeprefix('bundled-')}"
              f" {100 * sum(v) / len(v):.1f}({len(v)})" for p, v in sorted(by.items())))
bad = [r for r in rows if r["status"] != "measured" and r["key"] not in good]
print(len(bad), "refused", *(f"{r['key']}: {r['reason'][:120]}" for r in bad[:4]), sep="\n  ")
P
