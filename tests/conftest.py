"""Settings shared by every test; markers are declared in pyproject.toml."""

from __future__ import annotations

import os

from hypothesis import settings

# A 3072-bit exponentiation has no business with a per-example deadline. CI draws the same examples each run.
settings.register_profile("darkpool", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("darkpool")
