# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Judge of contested settlements
@license GPL-3.0-or-later
@notice An account shows that a settlement of a vault did to it what no fills of its orders could have done, and
        the vault unwinds the settlement. Needs nobody's help or consent. It costs a bond, which comes back
        when the claim holds, and is lost when it is false: to whoever refutes it, or to nobody.
@dev What is shown of an account's orders is opened here (`evidence.vy`). What is not shown is denied: "there is no
     such order, signed by me, in a round of this settlement". A false denial is refuted by whoever shows the
     order, or the rounds; one that nobody refutes within a quarter of the vault's WITHDRAW_DELAY stands. An order
     may be opened without its place in a list: that claims that no other order of its nonce was signed, and
     whoever shows one that is listed refutes it. So neither rounds nor lists that are withheld keep anybody
     from contesting: once the denied rounds are shown the account may contest again, and deny none.

     Bounds. An order trades at most its quantity q, once, in a round of its market with its grid where its limit
     allows the price, if at all. A lot bought in round r brings lot_r base quanta and costs price_r quote quanta;
     sold, the other way round. For any valuation v of the tokens, what the settlement brings the account is worth
         sum over tokens of v * delta  <=  sum over orders of q * max(0, max over rounds of its lot's worth)
     if it is made of fills. A valuation under which that fails proves the settlement false, and if the delta is
     no sum of such fills (of parts of lots, even), there is one: they make a convex set.

     It serves any number of vaults, each of which was created with its address. Records, delays and domains
     are read from the vault; a false vault harms only those who contest in it.
"""

import evidence


struct Token:
    token: address
    quantum: uint256


interface Vault:
    def tokens(index: uint256) -> Token: view
    def records(id: uint256) -> bytes32: view
    def WITHDRAW_DELAY() -> uint256: view
    def domain_separator() -> bytes32: view
    def convict(id: uint256, settled_at: uint256): nonpayable


struct NullifierRow:
    key: uint256
    mask: uint256


struct Settled:
    id: uint256
    settled_at: uint256
    root: bytes32
    transcript: bytes32
    deltas: DynArray[uint256, MAX_ROWS]
    nullifiers: DynArray[NullifierRow, MAX_ROWS]


struct Record:
    id: uint256
    settled_at: uint256
    root: bytes32
    transcript: bytes32
    deltas: bytes32
    nullifiers: bytes32


struct Round:
    place: uint256
    words: uint256[evidence.WORDS]


struct Order:
    nonce: uint256
    round: uint256
    slot: uint256
    quantity: uint256
    blinding_q: uint256
    blinding_m: uint256
    hash: bytes32
    index: uint256
    path: DynArray[bytes32, evidence.MAX_PATH]


struct Contest:
    settled_at: uint256
    ends_at: uint256
    rounds: uint256
    orders: bytes32
    closed: bool
    answered: bool


event Contested:
    vault: indexed(address)
    id: indexed(uint256)
    account: indexed(address)
    ends_at: uint256
    rounds: uint256
    orders: DynArray[uint256, MAX_ORDERS]
    claims: DynArray[bytes32, MAX_ORDERS]


event RoundsShown:
    vault: indexed(address)
    id: indexed(uint256)
    account: indexed(address)
    transcripts: DynArray[bytes32, MAX_ROUNDS]
    rounds: DynArray[Round, MAX_ROUNDS]


event Refuted:
    vault: indexed(address)
    id: indexed(uint256)
    account: indexed(address)
    by: address


event Upheld:
    vault: indexed(address)
    id: indexed(uint256)
    account: indexed(address)


MAX_ROWS: constant(uint256) = 512
MAX_TOKENS: constant(uint256) = 8
MAX_ROUNDS: constant(uint256) = 16
MAX_ORDERS: constant(uint256) = 64

# Index of an order that is opened without its place in a list.
UNLISTED: constant(uint256) = max_value(uint256)

ACCOUNT_MASK: constant(uint256) = 2**160 - 1
WORD_MASK: constant(uint256) = 2**96 - 1
MAGNITUDE_MASK: constant(uint256) = 2**87 - 1
DEBIT_BIT: constant(uint256) = 2**87
# Keeps every product and sum below 2**255.
MAX_VALUE: constant(int256) = 2**64

# What a contest costs, wei: more than a refutation does at 100 gwei.
BOND: public(constant(uint256)) = 10**17

# By vault, settlement and account. Of rounds shown, bit p for place p; of orders, keccak256(abi.encode(nonces,
# claims)), a claim being zero for a listed order. Answered: its rounds were shown, it may contest again.
contests: public(HashMap[address, HashMap[uint256, HashMap[address, Contest]]])


@external
@payable
@nonreentrant
def contest(
    vault: address,
    settled: Settled,
    transcripts: DynArray[bytes32, MAX_ROUNDS],
    rounds: DynArray[Round, MAX_ROUNDS],
    orders: DynArray[Order, MAX_ORDERS],
    valuation: int256[MAX_TOKENS],
) -> uint256:
    """
    @notice Contests what a settlement did to the caller, for BOND; once, and once more if somebody then showed
            the rounds that were denied. Evidence that is malformed or does not fit reverts. Evidence that is
            whole and proves nothing loses the bond. If it proves the claim and denies nothing, the vault
            unwinds at once; else after the time to refute it: then call `uphold`.
    @dev 1. bond, not contested before; 2. the settlement is in force, and not too old; 3. rounds are of its
         transcript; 4. orders are the caller's, in those rounds, and were consumed; 5. the bound.
    @param vault Where it was settled.
    @param settled The settlement with the time of its block.
    @param transcripts Hashes of all its rounds, in its order; none to deny that there are any.
    @param rounds Each that is known by its place among them, ascending; those left out are denied, if any order
           of the caller was consumed (else they cannot matter).
    @param orders The caller's, by nonce ascending; of consumed nonces those left out are denied. One whose place
           in the list is not known has UNLISTED, 2**256 - 1, for its index.
    @param valuation Worth of a quantum of each token, from -2**64 to 2**64.
    @return 0 if the bond is lost, the time until which it may be refuted, or 1 if it is upheld at once.
    """
    assert msg.value == BOND, "contest: send exactly BOND with it"  # 1
    before: Contest = self.contests[vault][settled.id][msg.sender]
    assert before.settled_at == 0 or before.answered, "contest: the account has contested this settlement before"
    self._check_record(
        vault,
        Record(
            id=settled.id,
            settled_at=settled.settled_at,
            root=settled.root,
            transcript=settled.transcript,
            deltas=keccak256(abi_encode(settled.deltas)),
            nullifiers=keccak256(abi_encode(settled.nullifiers)),
        ),
    )  # 2
    delay: uint256 = staticcall Vault(vault).WITHDRAW_DELAY()
    assert block.timestamp < settled.settled_at + delay, "contest: too late, what was settled may have left"

    shown: uint256 = 0  # 3
    unknown: bool = len(rounds) < len(transcripts) or len(transcripts) == 0
    denied: bool = False
    if len(transcripts) != 0:
        self._check_transcripts(transcripts, settled.transcript)
    previous: uint256 = 0
    for round: Round in rounds:
        assert round.place < len(transcripts), "contest: a round's place is not one of the transcripts"
        assert shown >> round.place == 0, "contest: rounds do not ascend by place"
        assert keccak256(abi_encode(round.words)) == transcripts[round.place], "contest: a round is not the one of its transcript"
        shown |= 1 << round.place

    nonces: DynArray[uint256, MAX_ORDERS] = []  # 4
    claims: DynArray[bytes32, MAX_ORDERS] = []
    most: int256 = 0
    for row: NullifierRow in settled.nullifiers:
        if row.key >> 96 != convert(msg.sender, uint256):
            continue
        if unknown:
            assert not before.answered, "contest: the rounds were shown; show them all"
            denied = True
        left: uint256 = row.mask
        for i: uint256 in range(MAX_ORDERS):
            if len(nonces) == len(orders):
                break
            order: Order = orders[len(nonces)]
            if order.nonce >> 8 != row.key & WORD_MASK:
                break
            bit: uint256 = 1 << (order.nonce & 255)
            assert left & bit != 0, "contest: an order's nonce was not consumed, or is shown twice"
            assert order.round < len(rounds), "contest: an order names a round that is not shown"
            left ^= bit
            nonces.append(order.nonce)
            words: uint256[evidence.WORDS] = rounds[order.round].words
            leaf: bytes32 = evidence.opened(
                msg.sender,
                order.nonce,
                order.hash,
                order.slot,
                order.quantity,
                order.blinding_q,
                order.blinding_m,
                words,
            )
            if order.index == UNLISTED:
                denied = True
                claims.append(evidence.claim(leaf, words))
            else:
                evidence.check_listed(leaf, order.index, order.path, words)
                claims.append(empty(bytes32))
            best: int256 = 0
            for other: Round in rounds:
                if evidence.same_book(words, other.words) and evidence.eligible(order.slot, other.words):
                    worth: int256 = self._worth(valuation, other.words)
                    if order.slot & 1 == 1:
                        worth = -worth
                    best = max(best, worth)
            most += best * convert(order.quantity, int256)
        if left != 0:
            denied = True
    assert len(nonces) == len(orders), "contest: orders do not ascend by nonce, or one was not consumed"

    for value: int256 in valuation:  # 5
        assert value <= MAX_VALUE and value >= -MAX_VALUE, "contest: a valuation is beyond 2**64"
    brought: int256 = 0
    for row: uint256 in settled.deltas:
        if (row >> 88) & ACCOUNT_MASK == convert(msg.sender, uint256):
            amount: int256 = convert(row & MAGNITUDE_MASK, int256) * valuation[row >> 248]
            if row & DEBIT_BIT == 0:
                brought += amount
            else:
                brought -= amount
    proven: bool = brought > most
    if proven and denied:
        # The second time later, so that who showed the rounds at the last moment gained nothing.
        last: uint256 = delay * 5 // 8 if before.answered else delay // 2
        assert block.timestamp < settled.settled_at + last, "contest: too late to deny anything, there must be time to refute it"
    found: Contest = Contest(
        settled_at=settled.settled_at,
        ends_at=block.timestamp + delay // 4,
        rounds=shown,
        orders=keccak256(abi_encode(nonces, claims)),
        closed=not (proven and denied),
        answered=False,
    )
    self.contests[vault][settled.id][msg.sender] = found
    log Contested(
        vault=vault,
        id=settled.id,
        account=msg.sender,
        ends_at=found.ends_at,
        rounds=shown,
        orders=nonces,
        claims=claims,
    )
    if not proven:
        log Refuted(vault=vault, id=settled.id, account=msg.sender, by=empty(address))
        return 0
    if denied:
        return found.ends_at
    log Upheld(vault=vault, id=settled.id, account=msg.sender)
    extcall Vault(vault).convict(settled.id, settled.settled_at)
    raw_call(msg.sender, b"", value=BOND)
    return 1


@external
@nonreentrant
def uphold(vault: address, id: uint256, account: address):
    """
    @notice Has the vault unwind a settlement whose contest nobody refuted in time, and returns the bond to the
            account. Anyone may call it.
    @param vault Where it was settled.
    @param id Of the settlement.
    @param account Who contested.
    """
    found: Contest = self._open(vault, id, account)
    assert block.timestamp >= found.ends_at, "uphold: it may still be refuted; wait until ends_at"
    self.contests[vault][id][account].closed = True
    log Upheld(vault=vault, id=id, account=account)
    # If it is unwound already, by another contest, only the bond is left to return.
    if staticcall Vault(vault).records(id) != empty(bytes32):
        delay: uint256 = staticcall Vault(vault).WITHDRAW_DELAY()
        assert block.timestamp < found.settled_at + delay, "uphold: too late, what was settled may have left"
        extcall Vault(vault).convict(id, found.settled_at)
    raw_call(account, b"", value=BOND)


@external
@nonreentrant
def refute_round(
    vault: address,
    account: address,
    record: Record,
    transcripts: DynArray[bytes32, MAX_ROUNDS],
    rounds: DynArray[Round, MAX_ROUNDS],
):
    """
    @notice Refutes a contest that denies rounds, by all of them. The caller gets the bond, and the account may
            contest again.
    @param vault Where it was settled.
    @param account Who contested.
    @param record What the vault recorded of the settlement.
    @param transcripts Hashes of all its rounds, in its order.
    @param rounds All that were not shown; at least one.
    """
    found: Contest = self._refutable(vault, account, record)
    self._check_transcripts(transcripts, record.transcript)
    assert len(rounds) != 0, "refute: show the rounds"
    shown: uint256 = found.rounds
    for round: Round in rounds:
        self._check_round(round, transcripts)
        assert (shown >> round.place) & 1 == 0, "refute: the round was shown"
        shown |= 1 << round.place
    assert shown == (1 << len(transcripts)) - 1, "refute: show all rounds that were denied"
    self.contests[vault][record.id][account].answered = True
    log RoundsShown(
        vault=vault, id=record.id, account=account, transcripts=transcripts, rounds=rounds
    )
    self._refuted(vault, record.id, account)


@external
@nonreentrant
def refute_order(
    vault: address,
    account: address,
    record: Record,
    nullifiers: DynArray[NullifierRow, MAX_ROWS],
    transcripts: DynArray[bytes32, MAX_ROUNDS],
    round: Round,
    shown: DynArray[uint256, MAX_ORDERS],
    claims: DynArray[bytes32, MAX_ORDERS],
    order: evidence.Signed,
    terms: Bytes[evidence.MAX_TERMS],
):
    """
    @notice Refutes a contest that denies an order, or opens another one in its place, by the order. The caller
            gets the bond. A contest that denies rounds is refuted by those alone.
    @param vault Where it was settled.
    @param account Who contested.
    @param record What the vault recorded of the settlement.
    @param nullifiers All its rows.
    @param transcripts Hashes of all its rounds, in its order.
    @param round The one that has the order.
    @param shown Nonces of the orders that the contest did show.
    @param claims What it said of each of those, as the event has it.
    @param order Bytes, signature, and place in the round's list, of an order that it did not show.
    @param terms Of the order's market: bytes whose SHA-256 the order has.
    """
    found: Contest = self._refutable(vault, account, record)
    self._check_transcripts(transcripts, record.transcript)
    assert found.rounds == (1 << len(transcripts)) - 1, "refute: the contest denies rounds; show those"
    self._check_round(round, transcripts)
    assert keccak256(abi_encode(nullifiers)) == record.nullifiers, "refute: the nullifiers are not those of the record"
    assert keccak256(abi_encode(shown, claims)) == found.orders, "refute: other orders were shown"
    consumed: bool = False
    for row: NullifierRow in nullifiers:
        if row.key == (convert(account, uint256) << 96) | (order.nonce >> 8):
            consumed = (row.mask >> (order.nonce & 255)) & 1 == 1
    assert consumed, "refute: the order was not consumed"
    leaf: bytes32 = evidence.check_signed(
        account, staticcall Vault(vault).domain_separator(), order, round.words
    )
    base: Token = staticcall Vault(vault).tokens(round.words[evidence.BASE])
    quote: Token = staticcall Vault(vault).tokens(round.words[evidence.QUOTE])
    evidence.check_tokens(order, terms, base.token, quote.token)
    claim: bytes32 = evidence.claim(leaf, round.words)
    for i: uint256 in range(len(shown), bound=MAX_ORDERS):
        if shown[i] == order.nonce:
            assert claims[i] != empty(bytes32) and claims[i] != claim, "refute: the order was shown"
    self._refuted(vault, record.id, account)


@internal
@view
def _check_record(vault: address, record: Record):
    assert staticcall Vault(vault).records(record.id) == keccak256(abi_encode(record)), "record: no such settlement is in force in the vault"


@internal
@pure
def _check_round(round: Round, transcripts: DynArray[bytes32, MAX_ROUNDS]):
    assert round.place < len(transcripts), "refute: the round's place is not one of the transcripts"
    assert keccak256(abi_encode(round.words)) == transcripts[round.place], "refute: the round is not the one of its transcript"


@internal
@pure
def _check_transcripts(transcripts: DynArray[bytes32, MAX_ROUNDS], whole: bytes32):
    # Without the two words that say where the list begins and how long it is.
    assert keccak256(slice(abi_encode(transcripts), 64, 32 * len(transcripts))) == whole, "transcripts: not those of the settlement"


@internal
@pure
def _worth(valuation: int256[MAX_TOKENS], words: uint256[evidence.WORDS]) -> int256:
    """
    @dev Of one lot bought; `evidence.eligible` has bounded the words.
    """
    brings: int256 = valuation[words[evidence.BASE]] * convert(words[evidence.LOT], int256)
    costs: int256 = valuation[words[evidence.QUOTE]] * convert(words[evidence.PRICE], int256)
    return brings - costs


@internal
@view
def _open(vault: address, id: uint256, account: address) -> Contest:
    found: Contest = self.contests[vault][id][account]
    assert found.settled_at != 0 and not found.closed, "contests: none is open of this account and settlement"
    return found


@internal
@view
def _refutable(vault: address, account: address, record: Record) -> Contest:
    found: Contest = self._open(vault, record.id, account)
    assert block.timestamp < found.ends_at, "refute: too late"
    self._check_record(vault, record)
    return found


@internal
def _refuted(vault: address, id: uint256, account: address):
    self.contests[vault][id][account].closed = True
    log Refuted(vault=vault, id=id, account=account, by=msg.sender)
    raw_call(msg.sender, b"", value=BOND)
