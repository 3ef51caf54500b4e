# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Vault of the dark pool
@license GPL-3.0-or-later
@notice Holds the tokens of all accounts and applies what a quorum of the committee signs: net deltas
        of balances and the nullifiers of the orders that were consumed. Nobody can pause it, no owner
        exists, and no consent is needed to leave: a withdrawal takes effect after a fixed delay.
@dev Clock rules. A settlement is valid from its sealing time until SETTLE_WINDOW later. A withdrawal or
     a cancellation takes effect only after a delay longer than SETTLE_WINDOW plus FINALITY; until then
     settlements may debit the balance and use the bits. The venue takes no orders of an account with an
     open request, so no account can make a settlement of an already sealed round revert.

     Units. A token is registered once, at construction, with a quantum: token units per quantum. Every
     balance, delta and request here is an integer of quanta. The balances of one token sum to less than
     2**64 quanta, so four of them share a storage word.

     Rows. A settlement carries its changes packed, because calldata and hashing are paid per word:
       delta row      token << 248 | account << 88 | debit << 87 | magnitude
                      token: place in the list of tokens; debit: 1 if the balance falls; magnitude: quanta
       nullifier row  (account << 96 | word, mask)
                      the orders with nonces 256 * word + i of the account, for every bit i set in mask
     Rows ascend strictly by (token, account) and by (account, word), which makes them unique.

     Signatures are EIP-712, domain {name "darkpool", version "1", chainId, verifyingContract}, over
       Settlement(uint256 id,uint256 epoch,uint256 sealedAt,bytes32 root,bytes32 transcript,
                  bytes32 deltas,bytes32 nullifiers)                                  (without the break)
     where deltas is keccak256(abi.encode(uint256[])) of the packed rows, and nullifiers is
     keccak256(abi.encode((uint256,uint256)[])); and over
       Committee(uint256 epoch,bytes32 members,uint256 threshold)
     where members is keccak256(abi.encode(address[])). Both encodings include the leading offset word.

     Log. The events alone suffice to rebuild every balance and every bit: Settled carries all rows.

     Tokens whose balances change by themselves (rebasing) must not be registered. Tokens that keep a
     fee are credited with what arrives. What is less than a quantum stays in the contract.
