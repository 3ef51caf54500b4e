# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Orders and rounds as evidence
@license GPL-3.0-or-later
@dev A round's words are those of `transcript_words` in darkpool/netting.py; a leaf of its list is that of
     `order_leaf` in darkpool/order.py; lists are RFC 9162 trees. Commitments are Pedersen's over BLS12-381 G1,
     computed by the precompiles of EIP-2537, with the generators of commitments/pedersen.py:
         C_q = quantity * G + blinding_q * H        C_m = slot * quantity * G + blinding_m * H
     slot = 2 * level + side, side 0 to buy and 1 to sell; a limit is p_0 + level * tick.
"""

struct Signed:
    nonce: uint256
    order: Bytes[MAX_ORDER]
    signature: Bytes[65]
    c_q: Bytes[96]
    c_m: Bytes[96]
    index: uint256
    path: DynArray[bytes32, MAX_PATH]


# Places of a round's words.
WORDS: constant(uint256) = 13
MARKET: constant(uint256) = 0
ROOT: constant(uint256) = 3
ORDERS: constant(uint256) = 4
PRICE: constant(uint256) = 5
P_0: constant(uint256) = 6
TICK: constant(uint256) = 7
LOT: constant(uint256) = 8
BASE: constant(uint256) = 10
QUOTE: constant(uint256) = 11

MAX_PATH: constant(uint256) = 16
MAX_ORDER: constant(uint256) = 65536
MAX_TERMS: constant(uint256) = 2048
MAX_TOKENS: constant(uint256) = 8
MAX_LEVELS: constant(uint256) = 256

G1ADD: constant(address) = 0x000000000000000000000000000000000000000b
G1MSM: constant(address) = 0x000000000000000000000000000000000000000C
G: constant(Bytes[128]) = x"00000000000000000000000000000000062b3b1c8ed725a26fa219740cbbc0b53820c7f59bea8428c62b96b4ec65e384f5864ccd02c7109d5fe54c30f08749da00000000000000000000000000000000021154c69d8d2afc7d9fb7c810ab496d3f470cc9974c9e75c9ca11007c45e4b5831c08bce67c7cf3b73275da30bdfb3f"
H: constant(Bytes[128]) = x"0000000000000000000000000000000018cc861fb66822f54ce5e7408e0061a73dde3cda4f3fddd7bb9bdaa4e2deb8e2f8273f68f17f79878b3d50f820dc59d0000000000000000000000000000000000164968060b49e649619d4934b016f765ded484d91ef93f92221b7ffcd91698175d04800940753530c62f4e34e500be0"
INFINITY: constant(Bytes[128]) = x"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
PAD: constant(bytes16) = 0x00000000000000000000000000000000
# (p - 1) / 2 of the base field: y above it has the sign bit when compressed. The upper 32 bytes, the lower 16.
HALF_UPPER: constant(uint256) = 5881012277300267996969154020034261370002477236985166022245944462054677576466
HALF_LOWER: constant(uint256) = 20384957414819769006437087473639085397

ORDER_LABEL: constant(Bytes[29]) = b"darkpool/v1/sealed-order-hash"
ORDER_TYPE: constant(bytes32) = keccak256(
    "SealedOrder(address account,uint64 nonce,bytes32 market,bytes32 order)"
)
# Where an order's bytes have what they are asked for (commitments/order_statement.py).
AT_GRID: constant(uint256) = 94
AT_LOT: constant(uint256) = 112
AT_TERMS: constant(uint256) = 267
AT_KEYS: constant(uint256) = 299
AT_POINTS: constant(uint256) = 508
KEY_BYTES: constant(uint256) = 48
C_M_AFTER_C_Q: constant(uint256) = 240
# Where a market's terms have the length of its name; base and quote follow the name.
AT_NAME: constant(uint256) = 120


@internal
@view
def opened(
    account: address,
    nonce: uint256,
    digest: bytes32,
    slot: uint256,
    quantity: uint256,
    blinding_q: uint256,
    blinding_m: uint256,
    words: uint256[WORDS],
) -> bytes32:
    """
    @dev Leaf of an order of the account with these contents: its commitments are computed from them, so a list
         has it only if they open what is in the list.
    """
    assert slot < 2 * MAX_LEVELS, "evidence: slot is 512 or more"
    assert quantity < 2**32, "evidence: quantity is 2**32 lots or more"
    c_q: Bytes[96] = self._commitment(quantity, blinding_q)
    c_m: Bytes[96] = self._commitment(slot * quantity, blinding_m)
    return self._leaf(account, nonce, words[MARKET], c_q, c_m, digest)


@internal
@view
def check_listed(
    leaf: bytes32, index: uint256, path: DynArray[bytes32, MAX_PATH], words: uint256[WORDS]
):
    assert self._leads_to_root(leaf, index, path, words), "evidence: the round's list has no such order there"


@internal
@pure
def claim(leaf: bytes32, words: uint256[WORDS]) -> bytes32:
    """
    @dev What an order that is opened without its place in a list comes to: the leaf, and the book of its round.
    """
    return keccak256(
        abi_encode(
            leaf,
            words[MARKET],
            words[P_0],
            words[TICK],
            words[LOT],
            words[BASE],
            words[QUOTE],
        )
    )


@internal
@view
def check_signed(
    account: address, separator: bytes32, order: Signed, words: uint256[WORDS]
) -> bytes32:
    """
    @dev The round's list has an order of the account that the account signed, as it signed it, for the round's
         grid and lot. Its leaf.
    """
    digest: bytes32 = sha256(concat(ORDER_LABEL, order.order))
    struct_hash: bytes32 = keccak256(
        abi_encode(ORDER_TYPE, account, order.nonce, words[MARKET], digest)
    )
    assert len(order.signature) == 65, "evidence: the signature has not 65 bytes"
    v: uint256 = convert(slice(order.signature, 64, 1), uint256)
    signer: address = ecrecover(
        keccak256(concat(b"\x19\x01", separator, struct_hash)),
        v,
        extract32(order.signature, 0, output_type=uint256),
        extract32(order.signature, 32, output_type=uint256),
    )
    assert signer == account and account != empty(address), "evidence: the account did not sign the order"
    assert self._number(order.order, AT_GRID) == words[P_0], "evidence: the round's p_0 is not the order's"
    assert self._number(order.order, AT_GRID + 8) == words[TICK], "evidence: the round's tick is not the order's"
    assert self._number(order.order, AT_LOT) == words[LOT], "evidence: the round's lot is not the order's"
    keys: uint256 = convert(slice(order.order, AT_KEYS, 1), uint256)
    at: uint256 = AT_POINTS + KEY_BYTES * keys
    assert self._is_point(order.c_q, slice(order.order, at, 48)), "evidence: C_q is not the order's"
    assert self._is_point(
        order.c_m, slice(order.order, at + C_M_AFTER_C_Q, 48)
    ), "evidence: C_m is not the order's"
    leaf: bytes32 = self._leaf(account, order.nonce, words[MARKET], order.c_q, order.c_m, digest)
    assert self._leads_to_root(leaf, order.index, order.path, words), "evidence: the round's list has not this order there"
    return leaf


@internal
@view
def check_tokens(order: Signed, terms: Bytes[MAX_TERMS], base: address, quote: address):
    """
    @dev These are the tokens of the order's market: the signed bytes have the hash of its terms
         (`Terms.preimage` in darkpool/order.py), which name them behind the market's name.
    """
    assert sha256(terms) == extract32(order.order, AT_TERMS), "evidence: the terms are not the order's"
    at: uint256 = AT_NAME + 4 + convert(slice(terms, AT_NAME, 4), uint256)
    assert convert(slice(terms, at, 20), address) == base, "evidence: the round's base is not the order's"
    assert convert(slice(terms, at + 20, 20), address) == quote, "evidence: the round's quote is not the order's"


@internal
@pure
def same_book(words: uint256[WORDS], other: uint256[WORDS]) -> bool:
    """
    @dev Whether an order that was in the one round may have been in the other.
    """
    return (
        words[MARKET] == other[MARKET]
        and words[P_0] == other[P_0]
        and words[TICK] == other[TICK]
        and words[LOT] == other[LOT]
        and words[BASE] == other[BASE]
        and words[QUOTE] == other[QUOTE]
    )


@internal
@pure
def eligible(slot: uint256, words: uint256[WORDS]) -> bool:
    """
    @dev Whether an order of that slot may trade at the round's price. In a round whose words are out of range
         none may: all are below 2**64, tokens below 8.
    """
    for place: uint256 in [PRICE, P_0, TICK, LOT]:
        if words[place] >= 2**64:
            return False
    if words[BASE] >= MAX_TOKENS or words[QUOTE] >= MAX_TOKENS:
        return False
    limit: uint256 = words[P_0] + (slot >> 1) * words[TICK]
    if slot & 1 == 0:
        return limit >= words[PRICE]
    return limit <= words[PRICE]


@internal
@view
def _commitment(committed: uint256, blinding: uint256) -> Bytes[96]:
    point: Bytes[128] = raw_call(
        G1MSM,
        concat(G, convert(committed, bytes32), H, convert(blinding, bytes32)),
        max_outsize=128,
        is_static_call=True,
    )
    assert len(point) == 128, "evidence: this chain has no EIP-2537"
    return concat(slice(point, 16, 48), slice(point, 80, 48))


@internal
@view
def _is_point(xy: Bytes[96], compressed: Bytes[48]) -> bool:
    if len(xy) != 96:
        return False
    flags: uint256 = extract32(compressed, 0, output_type=uint256) >> 253
    if extract32(xy, 0, output_type=uint256) != extract32(compressed, 0, output_type=uint256) & (2**253 - 1):
        return False
    if extract32(xy, 16) != extract32(compressed, 16):
        return False
    upper: uint256 = extract32(xy, 48, output_type=uint256)
    lower: uint256 = extract32(xy, 64, output_type=uint256) & (2**128 - 1)
    above: bool = upper > HALF_UPPER or (upper == HALF_UPPER and lower > HALF_LOWER)
    if above != (flags & 1 == 1):
        return False
    # Else a wrong y of the right half would make a leaf that its account cannot open.
    on_curve: bool = False
    point_back: Bytes[128] = b""
    on_curve, point_back = raw_call(
        G1ADD,
        concat(PAD, slice(xy, 0, 48), PAD, slice(xy, 48, 48), INFINITY),
        max_outsize=128,
        is_static_call=True,
        revert_on_failure=False,
    )
    return on_curve and len(point_back) == 128


@internal
@pure
def _number(order: Bytes[MAX_ORDER], at: uint256) -> uint256:
    return convert(slice(order, at, 8), uint256)


@internal
@view
def _leaf(
    account: address,
    nonce: uint256,
    market: uint256,
    c_q: Bytes[96],
    c_m: Bytes[96],
    digest: bytes32,
) -> bytes32:
    assert nonce < 2**64, "evidence: nonce is 2**64 or more"
    return sha256(
        concat(
            b"\x00",
            convert(account, bytes20),
            convert(convert(nonce, uint64), bytes8),
            convert(market, bytes32),
            c_q,
            c_m,
            digest,
        )
    )


@internal
@view
def _leads_to_root(
    leaf: bytes32, index: uint256, path: DynArray[bytes32, MAX_PATH], words: uint256[WORDS]
) -> bool:
    """
    @dev RFC 9162, section 2.1.3.2.
    """
    if index >= words[ORDERS]:
        return False
    node: bytes32 = leaf
    fn: uint256 = index
    sn: uint256 = words[ORDERS] - 1
    for sibling: bytes32 in path:
        if sn == 0:
            return False
        if fn & 1 == 1 or fn == sn:
            node = sha256(concat(b"\x01", sibling, node))
            # A last node without a sibling rises until it is a right child.
            for _: uint256 in range(MAX_PATH):
                if fn & 1 == 1 or fn == 0:
                    break
                fn >>= 1
                sn >>= 1
        else:
            node = sha256(concat(b"\x01", node, sibling))
        fn >>= 1
        sn >>= 1
    return sn == 0 and node == convert(words[ROOT], bytes32)
