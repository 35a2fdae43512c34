"""One thread (several test runs share a machine), and property tests that draw the same examples every time."""

import atexit
import os
import shutil
import tempfile

import torch
from hypothesis import settings

if "EOS_CACHE" not in os.environ:  # one for all processes of this run, and gone after it
    os.environ["EOS_CACHE"] = tempfile.mkdtemp(prefix="eos-test-cache-")
    atexit.register(shutil.rmtree, os.environ["EOS_CACHE"], ignore_errors=True)

torch.set_num_threads(1)
settings.register_profile("eos", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("eos")
