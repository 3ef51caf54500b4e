"""anvil, whose state survives its death: `python -m darkpool.devnet_child ANVIL FOLDER PORT BLOCK_SECONDS`.

anvil writes its state in place, so killed in the middle of that it would leave half a file. Whole states are
therefore copied aside as they appear, and the latest whole one is what it starts from. What is lost is a
block or two at the head, which nobody takes for final.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from darkpool import parent

STATE: Final = "state.json"
_WHOLE: Final = "state.whole.json"
_COPY_SECONDS: Final = 0.5


def _copy_if_whole(folder: Path) -> None:
    """Put a whole state aside, under its name or not at all."""
    temporary = folder / f"{_WHOLE}.tmp"
    with suppress(FileNotFoundError):
        shutil.copyfile(folder / STATE, temporary)
        if _is_whole(temporary):
            temporary.replace(folder / _WHOLE)


def _is_whole(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


async def _run(anvil: str, folder: Path, port: str, block_seconds: str) -> int:
    if not _is_whole(folder / STATE):
        (folder / STATE).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            shutil.copyfile(folder / _WHOLE, folder / STATE)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "darkpool.supervise_child", str(os.getpid())),
        *(anvil, "--host", "127.0.0.1", "--port", port, "--block-time", block_seconds),
        *("--state", str(folder / STATE), "--state-interval", "1", "--silent"),
        stdin=subprocess.DEVNULL,
    )
    try:
        while process.returncode is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _COPY_SECONDS)
            await asyncio.to_thread(_copy_if_whole, folder)
        return process.returncode
    finally:
        if process.returncode is None:
            process.terminate()  # it writes its state once more
            await process.wait()


async def _main(arguments: list[str]) -> None:
    anvil, folder, port, block_seconds = arguments
    code = await _run(anvil, Path(folder), port, block_seconds)
    raise SystemExit(code or 1)  # a chain that ends by itself is started again


if __name__ == "__main__":
    if len(sys.argv) != 5:  # noqa: PLR2004
        sys.stderr.write("usage: python -m darkpool.devnet_child ANVIL FOLDER PORT BLOCK_SECONDS\n")
        sys.exit(2)
    asyncio.run(parent.while_it_lives(_main(sys.argv[1:])))
