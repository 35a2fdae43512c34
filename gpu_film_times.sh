#!/bin/bash
# Prefill times of operators on films at the size of Qwen2.5-VL-7B (random weights): one H200, under a minute.
# OUT: a folder for film-times.jsonl
set -e
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0} OMP_NUM_THREADS=4
python -m eos_platform.analysis.experiments.films.times --seconds 50 --out "${OUT:-.}/film-times.jsonl"
