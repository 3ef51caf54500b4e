"""What commands share: options that mean the same everywhere, progress bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from darkpool.progress import Progress

FolderOption = Annotated[Path, typer.Option("--data", help="Data folder.", envvar="DARKPOOL_DATA")]
DEFAULT_FOLDER = Path("data")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class ProfileName(StrEnum):
    """Security profiles; insecure-test has no soundness at all."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"
    INSECURE_TEST = "insecure-test"


class FaultName(StrEnum):
    """What may be wrong with a member of the demo (committee/faulty.py)."""

    WRONG_PARTIAL = "wrong-partial"
    SILENT = "silent"
    DEAD = "dead"


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress bars on stderr, one per step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(label: str, done: int, total: int | None) -> None:
            if label not in tasks:
                for other in tasks.values():
                    if bars.tasks[other].total is None:
                        bars.update(other, total=bars.tasks[other].completed)
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total)

        yield tell
