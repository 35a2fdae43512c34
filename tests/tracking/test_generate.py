"""A generated study is one that the other commands can work on."""

import pytest

from eos_platform.dashboard_data.studies import Studies
from eos_platform.models.bundled import folder
from eos_platform.tracking.generate import TARGET, generate


def test_its_operators_fit_the_bundled_model():
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.from_pretrained(folder("bundled"), local_files_only=True)
    side = config.vision_config.image_size // config.vision_config.patch_size
    # the features of the last block are used
    assert config.vision_feature_layer == -1
    assert TARGET.vision_layers == config.vision_config.num_hidden_layers
    assert (TARGET.layers, TARGET.grid) == (config.text_config.num_hidden_layers, (side, side))


def test_only_what_a_search_varies_differs_between_trials(tmp_path):
    assert Studies(generate(tmp_path, 8)).varied("many") == ["budget", "learning_rate"]
