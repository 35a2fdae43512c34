"""Training: packed questions are answered as if each were alone, for every family; labels, tokenizer, optimiser."""

import json
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, PreTrainedTokenizerFast

from eos_platform.common.errors import EosError
from eos_platform.tasks.scenes_v2 import examples, picture
from eos_platform.tasks.scenes_v2.layout import make_scene
from eos_platform.tasks.scenes_v2.scene import Objects, Page, Scene, Table, Text
from eos_platform.tasks.scenes_v2.training import run
from eos_platform.tasks.scenes_v2.training.__main__ import main, pack, placed
from eos_platform.tasks.scenes_v2.training.data import BLOCK, SLOTS, Exam, Pictures
from eos_platform.tasks.scenes_v2.training.families import FAMILIES, SIZES, family
from eos_platform.tasks.scenes_v2.training.labels import ATTRIBUTES, CELL, cell_labels
from eos_platform.tasks.scenes_v2.training.learner import Learner
from eos_platform.tasks.scenes_v2.training.muon import Muon
from eos_platform.tasks.scenes_v2.training.words import corpus, new_tokenizer, with_specials


@pytest.fixture(scope="module")
def words():
    return new_tokenizer(corpus(60))


@pytest.fixture
def tokenizer(words):
    return PreTrainedTokenizerFast(
        tokenizer_object=type(words.backend_tokenizer).from_str(words.backend_tokenizer.to_str()),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )


def learner_of(name, tokenizer):
    torch.manual_seed(0)
    kin = family(name)
    ids = with_specials(tokenizer, kin.specials)
    model = kin.new_model(len(tokenizer), ids)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.08)  # attention far from uniform
    return Learner(model, kin, tokenizer).eval(), ids


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_packed_questions_are_answered_as_if_alone(name, tokenizer):
    learner, ids = learner_of(name, tokenizer)
    kin, model = learner.kin, learner.model
    states = {}
    kin.decoder(model).register_forward_hook(lambda module, args, out: states.update(packed=out.last_hidden_state))
    for size in {kin.sizes[0], kin.sizes[1 % len(kin.sizes)]}:
        batch = next(iter(Pictures(tokenizer, [size], 1)))
        learner(batch)
        at = learner.layout(size, torch.device("cpu"))
        p = len(at.prefix_p)
        packed = states["packed"][0, p:].view(SLOTS, BLOCK, -1)
        for slot in (0, SLOTS - 1):
            count = int(batch["answers"][0, slot].nonzero().max()) + 1
            line = torch.cat([at.prefix_p, batch["ids"][0, slot, :count]])[None]
            alone = model.model(input_ids=line, **seen_by(name, batch["pixels"], line, ids)).last_hidden_state[0, p:]
            torch.testing.assert_close(packed[slot, :count], alone, atol=2e-4, rtol=2e-4)


def test_larger_models_have_the_layout_of_the_small_one():
    """Scale is studied on them: the same picture, tokens and prompt, at 10 and 30 M parameters."""
    small = family("bundled-small")
    for name, least, most in (("small-10m", 9e6, 12e6), ("small-30m", 28e6, 33e6)):
        kin = family(name)
        with torch.device("meta"):
            made = kin.new_model(1200, {"<image>": 3})
        assert least < sum(one.numel() for one in made.parameters()) < most
        assert (kin.sizes, kin.prompt(kin.sizes[0])) == (small.sizes, small.prompt(small.sizes[0]))
        assert made.config.image_seq_length == 144
    assert set(SIZES).isdisjoint(FAMILIES)


def seen_by(name, pixels_bhwc, line, ids):
    """A family's own inputs, from its own image processor where that cuts or flattens pictures."""
    from PIL import Image

    kin = family(name)
    shown = kin.new_image_processor()(images=[Image.fromarray(pixels_bhwc[0].numpy())], return_tensors="pt")
    given = {k: v for k, v in shown.items() if k in ("pixel_values", "image_sizes", "image_grid_thw")}
    if name == "bundled-smolvlm":
        # the whole picture is shrunk by other arithmetic there: compare with what training shows
        pixels = pixels_bhwc.permute(0, 3, 1, 2).float() / 127.5 - 1
        small = torch.nn.functional.interpolate(pixels, (168, 168), mode="bicubic", antialias=True)
        assert (given["pixel_values"][:, -1] - small).abs().mean() < 0.01
        given["pixel_values"][:, -1] = small
    if name == "bundled-onevision":
        pixels = pixels_bhwc.permute(0, 3, 1, 2).float() / 127.5 - 1
        small = torch.nn.functional.interpolate(pixels, (112, 112), mode="bicubic", antialias=True)
        assert (given["pixel_values"][:, 0] - small).abs().mean() < 0.01
        given["pixel_values"][:, 0] = small
    if name == "bundled-gemma":
        given["token_type_ids"] = (line == ids["<image_soft_token>"]).long()
    if name == "bundled-qwen":
        given["mm_token_type_ids"] = (line == ids["<|image_pad|>"]).int()
    return given


@pytest.mark.parametrize("name", ["bundled-small", "bundled-gemma", "bundled-smolvlm"])
def test_what_is_saved_loads_and_its_processor_makes_the_same_prompt(name, tokenizer, tmp_path):
    from PIL import Image
    from transformers import AutoProcessor

    learner, _ = learner_of(name, tokenizer)
    kin = learner.kin
    run.save(learner.model, kin, tokenizer, tmp_path / name, {"overall": 0.5})
    assert json.loads((tmp_path / name / "training.json").read_text()) == {"overall": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == [name]
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / name, dtype=torch.float32)
    for key, value in learner.model.state_dict().items():
        assert (loaded.state_dict()[key] == value.bfloat16().float()).all(), key
    size = kin.sizes[0]
    tag = "<start_of_image>" if name == "bundled-gemma" else "<image>"
    shown = Image.fromarray(picture("heldout", 0, size))
    made = AutoProcessor.from_pretrained(tmp_path / name)(
        images=shown, text=f"{tag}is there a cat?", return_tensors="pt"
    )
    assert made["input_ids"][0].tolist() == tokenizer(kin.prompt(size) + "is there a cat?").input_ids


