"""Operator files: what is read is what was written, and bad ones are refused in one line that says where."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from eos_platform.common.errors import EosError
from eos_platform.operators.designs import get_design
from eos_platform.operators.site import FILM_FEATURES
from eos_platform.operators.spec import ALL_FEATURES, OperatorSpec, SiteSpec, Support, Target, Transfer

TARGET = Target(layers=6, grid=(8, 8))
unit = st.floats(0, 1)
supports = st.one_of(
    st.just(Support()),
    st.builds(Support, kind=st.sampled_from(["window", "nearest"]), size=st.integers(1, 64)),
)
transfers = st.builds(
    Transfer,
    gamma=unit,
    tau=st.one_of(st.floats(0, 1e6), st.just(float("inf"))),
    nu=unit,
    mu=unit,
    source=st.sampled_from(["ones", "importance", "attention"]),
    support=supports,
    to=st.sampled_from(["all", "destinations"]),
    among=unit,
    metric=st.sampled_from(["cosine", "distance"]),
) | st.builds(
    Transfer,
    gamma=unit,
    tau=st.just(float("inf")),
    by=st.just("anchor"),
    support=st.builds(Support, kind=st.just("nearest"), size=st.integers(1, 64)),
)


@st.composite
def operators(draw: st.DrawFn) -> OperatorSpec:
    layers = sorted(draw(st.lists(st.integers(0, 5), max_size=4)))
    keeps = sorted(draw(st.lists(st.integers(1, 64), min_size=len(layers), max_size=len(layers))), reverse=True)
    scope = draw(st.sampled_from(["frame", "film"]))
    known = [name for name in ALL_FEATURES if scope == "film" or name not in FILM_FEATURES]
    sites = [
        SiteSpec(
            layer=layer,
            scope=scope,
            keep=keep,
            selector=draw(st.sampled_from(["score", "spaced", "bipartite", "density", "pivots", "dpp"])),
            important=draw(st.integers(0, keep)),
            score={draw(st.sampled_from(known)): draw(st.floats(0.01, 5))},
            transfer=draw(transfers),
            rho=draw(st.floats(0, 3)),
            beta=draw(unit),
            positions=draw(st.sampled_from(["keep", "renumber"])),
        )
        for layer, keep in zip(layers, keeps, strict=True)
    ]
    target = TARGET.model_copy(update={"frames": draw(st.sampled_from([1, 4]))})
    return OperatorSpec(target=target, sites=tuple(sites), provenance={"seed": draw(st.integers(0, 9))})


@given(operators())
def test_json_round_trip(operator: OperatorSpec) -> None:
    assert OperatorSpec.from_json(operator.to_json()) == operator


@given(operators())
def test_counts_follow_the_sites(operator: OperatorSpec) -> None:
    tokens, expected = 64, []
    for layer in range(6):
        for site in operator.sites:
            if site.layer == layer:
                tokens = site.keep
        expected.append(tokens)
    assert operator.counts == tuple(expected)
    assert operator.mean_tokens == sum(expected) / 6
    assert operator.tokens_left == tokens
    assert len(operator.incoming) == len(operator.regimes) == len(operator.sites)


def test_corners_have_their_names() -> None:
    weigh = {"norm": 1.0}
    merge, pool = Transfer(gamma=1, tau=0), Transfer(gamma=1, tau=float("inf"))
    assert SiteSpec(layer=0, keep=8, score=weigh).regime(64) == "prune"
    assert SiteSpec(layer=0, keep=8, score=weigh, transfer=merge).regime(64) == "merge"
    assert SiteSpec(layer=0, keep=8, score=weigh, transfer=pool).regime(64) == "pool"
    assert SiteSpec(layer=0, keep=64, score=weigh, rho=0.5).regime(64) == "reweight"
    assert SiteSpec(layer=0, keep=64, score=weigh).regime(64) == "identity"
    assert SiteSpec(layer=0, keep=8, score=weigh, transfer=Transfer(gamma=0.5)).regime(64) == "hybrid"
    assert OperatorSpec(target=TARGET).regime == "identity"


def test_specs_are_frozen() -> None:
    with pytest.raises(ValidationError):
        OperatorSpec(target=TARGET).name = "other"  # type: ignore[misc]


OVERLAP = {"by": "anchor", "tau": "inf", "support": {"kind": "overlap", "size": 8}}


def written(**changes: object) -> str:
    site = {"layer": 1, "keep": 8, "score": {"norm": 1.0}, **changes}
    return json.dumps({"target": {"layers": 6, "grid": [8, 8]}, "sites": [site]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"op: not JSON: .* \(line 1\)"),
        ("[]", "an operator is a JSON object"),
        ("[" * 100_000, "not JSON: "),
        ("9" * 5000, "not JSON: "),
        ('{"target":{"layers":6,"grid":[8,8]},"name":"\\ud800"}', "not JSON: "),
        ('{"schema_version": 3}', "schema version 3 is not one of 1 to 2"),
        ('{"schema_version": true}', "schema version True is not one of 1 to 2"),
        ('{"target":{"layers":6,"grid":[8,8]},"sitess":[]}', "unknown key 'sitess'; did you mean 'sites'"),
        ('{"sites":[]}', "missing key 'target'"),
        (written(layr=2), r"unknown key 'sites.0.layr'; did you mean 'layer'"),
        (written(layer=6), r"sites.0: layer 6 is beyond the last decoder layer \(5\)"),
        (written(layer=True), r"sites.0.layer: input should be a valid integer \(got True\)"),
        (written(keep=65), "keep 65 is more than the 64 tokens that arrive"),
        (written(keep=0), "keep is 0 exactly when the selector is 'withdraw'"),
        (written(selector="grdi"), "unknown value 'grdi'; did you mean 'grid'"),
        (written(score={"nrm": 1}), "unknown feature 'nrm'; did you mean 'norm'"),
        (written(score={}), "'score' must weigh at least one feature"),
        (written(score={"norm": 1e308}), "sites.0.score.norm: input should be less than or equal to 1000000"),
        (written(selector="alternate", keep=20), "'alternate' keeps at least 32 of 64"),
        (written(transfer={"gamma": 2}), "sites.0.transfer.gamma"),
        (
            written(transfer={"tau": "nan"}),
            r"sites.0.transfer.tau: input should be a valid number \(got 'nan'\)",
        ),
        (written(transfer={"support": {"kind": "window"}}), "support 'window' needs a size"),
        (written(seed=-1), "sites.0.seed"),
        (written(important=9), "important 9 is more than the 8 that stay"),
        (written(important=8, summary=True), "important 8 is more than the 7 that stay beside the summary"),
        (written(keep=1, summary=True), "a summary needs at least one token kept beside it"),
        (written(selector="bipartite", score={}), "'score' must weigh at least one feature"),
        (written(score={}, selector="grid", transfer={"among": 0.5}), "'score' must weigh at least one feature"),
        (written(selector="pivots", similarity="keys"), "'pivots' compares hidden states"),
        (written(selector="alternate", keep=30, important=2), "'alternate' keeps at least 31 of 62"),
        (written(transfer={"by": "anchor"}), "transfer by anchor needs a support 'nearest' or 'overlap', and tau inf"),
        (written(transfer={"support": {"kind": "overlap", "size": 8}}), "support 'overlap' needs transfer by anchor"),
        (written(transfer=OVERLAP), "support 'overlap' needs selector 'grid', as many kept as windows"),
        (written(selector="grid", keep=9, transfer=OVERLAP), "support 'overlap' needs selector 'grid', as many kept"),
        (
            written(selector="grid", keep=11, transfer=OVERLAP | {"support": {"kind": "overlap", "size": 11}}),
            "sites.0: a grid of 8x8 tokens cannot be pooled to 11: no shape has so many",
        ),
    ],
)
def test_bad_operator_files_are_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(EosError, match=message) as caught:
        OperatorSpec.from_json(text, "op")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"keep": True},
        {"keep": "8"},
        {"keep": 8.0},
        {"layer": False},
        {"seed": 1.0},
        {"seed": "1"},
        {"important": True},
        {"rho": "0.5"},
        {"rho": True},
        {"spread": "1"},
        {"beta": True},
        {"summary": 1},
        {"summary": "yes"},
        {"score": {"norm": "1"}},
        {"score": {"norm": True}},
        {"probe": [True]},
        {"probe": ["1"]},
        {"transfer": {"gamma": "1"}},
        {"transfer": {"gamma": True}},
        {"transfer": {"tau": "1"}},
        {"transfer": {"tau": True}},
        {"transfer": {"support": {"kind": "window", "size": 2.0}}},
        {"transfer": {"support": {"kind": "window", "size": "2"}}},
    ],
)
def test_only_numbers_pass_for_numbers(wrong: dict[str, Any]) -> None:
    with pytest.raises(EosError, match=r"op: sites\.0\..*: input should be a valid (number|integer|boolean) \(got"):
        OperatorSpec.from_json(written(**wrong), "op")


@pytest.mark.parametrize("target", [{"layers": 6.0}, {"layers": "6"}, {"grid": [8, True]}, {"vision_layers": "2"}])
def test_only_numbers_pass_for_sizes_of_the_target(target: dict[str, Any]) -> None:
    with pytest.raises(EosError, match="input should be a valid integer"):
        OperatorSpec.from_json(json.dumps({"target": {"layers": 6, "grid": [8, 8], **target}}))


def test_no_key_wins_in_silence() -> None:
    text = written()
    for twice in (text[:-1] + ', "sites": []}', text.replace('"keep"', '"keep": 1, "keep"')):
        with pytest.raises(EosError, match=r"op: not JSON: key '(sites|keep)' is given twice"):
            OperatorSpec.from_json(twice, "op")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", ["rho", "provenance", "name", "probe", "tau"])
def test_numbers_that_are_none_are_refused_wherever_they_stand(number: str, place: str) -> None:
    sites = {"rho": {"rho": 7.25}, "probe": {"probe": [7.25]}, "tau": {"transfer": {"tau": 7.25}}}.get(place, {})
    whole = json.loads(written(**sites)) | ({place: {"x": [7.25]}} if place in ("provenance", "name") else {})
    text = json.dumps(whole).replace("7.25", number)
    if place == "tau" and number in ("Infinity", "1e999"):
        assert number == "1e999" or OperatorSpec.from_json(text).sites[0].transfer.tau == math.inf
        if number == "Infinity":
            return
    with pytest.raises(EosError, match="op: "):
        OperatorSpec.from_json(text, "op")


def test_infinity_is_written_as_other_readers_take_it() -> None:
    """Files of earlier versions say it bare, which is no JSON; they are read as ever."""
    for word in ('"Infinity"', '"inf"', "Infinity"):
        text = written(transfer={"gamma": 1, "tau": 7.25}).replace("7.25", word)
        operator = OperatorSpec.from_json(text)
        assert operator.sites[0].transfer.tau == math.inf
        again = json.loads(operator.to_json(), parse_constant=pytest.fail)
        assert again["sites"][0]["transfer"]["tau"] == "Infinity"
        assert OperatorSpec.from_json(operator.to_json()) == operator
    found = operator.model_copy(update={"provenance": {"loss": math.nan}})
    with pytest.raises(EosError, match=r"provenance\.loss is not a finite number"):
        found.to_json()


def test_sites_go_in_layer_order() -> None:
    text = json.dumps(
        {
            "target": {"layers": 6, "grid": [8, 8]},
            "sites": [{"layer": 3, "keep": 8, "score": {"norm": 1}}, {"layer": 1, "keep": 4, "score": {"norm": 1}}],
        }
    )
    with pytest.raises(EosError, match=r"sites.1: layer 1 comes after layer 3"):
        OperatorSpec.from_json(text)


def test_overlapping_windows_need_the_whole_grid() -> None:
    sites = [{"layer": 0, "keep": 32, "selector": "grid"}, {"layer": 1, "keep": 8, "selector": "grid"}]
    sites[1]["transfer"] = OVERLAP
    with pytest.raises(EosError, match=r"sites.1: support 'overlap' needs all 64 tokens of the grid, not 32"):
        OperatorSpec.from_json(json.dumps({"target": {"layers": 6, "grid": [8, 8]}, "sites": sites}))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, message in [
        (tmp_path / "none.json", "operator file not found"),
        (tmp_path, "cannot read operator file"),
    ]:
        with pytest.raises(EosError, match=message):
            OperatorSpec.load(path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EosError, match="is not text"):
        OperatorSpec.load(tmp_path / "binary")


def test_a_quota_of_an_image_is_written_as_before_films_had_some():
    operator = get_design("nuwa").build(Target(layers=6, grid=(12, 12), vision_layers=3), 20)
    assert json.loads(operator.to_json())["sites"][0]["quota"] == {
        "groups": 36, "kind": "windows", "share": "none", "cap": 1,
    }  # fmt: skip
    assert operator.fingerprint == "d7d6a6ec"  # under which it was stored
