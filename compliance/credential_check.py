"""What can be wrong with a credential, by name."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from darkpool.errors import OrderRefused

MAX_SERIAL: Final = (1 << 53) - 1
"""The largest integer that every JSON reader keeps exact."""


class Check(StrEnum):
    """The checks of a credential; a refusal names the one that failed."""

    MISSING = "missing"
    MALFORMED = "malformed"
    FOREIGN = "foreign"
    ISSUER = "issuer"
    SIGNATURE = "signature"
    SCOPE = "scope"
    SUBJECT = "subject"
    EARLY = "early"
    EXPIRED = "expired"
    REVOKED = "revoked"
    REVOCATIONS_MISSING = "revocations-missing"
    REVOCATIONS_STALE = "revocations-stale"


class CredentialRefused(OrderRefused):
    """A credential that does not count; `check` names why, and `code` is "credential-" and that."""

    def __init__(self, check: Check, message: str, hint: str = "") -> None:
        super().__init__(f"credential: {message}", hint, f"credential-{check}")
        self.check = check
        self.args = (check, message, hint)
