"""What a member tells its owner over the socket in its home."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from darkpool.committee import status
from darkpool.errors import ConfigError, PeerFault


async def asked(home: Path, said: dict[str, Any]) -> dict[str, Any]:
    """What its owner is told of that."""

    async def answer() -> dict[str, Any]:
        return said

    serving = asyncio.create_task(status.serve(home, answer))
    try:
        async with asyncio.timeout(5):
            while not await status.running(home):  # noqa: ASYNC110 - nobody says when it listens
                await asyncio.sleep(0.01)
            return await status.ask(home)
    finally:
        serving.cancel()


def test_an_owner_is_told_what_the_member_says(tmp_path: Path) -> None:
    said = {"size": 3, "text": "x" * (status.MAX_ANSWER - 1_000)}
    assert asyncio.run(asked(tmp_path, said)) == said


def test_more_than_an_answer_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeerFault, match=f"over {status.MAX_ANSWER} bytes"):
        asyncio.run(asked(tmp_path, {"text": "x" * (status.MAX_ANSWER + 1)}))


def test_without_a_member_the_owner_is_told_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no member runs here") as refused:
        asyncio.run(status.ask(tmp_path))
    assert "member serve" in refused.value.hint
