"""One thread (several test runs share a machine), and property tests that draw the same examples every time."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("eos", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("eos")