def test_labels_say_what_lies_under_each_cell():
    names = list(ATTRIBUTES)
    seen = set()
    for index in range(30):
        scene = make_scene("train", index, 336)
        labels = cell_labels(scene)
        assert labels.shape == (24, 24, len(names))
        assert (labels.reshape(-1, len(names)).max(0) < list(ATTRIBUTES.values())).all()
        assert labels[..., names.index("centre")].sum() == len({(t.y // CELL, t.x // CELL) for t in scene.things})
        for panel in scene.panels:
            seen.add(type(panel))
            if isinstance(panel, Objects):
                for thing in panel.things:
                    cell = labels[thing.y // CELL, thing.x // CELL]
                    assert cell[names.index("kind")] > 0
                    assert cell[names.index("scale")] > 0
            if isinstance(panel, Table):
                number = panel.cells[0][0]
                row = labels[number.y // CELL, :, names.index("number")]
                assert 1 + int(number.text) in row
            if isinstance(panel, Page) and panel.lines:
                word = panel.lines[0][-1]
                assert labels[word.y // CELL, word.centre[0] // CELL, names.index("panel")] == 1
    assert len(seen) == 4


def test_a_code_of_digits_is_no_number():
    word = Text("594", 20, 20, 30, 14, "DejaVuSans")
    page = Page((0, 0, 112, 112), "note", None, ((Text("code:", 2, 20, 16, 14, "DejaVuSans"), word),))
    labels = cell_labels(Scene(112, 112, (page,), 0)).reshape(-1, len(ATTRIBUTES))
    assert (labels.max(0) < list(ATTRIBUTES.values())).all()
    assert labels[:, list(ATTRIBUTES).index("number")].max() == 0


def test_batches_hold_the_questions_asked(tokenizer):
    data = Pictures(tokenizer, [(168, 168), (224, 112)], 3)
    chunks = iter(data)
    first, second = next(chunks), next(chunks)
    assert first["pixels"].shape == (3, 168, 168, 3)
    assert second["pixels"].shape == (3, 112, 224, 3)
    words = tokenizer.decode(first["ids"][0, 0][first["answers"][0, 0]])
    assert words.endswith("</s>")
    assert (first["places"] < 24).all()
    assert (first["skills"] >= 0).float().mean() > 0.8
    data.asking.fill_(False)
    assert (next(chunks)["skills"] == -1).all()


def test_the_examination_asks_the_tasks_own_questions(tokenizer):
    asked = examples("heldout", 150, 168)
    pictures = asked[-1].picture
    parts = list(Exam(tokenizer, (168, 168), 4, "heldout", range(pictures)))
    assert {len(part["pixels"]) for part in parts} == {4}
    found = torch.cat([part["difficulty"][part["skills"] >= 0] for part in parts])
    wanted = [e.difficulty for e in asked if e.picture < pictures]
    assert found.tolist() == wanted[: len(found)]
    assert len(found) >= len(wanted) - 2  # a question too long for its block is left out


def test_words_of_documents_take_several_tokens_and_kinds_one(words):
    assert len(words(" elephant", add_special_tokens=False).input_ids) == 1
    assert len(words(" honey", add_special_tokens=False).input_ids) > 2
    assert len(words(" 42", add_special_tokens=False).input_ids) == 3


def test_muon_moves_as_torch_does():
    torch.manual_seed(0)
    mine = [
        torch.randn(6, 4, requires_grad=True),
        torch.randn(6, 4, requires_grad=True),
        torch.randn(3, 5, requires_grad=True),
    ]
    theirs = [p.detach().clone().requires_grad_() for p in mine]
    official = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    own = Muon(mine)
    for _ in range(3):
        for a, b in zip(mine, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        own.step(0.01)
        official.step()
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)
        assert a.grad is None


def test_models_are_shared_out_by_what_they_cost():
    assert placed(["bundled", "bundled-small", "bundled-qwen"], 2, "") == {
        "bundled": 0,
        "bundled-qwen": 1,
        "bundled-small": 1,
    }
    assert placed(["bundled-qwen", "bundled"], 2, "bundled:1") == {"bundled": 1, "bundled-qwen": 0}
    with pytest.raises(EosError, match="bundled-qwen"):
        placed(["bundled-qwen"], 2, "bundled-qwn:1")
    with pytest.raises(EosError, match="numbered 0 to 1"):
        placed(["bundled-qwen"], 2, "bundled-qwen:2")


def test_packed_folders_come_in_parts(tmp_path, monkeypatch):
    import io
    import tarfile

    monkeypatch.setattr("eos_platform.tasks.scenes_v2.training.__main__.PART", 5000)
    folder = tmp_path / "model"
    folder.mkdir()
    data = np.random.default_rng(0).bytes(12_000)
    (folder / "weights").write_bytes(data)
    out = tmp_path / "out"
    out.mkdir()
    pack(folder, out)
    parts = sorted(out.iterdir())
    assert len(parts) > 2
    with tarfile.open(fileobj=io.BytesIO(b"".join(part.read_bytes() for part in parts))) as tar:
        assert tar.extractfile("model/weights").read() == data


def test_an_unknown_model_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["training", "--models", "bundled-qven", "--out", str(tmp_path / "out")])
    with pytest.raises(EosError, match="bundled-qwen"):
        main()
    assert not (tmp_path / "out").exists()
