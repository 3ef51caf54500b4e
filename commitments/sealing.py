"""Symmetric and public-key sealing: HKDF paths, AEAD notes, HPKE boxes, HMAC commitments.

**Paths.** A secret seed grows a tree of 32-byte keys, one HKDF per step, so that handing over a node opens
everything below it and nothing beside or above it. The tree of view keys (docs/protocol.md section 9) is

    seed -> account (chain id, contract, account) -> market -> session day -> order (nonce)

**Notes.** AES-256-GCM with a fresh 96-bit nonce from the operating system: nonce || ciphertext || tag.
GCM does not commit to its key, so whatever must bind the key of a note carries `hmac_commit` beside it.

**Boxes.** HPKE base mode (RFC 9180), DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, one message a
box: enc || ciphertext || tag. Base mode says nothing about the sender; whoever needs that signs the box.

Lengths of sealed things depend on the lengths of what is in them and on nothing else. The arithmetic below
(pycryptodome, CPython) is not claimed to be constant-time.
"""

from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol import HPKE
from Crypto.Protocol.DH import import_x25519_private_key, import_x25519_public_key
from Crypto.Protocol.KDF import HKDF
from Crypto.PublicKey.ECC import EccKey

from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.params import MAX_NOTE_BYTES

LABEL_SEED: Final = b"darkpool/v1/seed"
LABEL_VIEW_ACCOUNT: Final = b"darkpool/v1/view/account"
LABEL_VIEW_MARKET: Final = b"darkpool/v1/view/market"
LABEL_VIEW_DAY: Final = b"darkpool/v1/view/day"
LABEL_VIEW_ORDER: Final = b"darkpool/v1/view/order"
LABEL_NOTE: Final = b"darkpool/v1/note"
LABEL_LEAF_KEY: Final = b"darkpool/v1/leaf-key-commitment"

KEY_BYTES: Final = 32
ADDRESS_BYTES: Final = 20
MAX_HKDF_BYTES: Final = 255 * 32
MAX_LABEL_BYTES: Final = 255
MAX_ELEMENT_BYTES: Final = 1024  # one element of a path
MAX_MARKET_BYTES: Final = 64
MAX_DAY: Final = (1 << 32) - 1
MAX_NONCE: Final = (1 << 64) - 1

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
NOTE_OVERHEAD: Final = NONCE_BYTES + TAG_BYTES
MAX_ASSOCIATED_BYTES: Final = 1 << 16

PUBLIC_KEY_BYTES: Final = 32
BOX_OVERHEAD: Final = PUBLIC_KEY_BYTES + TAG_BYTES
MAX_BOX_BYTES: Final = 1 << 16  # plaintext of one box

_EXPAND_KEY: Final = b"\x00"
_EXPAND_BYTES: Final = b"\x01"


# --- HKDF paths -------------------------------------------------------------------------------------


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869), `length` bytes. Raises ParameterError outside 1 to 8160 bytes."""
    _check_output(length)
    derived = HKDF(secret, length, salt, SHA256, 1, info)
    if not isinstance(derived, bytes):  # a tuple only if several keys were asked for
        raise ParameterError("HKDF returned more than one key")
    return derived


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NodeKey:
    """One node of a key path, 32 secret bytes. Whoever holds it holds everything below it."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_key("node key", self.secret)

    def __repr__(self) -> str:
        return "NodeKey(<secret>)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeKey) and hmac.compare_digest(self.secret, other.secret)

    def __hash__(self) -> int:
        return hash((NodeKey, self.secret))

    def child(self, label: bytes, data: bytes) -> NodeKey:
        """The node below, by label and element. Raises ParameterError as `expand`."""
        return NodeKey(self._derive(_EXPAND_KEY, label, data, KEY_BYTES))

    def expand(self, label: bytes, data: bytes, length: int) -> bytes:
        """`length` secret bytes for use outside the tree; never a prefix of another length, nor a child.

        Raises ParameterError for an empty or over-long label (255 bytes), an element over 1024 bytes, or a
        length outside 1 to 8160 bytes.
        """
        return self._derive(_EXPAND_BYTES, label, data, length)

    def _derive(self, kind: bytes, label: bytes, data: bytes, length: int) -> bytes:
        if not 1 <= len(label) <= MAX_LABEL_BYTES:
            raise ParameterError(f"a path label of {len(label)} bytes; allowed are 1 to {MAX_LABEL_BYTES}")
        if len(data) > MAX_ELEMENT_BYTES:
            raise ParameterError(f"a path element of {len(data)} bytes; the limit is {MAX_ELEMENT_BYTES}")
        _check_output(length)
        info = kind + struct.pack(">IB", length, len(label)) + label + struct.pack(">I", len(data)) + data
        return hkdf(self.secret, b"", info, length)


def derive_path(seed: bytes, *elements: tuple[bytes, bytes]) -> NodeKey:
    """The node under a 32-byte seed reached by the (label, element) steps; with none, the root node.

    Raises ParameterError for a seed not of 32 bytes, or as `NodeKey.child`.
    """
    _check_key("seed", seed)
    node = NodeKey(hkdf(seed, LABEL_SEED, b"", KEY_BYTES))
    for label, data in elements:
        node = node.child(label, data)
    return node


