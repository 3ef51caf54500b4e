"""The files of a policy, and the hash that binds them.

policy.toml     what is allowed where (policy_config.py)
lists/*.txt     addresses and countries (policy_lists.py)
*.cedar         rules beside the generated ones (cedar_rules.py)
tests.csv       cases with the decision they expect (policy_cases.py); not part of the policy
README.md       for people; not part of the policy
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from commitments.encoding import Writer
from compliance.policy_lists import MAX_LIST_BYTES, NamedList
from compliance.policy_toml import PolicyError
from darkpool.client.files import read_file

FILE: Final = "policy.toml"
LISTS: Final = "lists"
RULES: Final = ".cedar"
MAX_FILE_BYTES: Final = 1 << 20
MAX_FILES: Final = 128

_LABEL: Final = b"darkpool/v1/policy"
_IGNORED: Final = frozenset({"tests.csv", "README.md", LISTS})
_NAME: Final = re.compile(rf"policy\.toml|{LISTS}/[a-z0-9-]{{1,63}}\.txt|[A-Za-z0-9_-]{{1,63}}\.cedar")


def list_file(name: str) -> str:
    """The file of a list."""
    return f"{LISTS}/{name}.txt"


def check_names(names: Iterable[str], folder: Path) -> None:
    """Raises PolicyError for a file that a policy has not.

    A rule file with a misspelt name would else be passed over in silence.
    """
    known = f"{FILE}, {list_file('NAME')}, NAME{RULES}, {', '.join(sorted(_IGNORED))}"
    for name in names:
        if not _NAME.fullmatch(name):
            raise PolicyError(str(folder / name), None, "not a file of a policy", f"known: {known}")


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a policy by name; hidden ones are left out. Raises PolicyError, ConfigError."""
    try:
        inner = folder / LISTS
        found = [*folder.iterdir(), *(inner.iterdir() if inner.is_dir() else ())]
    except OSError as error:
        problem = f"no folder: {error.strerror}"
        raise PolicyError(str(folder), None, problem, "give a policy's folder") from None
    shown = sorted(path.relative_to(folder).as_posix() for path in found if not path.name.startswith("."))
    names = [name for name in shown if name not in _IGNORED]
    check_names(names, folder)
    if len(names) > MAX_FILES:
        raise PolicyError(str(folder), None, f"{len(names)} files; at most {MAX_FILES}", "merge some")
    files: dict[str, bytes] = {}
    for name in names:
        limit = MAX_LIST_BYTES if name.startswith(LISTS) else MAX_FILE_BYTES
        data = read_file(folder / name, limit)
        if data is None:
            raise PolicyError(str(folder / name), None, "went away while it was read", "try again")
        files[name] = data
    return files


def policy_hash(files: Mapping[str, bytes], lists: Iterable[NamedList]) -> bytes:
    """The hash of a valid policy, 32 bytes.

    SHA-256 of the label, the TOML document as canonical JSON (keys sorted, no spaces, ASCII), how many lists,
    each one's name and version, how many .cedar files, each one's name and SHA-256; sorted by name, texts
    behind their 32-bit lengths. So comments and layout of policy.toml, and order and comments of lists, do
    not change it.
    """
    document = tomllib.loads(files[FILE].decode())
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    ordered = sorted(lists, key=lambda each: each.name)
    writer = Writer().var(_LABEL).var(text.encode()).uint(len(ordered), 4)
    for each in ordered:
        writer.var(each.name.encode()).fixed(each.version, 32)
    rules = sorted(name for name in files if name.endswith(RULES))
    writer.uint(len(rules), 4)
    for name in rules:
        writer.var(name.encode()).fixed(sha256(files[name]).digest(), 32)
    return sha256(bytes(writer)).digest()
