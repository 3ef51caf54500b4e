"""MPyC made to share at the members' points: another MPyC than the one written for is refused.

MPyC reads the command line when imported, so it is damaged in a process of its own: `attempts`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from commitments.errors import CommitmentsError
from darkpool.committee.evaluator_frames import Start
from darkpool.committee.evaluator_link import mpyc_runtime
from darkpool.committee.evaluator_points import REPLACED, adapt, check, place

ME = Start(3, 6, 1, (2, 3, 5, 6))
USED = ("np_random_split", "_recombination_vector", "np_pseudorandom_share", "np_pseudorandom_share_0")


def attempts() -> Iterator[tuple[str, str]]:
    """What becomes of adapting MPyC as it is, and of MPyC damaged in every way: (damage, error)."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    runtime = mpyc_runtime(ME)
    del runtime.np_is_zero_public  # ours; the class still has MPyC's
    import mpyc.thresha as thresha  # noqa: PLR0402

    field = runtime.SecInt().field

    def remove(name: str) -> None:
        delattr(thresha, name)

    def change(name: str) -> None:
        setattr(thresha, name, lambda field, x: (field, x))

    def leave(name: str) -> None:
        original = getattr(thresha, name)
        place(thresha, ME.players)
        setattr(thresha, name, original)
        check(thresha, field, ME)

    def error(damage: Callable[[], object] = lambda: None) -> str:
        importlib.reload(thresha)
        try:
            damage()
            adapt(runtime, thresha, ME)
        except CommitmentsError as refusal:
            return f"{type(refusal).__name__}: {refusal}"
        return "none"

    for name in REPLACED:
        yield f"{name} missing", error(partial(remove, name))
        yield f"{name} changed", error(partial(change, name))
    for name in USED:
        yield f"{name} not placed", error(partial(leave, name))
    yield "nothing placed", error(partial(check, thresha, field, ME))
    yield "no damage", error()
    runtime.np_is_zero_public = lambda a, b: (a, b)
    yield "np_is_zero_public changed", error()


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    """By damage."""
    done = subprocess.run([sys.executable, "-m", __name__], capture_output=True, timeout=60, check=True)
    return dict(json.loads(done.stdout))


def test_the_installed_mpyc_is_adapted(errors: dict[str, str]) -> None:
    assert errors["no damage"] == "none"


@pytest.mark.parametrize("name", [*REPLACED, "np_is_zero_public"])
def test_a_changed_function_is_refused_by_name(errors: dict[str, str], name: str) -> None:
    assert errors[f"{name} changed"].startswith(f"ParameterError: MPyC: {name}(")


@pytest.mark.parametrize("name", REPLACED)
def test_a_missing_function_is_refused_by_name(errors: dict[str, str], name: str) -> None:
    assert errors[f"{name} missing"].startswith(f"ParameterError: MPyC: {name} is missing")


@pytest.mark.parametrize("damage", [*(f"{name} not placed" for name in USED), "nothing placed"])
def test_a_function_at_mpycs_own_points_is_refused(errors: dict[str, str], damage: str) -> None:
    assert errors[damage].startswith("VerificationError: ")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(list(attempts())))