def view_account(seed: bytes, chain_id: int, contract: bytes, account: bytes) -> NodeKey:
    """The view key of an account: every order it ever places in this contract on this chain.

    Raises ParameterError for a chain id outside 256 bits or addresses not of 20 bytes.
    """
    if not 0 <= chain_id < 1 << 256:
        raise ParameterError("a chain id has 256 bits")
    for name, address in (("contract", contract), ("account", account)):
        if len(address) != ADDRESS_BYTES:
            raise ParameterError(f"{name}: {len(address)} bytes, an address has {ADDRESS_BYTES}")
    return derive_path(seed, (LABEL_VIEW_ACCOUNT, chain_id.to_bytes(32, "big") + contract + account))


def view_market(account_node: NodeKey, market: bytes) -> NodeKey:
    """The view key of one market of an account. Raises ParameterError for a name not of 1 to 64 bytes."""
    if not 1 <= len(market) <= MAX_MARKET_BYTES:
        raise ParameterError(f"market: {len(market)} bytes; allowed are 1 to {MAX_MARKET_BYTES}")
    return account_node.child(LABEL_VIEW_MARKET, market)


def view_day(market_node: NodeKey, day: int) -> NodeKey:
    """The view key of one session day (UTC days since 1970-01-01). Raises ParameterError out of range."""
    if not 0 <= day <= MAX_DAY:
        raise ParameterError(f"day {day} is outside 0 to {MAX_DAY}")
    return market_node.child(LABEL_VIEW_DAY, day.to_bytes(4, "big"))


def view_order(day_node: NodeKey, nonce: int) -> NodeKey:
    """The leaf key of one order, by its nonce. Raises ParameterError out of range."""
    if not 0 <= nonce <= MAX_NONCE:
        raise ParameterError(f"nonce {nonce} is outside 0 to {MAX_NONCE}")
    return day_node.child(LABEL_VIEW_ORDER, nonce.to_bytes(8, "big"))


def note_key(order_node: NodeKey) -> bytes:
    """The AES-256 key of an order's note; the leaf key itself only derives and commits."""
    return order_node.expand(LABEL_NOTE, b"", KEY_BYTES)


# --- AEAD notes -------------------------------------------------------------------------------------


def seal(key: bytes, plaintext: bytes, associated: bytes, limit: int = MAX_NOTE_BYTES) -> bytes:
    """AES-256-GCM: nonce || ciphertext || tag, 28 bytes longer than the plaintext.

    `associated` is bound but not carried. One key may seal up to 2^32 notes (random nonces, SP 800-38D 8.3).
    Raises ParameterError for a key not of 32 bytes, a plaintext above the limit, which is 1 KiB for notes, or
    associated data over 64 KiB.
    """
    _check_key("note key", key)
    if len(plaintext) > limit:
        raise ParameterError(f"note: {len(plaintext)} bytes, the limit is {limit}")
    _check_associated(associated)
    nonce = os.urandom(NONCE_BYTES)
    cipher = AES.new(key, AES.MODE_GCM, nonce=nonce, mac_len=TAG_BYTES)
    cipher.update(associated)
    ciphertext, tag = cipher.encrypt_and_digest(plaintext)
    return nonce + ciphertext + tag


def open_(key: bytes, sealed: bytes, associated: bytes, limit: int = MAX_NOTE_BYTES) -> bytes:
    """The plaintext of `seal`.

    Raises DecodeError for an impossible length, VerificationError if key, note and associated data do not
    belong together, ParameterError as `seal`.
    """
    _check_key("note key", key)
    _check_associated(associated)
    _check_length("sealed note", sealed, NOTE_OVERHEAD, limit)
    cipher = AES.new(key, AES.MODE_GCM, nonce=sealed[:NONCE_BYTES], mac_len=TAG_BYTES)
    cipher.update(associated)
    try:
        return cipher.decrypt_and_verify(sealed[NONCE_BYTES:-TAG_BYTES], sealed[-TAG_BYTES:])
    except ValueError:
        raise VerificationError(
            "sealed note", "the tag does not match: another key, other associated data or a changed note"
        ) from None


# --- HPKE boxes -------------------------------------------------------------------------------------

_KEM_SUITE: Final = b"KEM\x00\x20"  # DHKEM(X25519, HKDF-SHA256)
_AEAD: Final = HPKE.AEAD.AES256_GCM


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BoxKey:
    """An X25519 private key that opens boxes; `public` is the 32 bytes to give away."""

    public: bytes
    private: EccKey = field(repr=False)

    def __repr__(self) -> str:
        return f"BoxKey(public={self.public.hex()})"

    @classmethod
    def generate(cls) -> BoxKey:
        """A key from the operating system's randomness."""
        return cls.derive(os.urandom(KEY_BYTES))

    @classmethod
    def derive(cls, seed: bytes) -> BoxKey:
        """DeriveKeyPair of RFC 9180 section 7.1.3 from 32 secret bytes. Raises ParameterError otherwise."""
        _check_key("box seed", seed)
        # LabeledExtract(salt "", "dkp_prk", seed), then LabeledExpand("sk", "", 32): one HKDF does both.
        extract = b"HPKE-v1" + _KEM_SUITE + b"dkp_prk" + seed
        expand = struct.pack(">H", KEY_BYTES) + b"HPKE-v1" + _KEM_SUITE + b"sk"
        private = import_x25519_private_key(hkdf(extract, b"", expand, KEY_BYTES))
        return cls(_raw(private), private)


