"""The names under which everything is logged: one scheme, used by the writer, the reader and the tests.

Metrics without a prefix are of the deployed operator on validation questions; ``heldout_`` is the final comparison;
``search/`` are curves over the steps of one search (of the relaxed form, never to be reported as results).
"""

from __future__ import annotations

CURVE = "search/"
HELDOUT = "heldout_"

ACCURACY, COMPUTE_RATIO, MEAN_TOKENS, TOKENS_LEFT = "accuracy", "compute_ratio", "mean_tokens", "tokens_left"
RELAXED_ACCURACY, SAMPLES, SECONDS = "relaxed_accuracy", "samples", "seconds"
HELDOUT_ACCURACY, HELDOUT_LOW, HELDOUT_HIGH = "heldout_accuracy", "heldout_accuracy_low", "heldout_accuracy_high"
QUESTIONS = "heldout_questions"
COUNTED_FLOPS, WHOLE_MODEL_RATIO = "counted_flops", "whole_model_ratio"
PREFILL_MS, MEMORY_MB = "prefill_ms", "prefill_memory_mb"

OPERATOR_FILE, STUDY_FILE, FAILURE_FILE = "operator.json", "study.yaml", "failure.txt"

# tags
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
COLOR = "mlflow.runColor"
UID = "eos.study_uid"  # of the Optuna study: a name may be used again
KIND = "eos.kind"  # study | trial | baseline; of a comparison: study | operator
KEY = "eos.key"  # of a comparison's record
TRIAL = "eos.trial"
RAY_ID = "eos.ray_trial_id"
RETRY_OF = "eos.retry_of"
STATE = "eos.state"  # running | complete | pruned | failed | interrupted
FAILURE = "eos.failure"
PLAN = "eos.plan."  # how the study is run: trials, sampler, seed
FAMILY, REGIME, PARETO, DESIGN = "family", "regime", "pareto", "design"
VARIANT = "variant"  # of a hand-designed operator: published | tuned | given

COLORS = {"searched": "#2a78d6", "hand-designed": "#8a8f98", "unreduced": "#1b1f24"}


def curve(name: str) -> str:
    """The metric of a search's step curve."""
    return CURVE + name


def skill(name: str) -> str:
    """The metric of held-out accuracy at one kind of question."""
    return f"{HELDOUT_ACCURACY}/{name}"
