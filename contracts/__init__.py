"""The contracts: Vyper sources, and artifacts compiled from them and committed.

`load` reads an artifact and needs no compiler; `python -m contracts.build` makes them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

SOURCES: Final = Path(__file__).parent / "src"
ARTIFACTS: Final = Path(__file__).parent / "artifacts"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")


class ArtifactError(Exception):
    """An artifact that is missing, unreadable, or not made from the source beside it."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract.

    `abi`            entries of the contract's JSON ABI, not to be changed by the reader
    `bytecode`       creation code, without constructor arguments
    `source_sha256`  lower-case hexadecimal digest of the source file
    """

    name: str
    abi: tuple[Mapping[str, Any], ...] = field(repr=False, hash=False)
    bytecode: bytes = field(repr=False)
    source_sha256: str


def source_digest(source: bytes) -> str:
    """SHA-256 of a source file, lower-case hexadecimal."""
    return hashlib.sha256(source).hexdigest()


@cache
def load(name: str) -> Artifact:
    """The artifact of a contract by its name, for example "Vault".

    If the source is installed too, the artifact must record its digest. Raises `ArtifactError`.
    """
    if not _NAME.fullmatch(name):
        raise ArtifactError(f"contract {name!r}: not a name")
    path = ARTIFACTS / f"{name}.json"
    try:
        document = json.loads(path.read_bytes())
        artifact = Artifact(
            name=str(document["name"]),
            abi=tuple(document["abi"]),
            bytecode=bytes.fromhex(document["bytecode"].removeprefix("0x")),
            source_sha256=str(document["source_sha256"]),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path.name}: cannot be read ({error}); run `make contracts`") from error
    if artifact.name != name:
        raise ArtifactError(f"{path.name}: holds contract {artifact.name!r}; run `make contracts`")
    source = SOURCES / f"{name}.vy"
    if source.exists() and source_digest(source.read_bytes()) != artifact.source_sha256:
        raise ArtifactError(f"{path.name}: not made from the present src/{source.name}; run `make contracts`")
    return artifact