@lru_cache(maxsize=4096)  # an account's orders name the same key; refused ones are not kept
def check_public(public: bytes) -> None:
    """A public key boxes may be sealed to: 32 canonical bytes, not of low order.

    Raises DecodeError. A set top bit or a coordinate above the prime is refused: one key, one spelling.
    """
    _import_public("public key", public)


def box_seal(public: bytes, plaintext: bytes, info: bytes, aad: bytes) -> bytes:
    """A box only the holder of `public` opens: enc || ciphertext || tag, 48 bytes longer than the plaintext.

    `info` names what the box is for, `aad` what it belongs to; both are bound and not carried.
    Raises DecodeError for a bad public key, ParameterError for a plaintext, info or aad over 64 KiB.
    """
    receiver = _import_public("public key", public)
    if len(plaintext) > MAX_BOX_BYTES:
        raise ParameterError(f"box: {len(plaintext)} bytes, the limit is {MAX_BOX_BYTES}")
    _check_associated(info)
    _check_associated(aad)
    context = HPKE.new(receiver_key=receiver, aead_id=_AEAD, info=info)
    return bytes(context.enc) + bytes(context.seal(plaintext, aad))


def box_open(key: BoxKey, sealed: bytes, info: bytes, aad: bytes) -> bytes:
    """The plaintext of `box_seal`.

    Raises DecodeError for an impossible length or encapsulated key, VerificationError if key, box, info and
    aad do not belong together, ParameterError for info or aad over 64 KiB.
    """
    _check_associated(info)
    _check_associated(aad)
    _check_length("box", sealed, BOX_OVERHEAD, MAX_BOX_BYTES)
    enc = sealed[:PUBLIC_KEY_BYTES]
    _import_public("box, encapsulated key", enc)
    try:
        context = HPKE.new(receiver_key=key.private, aead_id=_AEAD, enc=enc, info=info)
        return bytes(context.unseal(sealed[PUBLIC_KEY_BYTES:], aad))
    except ValueError:
        raise VerificationError(
            "box", "the tag does not match: another key, other info or aad, or a changed box"
        ) from None


# --- HMAC commitments -------------------------------------------------------------------------------


def hmac_commit(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256(key, label || data), 32 bytes: hides the key, binds it and the data.

    Exactly 32-byte keys, because HMAC pads shorter and hashes longer ones, so two keys could agree.
    Raises ParameterError otherwise.
    """
    _check_key("commitment key", key)
    return hmac.digest(key, LABEL_LEAF_KEY + data, "sha256")


def verify_hmac_commit(key: bytes, data: bytes, commitment: bytes) -> None:
    """Checks `commitment` against key and data. Raises VerificationError; ParameterError as `hmac_commit`."""
    if not hmac.compare_digest(hmac_commit(key, data), commitment):
        raise VerificationError("leaf-key commitment", "this key is not the one committed to with this data")


# --- checks -----------------------------------------------------------------------------------------


def _check_key(name: str, key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ParameterError(f"{name}: {len(key)} bytes, it has {KEY_BYTES}")


def _check_output(length: int) -> None:
    if not 1 <= length <= MAX_HKDF_BYTES:
        raise ParameterError(f"HKDF output of {length} bytes; allowed are 1 to {MAX_HKDF_BYTES}")


def _check_associated(data: bytes) -> None:
    if len(data) > MAX_ASSOCIATED_BYTES:
        raise ParameterError(f"associated data: {len(data)} bytes, the limit is {MAX_ASSOCIATED_BYTES}")


def _check_length(name: str, sealed: bytes, overhead: int, limit: int) -> None:
    if not overhead <= len(sealed) <= overhead + limit:
        raise DecodeError(name, f"{len(sealed)} bytes; allowed are {overhead} to {overhead + limit}")


def _import_public(name: str, public: bytes) -> EccKey:
    if len(public) != PUBLIC_KEY_BYTES:
        raise DecodeError(name, f"{len(public)} bytes, an X25519 key has {PUBLIC_KEY_BYTES}")
    try:
        key = import_x25519_public_key(public)  # refuses points of low order, zero among them
    except ValueError:
        raise DecodeError(name, "not an X25519 key, or one of low order") from None
    if _raw(key) != public:
        raise DecodeError(name, "not the canonical encoding of an X25519 key")
    return key


def _raw(key: EccKey) -> bytes:
    return bytes(key.public_key().export_key(format="raw"))
