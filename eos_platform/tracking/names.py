"""The names under which everything is logged: one scheme, used by the writer, the reader and the tests.

Metrics without a prefix are of the deployed operator on validation questions; ``heldout_`` is the final comparison;
``search/`` are curves over the steps of one search (of the relaxed form, never to be reported as results). ``MEANING``
says what each one is; a study's parent run shows it.
"""

from __future__ import annotations

from eos_platform.dashboards.palette import FAMILIES

CURVE = "search/"
FRONT_LINE = "front/"
HELDOUT = "heldout_"

ACCURACY, COMPUTE_RATIO, MEAN_TOKENS, TOKENS_LEFT = "accuracy", "compute_ratio", "mean_tokens", "tokens_left"
RELAXED_ACCURACY, SAMPLES, SECONDS = "relaxed_accuracy", "samples", "seconds"
HELDOUT_ACCURACY, HELDOUT_LOW, HELDOUT_HIGH = "heldout_accuracy", "heldout_accuracy_low", "heldout_accuracy_high"
QUESTIONS = "heldout_questions"
COUNTED_FLOPS, WHOLE_MODEL_RATIO = "counted_flops", "whole_model_ratio"
PREFILL_MS, MEMORY_MB = "prefill_ms", "prefill_memory_mb"
HYPERVOLUME, FRONT_SIZE = "hypervolume", "front_size"
LOSS, SOFT_RATIO = "search/loss", "search/soft_compute_ratio"

MEANING = {
    ACCURACY: "share of validation questions the deployed operator answers exactly",
    COMPUTE_RATIO: "FLOPs of the language model's prefill with the operator over those without, its own cost included",
    MEAN_TOKENS: "visual tokens entering a decoder layer, on average",
    TOKENS_LEFT: "visual tokens after the last site",
    SAMPLES: "questions the search has seen, with repetition",
    SECONDS: "wall time of the search",
    HELDOUT_ACCURACY: "share of held-out questions answered exactly; no search has seen them",
    HELDOUT_LOW: "its 95 % interval (Wilson), lower end",
    HELDOUT_HIGH: "its upper end",
    QUESTIONS: "held-out questions asked",
    f"{HELDOUT_ACCURACY}/<skill>": "the same for one kind of question",
    COUNTED_FLOPS: "FLOPs counted while the model ran",
    WHOLE_MODEL_RATIO: "compute ratio with the vision tower",
    PREFILL_MS: "time of a prefill, milliseconds",
    MEMORY_MB: "its peak memory, megabytes",
    f"{CURVE}<name>": "a curve over the steps of one search, of the relaxed operator: never a result",
    f"{FRONT_LINE}<name>": "of the run `front`: points of the front by rising cost, one a step",
    HYPERVOLUME: "of a study: the area under its front of accuracy and compute ratio",
    FRONT_SIZE: "of a study: operators on its front, by held-out questions",
}

# files
OPERATOR_FILE, STUDY_FILE, FAILURE_FILE, ENVIRONMENT_FILE = (
    "operator.json",
    "study.yaml",
    "failure.txt",
    "environment.json",
)
SITES_PICTURE, KEPT_PICTURE, KEPT_FILE = "sites.png", "kept.png", "kept.json"
ANSWERS_FILE = "answers.json"  # example questions of the task, asked of the deployed operator on held-out pictures

# tags
PREFIX = "eos."
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
COLOR = "mlflow.runColor"
UID = "eos.study_uid"  # of the Optuna study: a name may be used again
KIND = "eos.kind"  # study | trial | baseline; of a comparison: study | operator
FRONT_OF = "eos.front_of"  # of the run that draws the front: the study's uid
KEY = "eos.key"  # of a comparison's record
TRIAL = "eos.trial"
RAY_ID = "eos.ray_trial_id"
RETRY_OF = "eos.retry_of"
STATE = "eos.state"  # running | complete | pruned | failed | interrupted
FAILURE = "eos.failure"
ORDER = "eos.order"  # what a view lists first: see ORDERS
SHOWN = "eos.shown"  # the study's uid on the runs that the view of the front shows, else "no"
OBJECTIVES = "eos.objectives"  # of a study: JSON, see ``objectives.to_json``
PLAN = "eos.plan."  # how the study is run: trials, sampler, seed
FAMILY, REGIME, PARETO, DESIGN = "family", "regime", "pareto", "design"
VARIANT = "variant"  # of a hand-designed operator: published | tuned | given
VIEW = "mlflow.sharedViewState."

COLORS = {**FAMILIES, "dominated": "#a3c9e0"}  # a pale SEARCHED
# MLflow's page takes a hundred runs, and needs seconds to sort thousands by a tag: the view shows the front, what it is
# compared with, and of the other searches the first so many
CLOUD = 40
ORDERS = {"unreduced": "0", "front": "1", "hand-designed": "2", "searched": "3"}


def curve(name: str) -> str:
    """The metric of a search's step curve."""
    return CURVE + name


def skill(name: str) -> str:
    """The metric of held-out accuracy at one kind of question."""
    return f"{HELDOUT_ACCURACY}/{name}"


def heldout(metric: str) -> str:
    """The metric of an objective on held-out questions: costs of a deployed operator are what they are."""
    return HELDOUT + metric if metric.startswith(ACCURACY) else metric
