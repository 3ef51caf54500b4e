"""What an audit log says of itself at one moment: how many entries, and the root over them; signed.

    <origin: the name of the log>
    <number of entries, decimal>
    <base64 of the root>
    [further lines, opaque]

That is the text of a signed note (signed_note.py), and the key that signs is named by the origin.
Source: c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from commitments.errors import DecodeError, VerificationError
from commitments.merkle import HASH_BYTES, MAX_SIZE
from compliance.signed_note import Note, NoteSigner, NoteVerifier, check_name, read_base64

_LINES: Final = 3
MAX_LINES: Final = 16


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first `size` entries of the log `origin` have that root, 32 bytes.

    extensions: further lines; this program writes none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))

    def signed(self, signer: NoteSigner) -> str:
        """The note, by the key of this log."""
        return signer.sign(self.text)

    @staticmethod
    def read(text: str) -> Checkpoint:
        """The checkpoint of a text; there is one text of each. Raises DecodeError naming the line."""
        lines = text[:-1].split("\n")
        if not _LINES <= len(lines) <= MAX_LINES or "" in lines:
            raise DecodeError("checkpoint", f"not {_LINES} to {MAX_LINES} lines, none of them empty")
        origin, size, root, *extensions = lines
        check_name("origin", origin)
        if not (size.isascii() and size.isdigit()) or len(size) > len(str(MAX_SIZE)) or int(size) > MAX_SIZE:
            raise DecodeError("size", f"not a number from 0 to {MAX_SIZE}")
        digest = read_base64("root", root)
        if len(digest) != HASH_BYTES:
            raise DecodeError("root", f"{len(digest)} bytes, not {HASH_BYTES}")
        found = Checkpoint(origin, int(size), digest, tuple(extensions))
        if found.text != text:
            raise DecodeError("size", "it has leading zeros")
        return found

    @staticmethod
    def opened(note: bytes, verifier: NoteVerifier) -> Checkpoint:
        """The checkpoint that this key signed, of the log of its name.

        1. the note is well formed; 2. its text is a checkpoint; 3. the origin is the key's name; 4. the key
        signed it. Raises DecodeError, VerificationError naming what does not hold.
        """
        read = Note.read(note)  # 1
        found = Checkpoint.read(read.text)  # 2
        if found.origin != verifier.name:  # 3
            raise VerificationError("origin", f"{found.origin}, not {verifier.name}")
        verifier.check(read)  # 4
        return found
