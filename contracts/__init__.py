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
_IMPORT: Final = re.compile(rb"^import ([a-z_]+)$", re.MULTILINE)


class ArtifactError(Exception):
    """An artifact that is missing, unreadable, or not made from the source beside it."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract.

    `abi`            entries of the contract's JSON ABI, not to be changed by the reader
    `bytecode`       creation code, without constructor arguments
    `source_sha256`  `source_digest` of what it was made from
    """

    name: str
    abi: tuple[Mapping[str, Any], ...] = field(repr=False, hash=False)
    bytecode: bytes = field(repr=False)
    source_sha256: str


def sources(name: str) -> dict[str, bytes]:
    """The files a contract is made from: its own, and every module that one of them imports.

    Contracts have a capital (Vault.vy), modules have none (ledger.vy). Raises `OSError` if one is missing.
    """
    found: dict[str, bytes] = {}
    wanted = [name]
    while wanted:
        file = f"{wanted.pop()}.vy"
        if file not in found:
            found[file] = (SOURCES / file).read_bytes()
            wanted += [module.decode() for module in _IMPORT.findall(found[file])]
    return found


def source_digest(name: str) -> str:
    """SHA-256, lower-case hexadecimal, of a line for each source file: its SHA-256 and its name."""
    lines = (f"{hashlib.sha256(text).hexdigest()}  {file}\n" for file, text in sorted(sources(name).items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@cache
def load(name: str) -> Artifact:
    """The artifact of a contract by its name, for example "Vault".

    If the sources are installed too, the artifact must record their digest. Raises `ArtifactError`.
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
    if (SOURCES / f"{name}.vy").exists() and _present_digest(name) != artifact.source_sha256:
        raise ArtifactError(f"{path.name}: not made from the present src/{name}.vy; run `make contracts`")
    return artifact


def _present_digest(name: str) -> str:
    try:
        return source_digest(name)
    except OSError:
        return ""  # of a source that imports what is not there
