# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Who signs settlements, and who may pause them
@license GPL-3.0-or-later
@dev A committee is replaced by its own quorum, after a delay, and in no other way; the guardian comes and
     goes with it. The guardian pauses and resumes settling and can do nothing else. A change of committee
     neither pauses nor resumes. A committee that is proven to have signed a false settlement is frozen: only
     the next one settles again, COMMITTEE_DELAY after that at the earliest.

     A signed message is EIP-712, domain {name "darkpool", version "1", chainId, verifyingContract}.
"""

struct Proposal:
    epoch: uint256
    threshold: uint256
    guardian: address
    ready_at: uint256
    members: DynArray[address, MAX_MEMBERS]


event CommitteeProposed:
    epoch: indexed(uint256)
    members: DynArray[address, MAX_MEMBERS]
    threshold: uint256
    guardian: address
    ready_at: uint256


event CommitteeActivated:
    epoch: indexed(uint256)
    members: DynArray[address, MAX_MEMBERS]
    threshold: uint256
    guardian: address


event CommitteeFrozen:
    epoch: indexed(uint256)


event SettlingPaused:
    guardian: indexed(address)


event SettlingResumed:
    guardian: indexed(address)


MAX_MEMBERS: constant(uint256) = 16
# Of two valid s of secp256k1 only the lower is accepted (EIP-2).
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
COMMITTEE_TYPE: constant(bytes32) = keccak256(
    "Committee(uint256 epoch,bytes32 members,uint256 threshold,address guardian)"
)
NAME_HASH: constant(bytes32) = keccak256("darkpool")
VERSION_HASH: constant(bytes32) = keccak256("1")

# Seconds.
COMMITTEE_DELAY: public(immutable(uint256))

# Number of the present committee; the first is 1. Numbers ascend, and one may be passed over.
epoch: public(uint256)
# t of the present committee: 2t + 1 members sign.
threshold: public(uint256)
# Who may pause settling; never zero.
guardian: public(address)
# Whether settling is paused.
paused: public(bool)
# Whether the present committee is frozen: a settlement it signed was proven false.
frozen: public(bool)
# Epoch in which a signer was last registered: a member exactly if that is the present one.
member_epoch: public(HashMap[address, uint256])
# Highest epoch number given to a committee or a proposal. A number is never given twice, so a proposal
# that was replaced cannot be sent again to restart the delay.
last_epoch: public(uint256)
_members: DynArray[address, MAX_MEMBERS]
_proposal: Proposal


@deploy
def __init__(
    delay: uint256, members: DynArray[address, MAX_MEMBERS], threshold: uint256, guardian: address
):
    """
    @notice Fixes the delay for good and registers the first committee, as epoch 1.
    @param delay Seconds from proposal to activation.
    @param members Addresses of the signers, strictly ascending, at least 2 * threshold + 1.
    @param threshold t: how many members may be faulty.
    @param guardian Who may pause settling.
    """
    COMMITTEE_DELAY = delay
    self._check(members, threshold, guardian)
    self._register(1, members, threshold, guardian)
    self.last_epoch = 1


@external
def propose_committee(
    members: DynArray[address, MAX_MEMBERS],
    threshold: uint256,
    guardian: address,
    signatures: DynArray[Bytes[65], MAX_MEMBERS],
):
    """
    @notice Announces the next committee and guardian, signed by a quorum of the present committee. It can
            be activated after COMMITTEE_DELAY. A further proposal replaces it and restarts the delay;
            proposing the present ones again withdraws it.
    @dev Signed is Committee(uint256 epoch,bytes32 members,uint256 threshold,address guardian) with epoch
         last_epoch + 1 and members keccak256(abi.encode(address[])), the leading offset word included.
    @param members Addresses of the signers, strictly ascending, at least 2 * threshold + 1.
    @param threshold t: how many members may be faulty.
    @param guardian Who may pause settling.
    @param signatures r || s || v by distinct present members, ascending by signer address.
    """
    self._check(members, threshold, guardian)
    number: uint256 = self.last_epoch + 1
    self.check_quorum(
        keccak256(
            abi_encode(COMMITTEE_TYPE, number, keccak256(abi_encode(members)), threshold, guardian)
        ),
        signatures,
    )
    self.last_epoch = number
    ready_at: uint256 = block.timestamp + COMMITTEE_DELAY
    self._proposal = Proposal(
        epoch=number, threshold=threshold, guardian=guardian, ready_at=ready_at, members=members
    )
    log CommitteeProposed(
        epoch=number, members=members, threshold=threshold, guardian=guardian, ready_at=ready_at
    )


@external
def activate_committee():
    """
    @notice Puts the proposed committee and guardian into office after the delay. Anyone may call it.
    @dev Settlements of the old epoch are refused from here on: the old committee seals its last round
         more than SETTLE_WINDOW before the proposal becomes ready.
    """
    next: Proposal = self._proposal
    assert next.epoch != 0, "activate_committee: nothing was proposed"
    assert block.timestamp >= next.ready_at, "activate_committee: the delay has not passed; wait until ready_at of the proposal"
    self._proposal = empty(Proposal)
    self._register(next.epoch, next.members, next.threshold, next.guardian)


@external
def pause_settling():
    """
    @notice Makes the vault refuse settlements, until the guardian resumes. Deposits, withdrawals and
            cancellations go on, and a settlement that is held up longer than SETTLE_WINDOW is void.
    """
    assert msg.sender == self.guardian, "pause_settling: the caller is not the guardian"
    assert not self.paused, "pause_settling: settling is paused already"
    self.paused = True
    log SettlingPaused(guardian=msg.sender)


@external
def resume_settling():
    """
    @notice Lets the vault take settlements again.
    """
    assert msg.sender == self.guardian, "resume_settling: the caller is not the guardian"
    assert self.paused, "resume_settling: settling is not paused"
    self.paused = False
    log SettlingResumed(guardian=msg.sender)


@external
@view
def members() -> DynArray[address, MAX_MEMBERS]:
    """
    @notice Signers of the present committee.
    @return Addresses, ascending.
    """
    return self._members


@external
@view
def proposal() -> Proposal:
    """
    @notice The proposed committee.
    @return Its epoch is 0 when there is none.
    """
    return self._proposal


@external
@view
def domain_separator() -> bytes32:
    """
    @notice EIP-712 domain separator on the present chain.
    @return It follows the chain id, so after a fork of the chain signatures do not replay.
    """
    return self._separator()


@internal
@view
def check_quorum(struct_hash: bytes32, signatures: DynArray[Bytes[65], MAX_MEMBERS]):
    """
    @dev At least 2t + 1 valid signatures by distinct members of the present epoch. Signers ascend, so
         a second form of one signature could not count twice even if s were not bounded.
    """
    assert len(signatures) >= 2 * self.threshold + 1, "signatures: fewer than 2t + 1"
    present: uint256 = self.epoch
    digest: bytes32 = keccak256(concat(b"\x19\x01", self._separator(), struct_hash))
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
        assert self.member_epoch[signer] == present, "signatures: signer is not a member; it may have signed something else"


@internal
@view
def _separator() -> bytes32:
    return keccak256(abi_encode(DOMAIN_TYPE, NAME_HASH, VERSION_HASH, chain.id, self))


@internal
@pure
def _check(members: DynArray[address, MAX_MEMBERS], threshold: uint256, guardian: address):
    assert threshold != 0, "committee: threshold is zero"
    assert threshold < MAX_MEMBERS and len(members) >= 2 * threshold + 1, "committee: fewer than 2t + 1 members"
    # A vault that is paused when its guardian goes could never settle again.
    assert guardian != empty(address), "committee: guardian is zero"
    previous: uint256 = 0
    for member: address in members:
        # Ascending from zero also excludes the zero address.
        assert convert(member, uint256) > previous, "committee: members are not strictly ascending"
        previous = convert(member, uint256)


@internal
def freeze():
    """
    @dev A proposal that is under way is one of the frozen committee: it waits the whole delay from now.
    """
    if self.frozen:
        return
    self.frozen = True
    log CommitteeFrozen(epoch=self.epoch)
    next: Proposal = self._proposal
    if next.epoch != 0:
        next.ready_at = block.timestamp + COMMITTEE_DELAY
        self._proposal.ready_at = next.ready_at
        log CommitteeProposed(
            epoch=next.epoch,
            members=next.members,
            threshold=next.threshold,
            guardian=next.guardian,
            ready_at=next.ready_at,
        )


@internal
def _register(
    number: uint256, members: DynArray[address, MAX_MEMBERS], threshold: uint256, guardian: address
):
    self.epoch = number
    self.frozen = False
    self.threshold = threshold
    self.guardian = guardian
    self._members = members
    for member: address in members:
        self.member_epoch[member] = number
    log CommitteeActivated(epoch=number, members=members, threshold=threshold, guardian=guardian)
