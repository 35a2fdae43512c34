"""A small study written by the tracking code, as the driver would."""

import base64
import io
import json
from functools import cache

from PIL import Image

from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target, Transfer
from eos_platform.search.config import SearchConfig
from eos_platform.tracking.recorder import Recorder
from eos_platform.tracking.rows import TrialRow

TARGET = Target(layers=6, grid=(12, 12), model="bundled-small")


def spec_of(number, keep=20):
    first = SiteSpec(layer=0, keep=keep, score={"norm": 1.0}, transfer=Transfer(gamma=1.0, tau=0.0))
    second = SiteSpec(layer=3, keep=max(1, keep // 2), score={"norm": 1.0, "uniqueness": -0.5})
    return OperatorSpec(name=f"s-{number}", target=TARGET, sites=(first, second))


def trial(number, state="complete", accuracy=0.9, ratio=0.2, **changes):
    config = SearchConfig.of({"budget": ratio, "learning_rate": 0.03 + number / 1000, "eval_questions": 512})
    spec = spec_of(number)
    done = state == "complete"
    measured = {"accuracy": accuracy, "compute_ratio": ratio, "mean_tokens": spec.mean_tokens, "tokens_left": 10.0}
    values = {
        "ray_id": f"ray{number}",
        "params": config.model_dump(),
        "measured": {**measured, "seconds": 12.0} if done else {},
        "operator": spec.to_json() if done else None,
        "regime": spec.regime if done else None,
    }
    return TrialRow(number, state, **{**values, **changes})


def point(name, family, accuracy, ratio, **changes):
    return {
        "name": name,
        "family": family,
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.02,
        "accuracy_high": accuracy + 0.02,
        "compute_ratio": ratio,
        "mean_tokens": 30.0,
        "tokens_left": 20,
        "regime": "prune",
        "trial": None,
        "design": "",
        "questions": 1000,
        "skill:count": accuracy - 0.05,
        "skill:colour": accuracy + 0.01,
        **changes,
    }


RATIOS, ACCURACIES = (0.10, 0.15, 0.20, 0.25, 0.30, 0.35), (0.70, 0.80, 0.78, 0.88, 0.85, 0.92)


@cache
def examples():
    """Four pictures with a question each, as a worker records them."""
    found = []
    for number, colour in enumerate(("red", "green", "blue", "gold")):
        stream = io.BytesIO()
        Image.new("RGB", (96, 96), colour).save(stream, "PNG")
        png = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
        text = f"what color is picture {number}?"
        found.append(
            {"question": number, "skill": "colour", "text": text, "answer": colour, "grid": [12, 12], "png": png}
        )
    return found


def kept(number, keep=20):
    """The tokens that ``spec_of`` leaves on each of them: some stand for many, and not the same for each operator."""
    stages = [
        {"place": "decoder", "layer": layer, "origin": list(range(number, number + many)), "size": [144 / many] * many}
        for layer, many in ((0, keep), (3, max(1, keep // 2)))
    ]
    return json.dumps([stages] * 4)


def answers(right):
    """The first ``right`` of the four questions answered rightly."""
    given = [shown["answer"] if number < right else "nothing" for number, shown in enumerate(examples())]
    return json.dumps([{"given": text, "worth": float(number < right)} for number, text in enumerate(given)])


def write_study(folder, name="small", uid="u", pictures=True):
    """Six trials of which four are the front, a failure, a design, the unreduced model; the recorder, still open."""
    recorder = Recorder(f"sqlite:///{folder / 'mlflow.db'}", name, uid, (folder / "artifacts").as_uri())
    recorder.examples = examples()
    recorder.describe("name: small\n", "A small study", {"model": "bundled-small", "task": "scenes"}, {"trials": 8})
    for number, (ratio, accuracy) in enumerate(zip(RATIOS, ACCURACIES, strict=True)):
        row = trial(number, accuracy=accuracy, ratio=ratio)
        recorder.finish_trial(recorder.start_trial(row), row, kept=kept(number) if pictures else None)
    row = trial(6, "failed", failure="ValueError: the loss exploded")
    recorder.finish_trial(recorder.start_trial(row), row)
    return recorder


def end_study(recorder):
    """The final comparison."""
    front = (0, 1, 3, 5)
    recorder.mark_front(front)
    recorder.point(point("unreduced", "unreduced", 0.95, 1.0, regime="identity"), None)
    fastv = point("fastv at 0.2", "hand-designed", 0.6, 0.2, design="fastv")
    recorder.point(fastv, spec_of(99, 30).to_json(), kept(9, 30), answers(1))
    for number in front:
        recorder.point(
            point(f"trial {number}", "searched", ACCURACIES[number] - 0.01, RATIOS[number], trial=number),
            None,
            answers=answers(3),
        )
    recorder.close("FINISHED")
