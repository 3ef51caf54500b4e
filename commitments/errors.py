"""Errors of the cryptographic layer, by who must act.

`DecodeError`        the sender must send other bytes
`ParameterError`     the caller (our own code or configuration) used the layer wrongly
`VerificationError`  the prover must produce another proof; the statement as sent does not hold

No message ever carries a secret: fields, limits and public numbers only.
"""

from __future__ import annotations


class CommitmentsError(Exception):
    """Root of every error this package raises on purpose."""


class DecodeError(CommitmentsError):
    """Bytes from outside that are not the canonical encoding of anything we accept.

    `field` names the part that was refused, `problem` the limit it broke.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class ParameterError(CommitmentsError):
    """A size, key or index the layer cannot work with."""


class VerificationError(CommitmentsError):
    """A proof, opening or tag that does not hold; `equation` names what failed."""

    def __init__(self, equation: str, problem: str) -> None:
        super().__init__(f"{equation}: {problem}")
        self.equation = equation
        self.problem = problem