"""

from ethereum.ercs import IERC20


struct Token:
    token: address
    quantum: uint256


struct NullifierRow:
    key: uint256
    mask: uint256


struct Settlement:
    id: uint256
    epoch: uint256
    sealed_at: uint256
    root: bytes32
    transcript: bytes32
    deltas: DynArray[uint256, MAX_ROWS]
    nullifiers: DynArray[NullifierRow, MAX_ROWS]


struct WithdrawalRequest:
    quanta: uint256
    ready_at: uint256


struct CancelRequest:
    mask: uint256
    ready_at: uint256


struct Proposal:
    epoch: uint256
    threshold: uint256
    ready_at: uint256
    members: DynArray[address, MAX_MEMBERS]


event Deposit:
    token: indexed(uint256)
    account: indexed(address)
    quanta: uint256


event WithdrawalRequested:
    token: indexed(uint256)
    account: indexed(address)
    quanta: uint256
    ready_at: uint256


event Withdrawn:
    token: indexed(uint256)
    account: indexed(address)
    quanta: uint256


event CancelRequested:
    account: indexed(address)
    word: uint256
    mask: uint256
    ready_at: uint256


event Cancelled:
    account: indexed(address)
    word: uint256
    mask: uint256


event Settled:
    id: indexed(uint256)
    root: indexed(bytes32)
    epoch: uint256
    sealed_at: uint256
    transcript: bytes32
    deltas: DynArray[uint256, MAX_ROWS]
    nullifiers: DynArray[NullifierRow, MAX_ROWS]


event CommitteeProposed:
    epoch: indexed(uint256)
    members: DynArray[address, MAX_MEMBERS]
    threshold: uint256
    ready_at: uint256


event CommitteeActivated:
    epoch: indexed(uint256)
    members: DynArray[address, MAX_MEMBERS]
    threshold: uint256


MAX_ROWS: constant(uint256) = 1024
MAX_MEMBERS: constant(uint256) = 16
MAX_TOKENS: constant(uint256) = 8
MAX_DELAY: constant(uint256) = 365 * 24 * 60 * 60

# A balance is one of four 64-bit lanes of a storage word.
LANE_MASK: constant(uint256) = 2**64 - 1
ACCOUNT_MASK: constant(uint256) = 2**160 - 1
MAGNITUDE_MASK: constant(uint256) = 2**87 - 1
DEBIT_BIT: constant(uint256) = 2**87
WORD_MASK: constant(uint256) = 2**96 - 1

# Of two valid s of secp256k1 only the lower is accepted (EIP-2).
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
SETTLEMENT_TYPE: constant(bytes32) = keccak256(
    "Settlement(uint256 id,uint256 epoch,uint256 sealedAt,bytes32 root,bytes32 transcript,bytes32 deltas,bytes32 nullifiers)"
)
COMMITTEE_TYPE: constant(bytes32) = keccak256(
    "Committee(uint256 epoch,bytes32 members,uint256 threshold)"
)
NAME_HASH: constant(bytes32) = keccak256("darkpool")
VERSION_HASH: constant(bytes32) = keccak256("1")

# Seconds.
SETTLE_WINDOW: public(immutable(uint256))
FINALITY: public(immutable(uint256))
WITHDRAW_DELAY: public(immutable(uint256))
CANCEL_DELAY: public(immutable(uint256))
COMMITTEE_DELAY: public(immutable(uint256))

TOKEN_COUNT: public(immutable(uint256))
DEPLOYED_CHAIN_ID: immutable(uint256)
DEPLOYED_SEPARATOR: immutable(bytes32)

# The registered tokens; rows and calls name them by their place here.
tokens: public(DynArray[Token, MAX_TOKENS])
# Sum of all balances by token, quanta.
total_quanta: public(HashMap[uint256, uint256])
# Four balances a word: (token >> 2) << 160 | account  ->  lane token & 3.
lanes: HashMap[uint256, uint256]
# Used order nonces: account << 96 | nonce >> 8  ->  bit nonce & 255. Keyed as the rows are.
bits: HashMap[uint256, uint256]

withdrawal_requests: public(HashMap[address, HashMap[uint256, WithdrawalRequest]])
cancel_requests: public(HashMap[address, HashMap[uint256, CancelRequest]])

# The only settlement id that `settle` accepts next; the first is 1.
next_id: public(uint256)
# Number of the present committee; the first is 1. Numbers ascend, and one may be passed over.
epoch: public(uint256)
# t of the present committee: 2t + 1 members sign.
threshold: public(uint256)
# Epoch in which a signer was last registered: a member exactly if that is the present one.
member_epoch: public(HashMap[address, uint256])
committee_members: DynArray[address, MAX_MEMBERS]
# The proposed committee; epoch 0 when there is none.
proposed: Proposal
# Highest epoch number given to a committee or a proposal. A number is never given twice, so a proposal
# that was replaced cannot be sent again to restart the delay.
last_epoch: public(uint256)


@deploy
def __init__(
    settle_window: uint256,
    finality: uint256,
    withdraw_delay: uint256,
    cancel_delay: uint256,
    committee_delay: uint256,
    members: DynArray[address, MAX_MEMBERS],
    threshold: uint256,
    tokens: DynArray[Token, MAX_TOKENS],
):
    """
    @notice Fixes the delays and tokens for good and registers the first committee, as epoch 1.
    @param settle_window Seconds after its sealing time for which a settlement stays valid.
    @param finality Seconds after which the venue regards a block as final.
    @param withdraw_delay Seconds from request to withdrawal; more than settle_window + finality.
    @param cancel_delay Seconds from request to cancellation; more than settle_window + finality.
    @param committee_delay Seconds from proposal to activation; more than withdraw_delay, so that
           whoever distrusts a new committee can leave before it acts.
    @param members Addresses of the signers, strictly ascending, at least 2 * threshold + 1.
    @param threshold t: how many members may be faulty.
    @param tokens Addresses and quanta (token units per quantum) of 1 to 8 tokens.
    """
    assert settle_window != 0, "vault: settle_window is zero"
    assert committee_delay <= MAX_DELAY, "vault: committee_delay is above 365 days"
    assert committee_delay > withdraw_delay, "vault: committee_delay is not above withdraw_delay"
    assert withdraw_delay > finality and withdraw_delay - finality > settle_window, "vault: withdraw_delay is not above settle_window + finality"
    assert cancel_delay <= MAX_DELAY, "vault: cancel_delay is above 365 days"
    assert cancel_delay > settle_window + finality, "vault: cancel_delay is not above settle_window + finality"
    SETTLE_WINDOW = settle_window
    FINALITY = finality
    WITHDRAW_DELAY = withdraw_delay
    CANCEL_DELAY = cancel_delay
    COMMITTEE_DELAY = committee_delay

    count: uint256 = len(tokens)
    assert count != 0, "vault: no token"
    for i: uint256 in range(count, bound=MAX_TOKENS):
        assert tokens[i].token.is_contract, "vault: token is not a contract"
        assert tokens[i].quantum != 0, "vault: quantum is zero"
        assert tokens[i].quantum < 2**128, "vault: quantum is 2**128 or more"
        for j: uint256 in range(i, bound=MAX_TOKENS):
            assert tokens[j].token != tokens[i].token, "vault: token is registered twice"
        self.tokens.append(tokens[i])
    TOKEN_COUNT = count

    self._check_committee(members, threshold)
    self._register_committee(1, members, threshold)
    self.last_epoch = 1
    self.next_id = 1

    DEPLOYED_CHAIN_ID = chain.id
    DEPLOYED_SEPARATOR = self._separator()


# Deposits and withdrawals


@external
@nonreentrant
def deposit(token: uint256, quanta: uint256):
    """
    @notice Pulls quanta of a token from the caller, who must have approved quanta * quantum units, and
            credits the caller with what arrived, in whole quanta.
    @param token Place of the token in `tokens`.
    @param quanta How much; at least 1.
    """
    assert token < TOKEN_COUNT, "deposit: token is not registered"
    assert quanta != 0, "deposit: zero quanta"
    # Also keeps quanta * quantum below 2**192.
    assert quanta <= LANE_MASK, "deposit: total would reach 2**64 quanta"
    erc20: IERC20 = IERC20(self.tokens[token].token)
    quantum: uint256 = self.tokens[token].quantum

    before: uint256 = staticcall erc20.balanceOf(self)
    assert extcall erc20.transferFrom(
        msg.sender, self, quanta * quantum, default_return_value=True
    ), "deposit: token refused the transfer"
    after: uint256 = staticcall erc20.balanceOf(self)
    assert after >= before, "deposit: token balance fell"
    # Never more than was asked for, whatever the token says arrived.
    arrived: uint256 = min((after - before) // quantum, quanta)
    assert arrived != 0, "deposit: less than a quantum arrived"

    total: uint256 = self.total_quanta[token] + arrived
    assert total <= LANE_MASK, "deposit: total would reach 2**64 quanta"
    self.total_quanta[token] = total
    self.lanes[self._place(token, msg.sender)] += arrived << self._lane(token)
    log Deposit(token=token, account=msg.sender, quanta=arrived)


@external
def request_withdrawal(token: uint256, quanta: uint256):
    """
    @notice Asks for quanta of the caller's balance. A new request replaces the amount of an open one
            and restarts the delay. Until `withdraw` the balance stays open to settlements.
    @param token Place of the token in `tokens`.
    @param quanta How much; at least 1; `withdraw` pays no more than is there.
    """
    assert token < TOKEN_COUNT, "request_withdrawal: token is not registered"
    assert quanta != 0, "request_withdrawal: zero quanta"
    ready_at: uint256 = block.timestamp + WITHDRAW_DELAY
    self.withdrawal_requests[msg.sender][token] = WithdrawalRequest(quanta=quanta, ready_at=ready_at)
    log WithdrawalRequested(token=token, account=msg.sender, quanta=quanta, ready_at=ready_at)


@external
@nonreentrant
def withdraw(token: uint256):
    """
    @notice Pays the caller's open request, or the balance if that is less, and closes the request.
            Needs nobody's consent.
    @param token Place of the token in `tokens`.
    """
    assert token < TOKEN_COUNT, "withdraw: token is not registered"
    request: WithdrawalRequest = self.withdrawal_requests[msg.sender][token]
    assert request.quanta != 0, "withdraw: nothing was requested"
    assert block.timestamp >= request.ready_at, "withdraw: the delay has not passed"

    paid: uint256 = min(request.quanta, self._balance(token, msg.sender))
    self.withdrawal_requests[msg.sender][token] = empty(WithdrawalRequest)
    self.total_quanta[token] -= paid
    self.lanes[self._place(token, msg.sender)] -= paid << self._lane(token)
    log Withdrawn(token=token, account=msg.sender, quanta=paid)
    if paid != 0:
        assert extcall IERC20(self.tokens[token].token).transfer(
            msg.sender, paid * self.tokens[token].quantum, default_return_value=True
        ), "withdraw: token refused the transfer"


# Cancellation of orders without the venue


@external
def request_cancel(word: uint256, mask: uint256):
    """
    @notice Asks to burn order nonces of the caller, so that no later settlement can use them. A new
            request for the same word adds its bits and restarts the delay of all of them.
    @param word nonce >> 8; below 2**96.
    @param mask One bit, nonce & 255, for every order; not zero.
    """
    assert word <= WORD_MASK, "request_cancel: word is 2**96 or more"
    assert mask != 0, "request_cancel: mask is zero"
    ready_at: uint256 = block.timestamp + CANCEL_DELAY
    self.cancel_requests[msg.sender][word].mask |= mask
    self.cancel_requests[msg.sender][word].ready_at = ready_at
    log CancelRequested(account=msg.sender, word=word, mask=mask, ready_at=ready_at)


@external
def finalize_cancel(word: uint256):
    """
    @notice Burns the requested nonces of the caller once the delay has passed, and closes the request.
            Bits that a settlement has used in the meantime stay used.
    @param word nonce >> 8.
    """
    request: CancelRequest = self.cancel_requests[msg.sender][word]
    assert request.mask != 0, "finalize_cancel: nothing was requested"
    assert block.timestamp >= request.ready_at, "finalize_cancel: the delay has not passed"
    self.cancel_requests[msg.sender][word] = empty(CancelRequest)
    self.bits[(convert(msg.sender, uint256) << 96) | word] |= request.mask
    log Cancelled(account=msg.sender, word=word, mask=request.mask)


# Settlement


@external
def settle(settlement: Settlement, signatures: DynArray[Bytes[65], MAX_MEMBERS]):
    """
    @notice Applies a settlement, all or nothing. Anyone may send it.
    @dev 1. the id is the next one; 2. the epoch is the present one; 3. now is within the window;
         4. at least 2t + 1 members signed; 5. every bit is unused; 6. rows are canonical, no balance
         becomes negative, every token's deltas sum to zero.
    @param settlement The rows and what they were derived from; see the contract's notes for packing.
    @param signatures r || s || v by distinct members, ascending by signer address.
    """
    assert settlement.id == self.next_id, "settle: id is not the next one"  # 1
    assert settlement.epoch == self.epoch, "settle: epoch is not the present one"  # 2
    assert block.timestamp >= settlement.sealed_at, "settle: sealed in the future"  # 3
    assert block.timestamp - settlement.sealed_at <= SETTLE_WINDOW, "settle: the window has closed"
    # Separate statements share one encoding buffer, which keeps memory small.
    deltas_hash: bytes32 = keccak256(abi_encode(settlement.deltas))  # 4
    nullifiers_hash: bytes32 = keccak256(abi_encode(settlement.nullifiers))
    struct_hash: bytes32 = keccak256(
        abi_encode(
            SETTLEMENT_TYPE,
            settlement.id,
            settlement.epoch,
            settlement.sealed_at,
            settlement.root,
            settlement.transcript,
            deltas_hash,
            nullifiers_hash,
        )
    )
    self._check_quorum(struct_hash, signatures)
    self.next_id = unsafe_add(settlement.id, 1)

    previous: uint256 = 0
    for row: NullifierRow in settlement.nullifiers:  # 5
        assert row.key > previous, "settle: nullifier rows are not strictly ascending"
        assert row.mask != 0, "settle: nullifier mask is zero"
        previous = row.key
        used: uint256 = self.bits[row.key]
        assert used & row.mask == 0, "settle: nullifier is already used"
        self.bits[row.key] = used | row.mask

    previous = 0
    net: uint256 = 0  # modulo 2**256; at most 1024 magnitudes below 2**87, so zero means zero
    for row: uint256 in settlement.deltas:  # 6
        key: uint256 = row >> 88
        assert key > previous, "settle: delta rows are not strictly ascending"
        if (key ^ previous) > ACCOUNT_MASK:
            assert net == 0, "settle: deltas of a token do not sum to zero"
            assert key >> 160 < TOKEN_COUNT, "settle: token is not registered"
        previous = key
        magnitude: uint256 = row & MAGNITUDE_MASK
        assert magnitude != 0, "settle: delta is zero"
        lane: uint256 = ((key >> 160) & 3) << 6
        place: uint256 = (key & ACCOUNT_MASK) | ((key >> 162) << 160)
        lanes: uint256 = self.lanes[place]
        held: uint256 = (lanes >> lane) & LANE_MASK
        if row & DEBIT_BIT == 0:
            assert unsafe_add(held, magnitude) <= LANE_MASK, "settle: a balance would reach 2**64 quanta"
            self.lanes[place] = unsafe_add(lanes, magnitude << lane)
            net = unsafe_add(net, magnitude)
        else:
            assert magnitude <= held, "settle: a balance would be negative"
            self.lanes[place] = unsafe_sub(lanes, magnitude << lane)
            net = unsafe_sub(net, magnitude)
    assert net == 0, "settle: deltas of a token do not sum to zero"

    log Settled(
        id=settlement.id,
        root=settlement.root,
        epoch=settlement.epoch,
        sealed_at=settlement.sealed_at,
        transcript=settlement.transcript,
        deltas=settlement.deltas,
        nullifiers=settlement.nullifiers,
    )


# Committee


@external
def propose_committee(
    members: DynArray[address, MAX_MEMBERS],
    threshold: uint256,
    signatures: DynArray[Bytes[65], MAX_MEMBERS],
):
    """
    @notice Announces the next committee, signed by a quorum of the present one. It can be activated
            after COMMITTEE_DELAY. A further proposal replaces it and restarts the delay; proposing the
            present members again withdraws it.
    @dev The signed epoch is last_epoch + 1.
    @param members Addresses of the signers, strictly ascending, at least 2 * threshold + 1.
    @param threshold t: how many members may be faulty.
    @param signatures r || s || v by distinct present members, ascending by signer address.
    """
    self._check_committee(members, threshold)
    number: uint256 = self.last_epoch + 1
    self._check_quorum(
        keccak256(abi_encode(COMMITTEE_TYPE, number, keccak256(abi_encode(members)), threshold)),
        signatures,
    )
    self.last_epoch = number
    ready_at: uint256 = block.timestamp + COMMITTEE_DELAY
    self.proposed = Proposal(epoch=number, threshold=threshold, ready_at=ready_at, members=members)
    log CommitteeProposed(epoch=number, members=members, threshold=threshold, ready_at=ready_at)


@external
def activate_committee():
    """
    @notice Puts the proposed committee into office after its delay. Anyone may call it.
    @dev Settlements of the old epoch are refused from here on: the old committee seals its last round
         more than SETTLE_WINDOW before the proposal becomes ready.
    """
    proposal: Proposal = self.proposed
    assert proposal.epoch != 0, "activate_committee: nothing was proposed"
    assert block.timestamp >= proposal.ready_at, "activate_committee: the delay has not passed"
    self.proposed = empty(Proposal)
    self._register_committee(proposal.epoch, proposal.members, proposal.threshold)


# Views


@external
@view
def balance_of(token: uint256, account: address) -> uint256:
    """
    @notice Balance of an account, in quanta.
    @param token Place of the token in `tokens`.
    @param account Whose balance.
    """
    assert token < TOKEN_COUNT, "balance_of: token is not registered"
    return self._balance(token, account)


@external
@view
def nullifiers(account: address, word: uint256) -> uint256:
    """
    @notice Used order nonces of an account: bit i stands for nonce 256 * word + i.
    @param account Whose nonces.
    @param word nonce >> 8; below 2**96.
    """
    assert word <= WORD_MASK, "nullifiers: word is 2**96 or more"
    return self.bits[(convert(account, uint256) << 96) | word]


@external
@view
def members() -> DynArray[address, MAX_MEMBERS]:
    """
    @notice Signers of the present committee, ascending.
    """
    return self.committee_members


@external
@view
def proposal() -> Proposal:
    """
    @notice The proposed committee; epoch 0 when there is none.
    """
    return self.proposed


@external
@view
def domain_separator() -> bytes32:
    """
    @notice EIP-712 domain separator on the present chain.
    """
    return self._domain_separator()


# Internal


@internal
@pure
def _place(token: uint256, account: address) -> uint256:
    return ((token >> 2) << 160) | convert(account, uint256)


@internal
@pure
def _lane(token: uint256) -> uint256:
    return (token & 3) << 6


@internal
@view
def _balance(token: uint256, account: address) -> uint256:
    return (self.lanes[self._place(token, account)] >> self._lane(token)) & LANE_MASK


@internal
@view
def _separator() -> bytes32:
    return keccak256(abi_encode(DOMAIN_TYPE, NAME_HASH, VERSION_HASH, chain.id, self))


@internal
@view
def _domain_separator() -> bytes32:
    # After a fork of the chain the separator follows the chain id, so signatures do not replay.
    if chain.id == DEPLOYED_CHAIN_ID:
        return DEPLOYED_SEPARATOR
    return self._separator()


@internal
@view
def _check_quorum(struct_hash: bytes32, signatures: DynArray[Bytes[65], MAX_MEMBERS]):
    """
    @dev At least 2t + 1 valid signatures by distinct members of the present epoch. Signers ascend, so
         a second form of one signature could not count twice even if s were not bounded.
    """
    assert len(signatures) >= 2 * self.threshold + 1, "signatures: fewer than 2t + 1"
    present: uint256 = self.epoch
    digest: bytes32 = keccak256(concat(b"\x19\x01", self._domain_separator(), struct_hash))
    previous: uint256 = 0
    for signature: Bytes[65] in signatures:
        assert len(signature) == 65, "signatures: not 65 bytes"
        s: uint256 = extract32(signature, 32, output_type=uint256)
        v: uint256 = convert(slice(signature, 64, 1), uint256)
        assert s <= HALF_ORDER, "signatures: s is above half the group order"
        assert v == 27 or v == 28, "signatures: v is neither 27 nor 28"
        signer: address = ecrecover(digest, v, extract32(signature, 0, output_type=uint256), s)
        assert signer != empty(address), "signatures: no signer recovers"
        assert convert(signer, uint256) > previous, "signatures: signers are not strictly ascending"
        previous = convert(signer, uint256)
        assert self.member_epoch[signer] == present, "signatures: signer is not a member"


@internal
@pure
def _check_committee(members: DynArray[address, MAX_MEMBERS], threshold: uint256):
    assert threshold != 0, "committee: threshold is zero"
    assert threshold < MAX_MEMBERS and len(members) >= 2 * threshold + 1, "committee: fewer than 2t + 1 members"
    previous: uint256 = 0
    for member: address in members:
        # Ascending from zero also excludes the zero address.
        assert convert(member, uint256) > previous, "committee: members are not strictly ascending"
        previous = convert(member, uint256)


@internal
def _register_committee(number: uint256, members: DynArray[address, MAX_MEMBERS], threshold: uint256):
    self.epoch = number
    self.threshold = threshold
    self.committee_members = members
    for member: address in members:
        self.member_epoch[member] = number
    log CommitteeActivated(epoch=number, members=members, threshold=threshold)
