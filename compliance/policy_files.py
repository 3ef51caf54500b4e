"""A policy's files as one JSON text: {"name": "base64", …}, as they are sent and kept."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Mapping

from commitments.errors import DecodeError
from compliance.policy import Policy
from compliance.policy_folder import MAX_FILE_BYTES, MAX_FILES
from compliance.policy_lists import MAX_LIST_BYTES
from compliance.policy_toml import PolicyError
from darkpool.jsonfields import Fields
from darkpool.jsontext import parsed


def encoded(files: Mapping[str, bytes]) -> bytes:
    """Canonical: names sorted, no spaces."""
    texts = {name: b2a_base64(data, newline=False).decode() for name, data in files.items()}
    return json.dumps(texts, sort_keys=True, separators=(",", ":")).encode()


def policy_of(value: object) -> Policy:
    """The policy of such an object. Raises DecodeError, PolicyError naming the file."""
    if not isinstance(value, dict) or not 0 < len(value) <= MAX_FILES:
        raise DecodeError("files", f"not an object of 1 to {MAX_FILES} files")
    fields = Fields(value, "files", tuple(value))
    files = {}
    for name in value:
        data = fields.base64(name)
        limit = MAX_LIST_BYTES if name.startswith("lists/") else MAX_FILE_BYTES
        if len(data) > limit:
            raise PolicyError(name[:100], None, f"over {limit} bytes", "split it")
        files[name] = data
    return Policy(files)


def decoded(data: bytes) -> Policy:
    """The policy of a text that was kept. Raises DecodeError, PolicyError."""
    return policy_of(parsed(data, "files"))
