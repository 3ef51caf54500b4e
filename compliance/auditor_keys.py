"""An auditor's key for one venue, from its keystore's seed: nothing else has to be kept."""

from __future__ import annotations

import json
from typing import Final

from commitments import sealing
from commitments.auditor_key import KeyContext, Registration, SecretKey, register
from commitments.params import GROUP_ORDER
from darkpool.jsonfields import hex_text
from darkpool.types import Address, address_hex

_LABEL: Final = b"darkpool/v1/auditor-key"
_WIDE: Final = 48  # bytes reduced modulo the group order: 129 bits of slack


def secret_key(seed: bytes, context: KeyContext) -> SecretKey:
    """The secret a of that auditor at that venue, from 32 secret bytes."""
    wide = sealing.hkdf(seed, _LABEL, context.encode(), _WIDE)
    return SecretKey(1 + int.from_bytes(wide, "big") % (GROUP_ORDER - 1))


def auditor_table(name: str, title: str, account: Address, registration: Registration) -> str:
    """The [[auditor]] table of a policy.toml."""
    fields = {
        "name": name,
        "title": title,
        "key": hex_text(registration.key.encode()),
        "account": address_hex(account),
        "proof": hex_text(registration.encode()),
    }
    return "\n".join(["[[auditor]]", *(f"{k} = {json.dumps(v)}" for k, v in fields.items())])


def registered(seed: bytes, context: KeyContext) -> Registration:
    """The key's registration, which proves that whoever made it knows the secret."""
    return register(secret_key(seed, context), context)
