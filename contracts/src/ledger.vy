# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title What the vault owes: packed balances, and the nonces of orders that were used up
@license GPL-3.0-or-later
@dev Every balance is a whole number of quanta, and has two parts: what an open withdrawal request set aside
     (`leaving`), and the rest (its lane). Settlements credit the rest alone, and debit it first. The balances
     of one token sum to less than 2**64 quanta, so no lane overflows, whatever is moved between accounts.
"""

struct Token:
    token: address
    quantum: uint256


MAX_TOKENS: constant(uint256) = 8
# Bounds of names within keys, and of a balance: one of four 64-bit lanes of a storage word.
ACCOUNT_MASK: constant(uint256) = 2**160 - 1
WORD_MASK: constant(uint256) = 2**96 - 1
LANE_MASK: constant(uint256) = 2**64 - 1

TOKEN_COUNT: public(immutable(uint256))

# The registered tokens; rows and calls name them by their place here.
tokens: public(DynArray[Token, MAX_TOKENS])
# Sum of all balances by token, quanta.
total_quanta: public(HashMap[uint256, uint256])
# Four balances a word: (token >> 2) << 160 | account  ->  lane token & 3.
lanes: HashMap[uint256, uint256]
# What withdrawal requests set aside: token << 160 | account  ->  quanta.
leaving: HashMap[uint256, uint256]
# Used order nonces: account << 96 | nonce >> 8  ->  bit nonce & 255. Keyed as the rows are.
bits: HashMap[uint256, uint256]


@deploy
def __init__(tokens: DynArray[Token, MAX_TOKENS]):
    """
    @notice Registers the tokens for good.
    @param tokens Addresses and quanta (token units per quantum) of 1 to 8 tokens.
    """
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


@external
@view
def balance_of(token: uint256, account: address) -> uint256:
    """
    @notice Balance of an account, with what its open withdrawal request set aside.
    @param token Place of the token in `tokens`.
    @param account Whose balance.
    @return Quanta, below 2**64.
    """
    assert token < TOKEN_COUNT, "balance_of: token is not registered"
    return self._free(token, account) + self.leaving[self.key(token, account)]


@external
@view
def set_aside_of(token: uint256, account: address) -> uint256:
    """
    @notice What the open withdrawal request of an account has set aside; `withdraw` pays no more.
    @param token Place of the token in `tokens`.
    @param account Whose request.
    @return Quanta, below 2**64.
    """
    return self.leaving[self.key(token, account)]


@external
@view
def nullifiers(account: address, word: uint256) -> uint256:
    """
    @notice Used order nonces of an account.
    @param account Whose nonces.
    @param word nonce >> 8; below 2**96.
    @return A mask: bit i stands for nonce 256 * word + i.
    """
    assert word <= WORD_MASK, "nullifiers: word is 2**96 or more"
    return self.bits[self.bits_key(account, word)]


@internal
def credit(token: uint256, account: address, quanta: uint256):
    total: uint256 = self.total_quanta[token] + quanta
    assert total <= LANE_MASK, "deposit: total would reach 2**64 quanta"
    self.total_quanta[token] = total
    self.lanes[self._place(token, account)] += quanta << self._lane(token)


@internal
def set_aside(token: uint256, account: address, quanta: uint256):
    """
    @dev For a withdrawal: up to quanta of the balance, in place of what was set aside before.
    """
    key: uint256 = self.key(token, account)
    before: uint256 = self.leaving[key]
    after: uint256 = min(quanta, self._free(token, account) + before)
    self.leaving[key] = after
    place: uint256 = self._place(token, account)
    self.lanes[place] = self.lanes[place] + (before << self._lane(token)) - (after << self._lane(token))


@internal
def pay_out(token: uint256, account: address) -> uint256:
    """
    @dev What was set aside is owed no longer.
    """
    key: uint256 = self.key(token, account)
    quanta: uint256 = self.leaving[key]
    self.leaving[key] = 0
    self.total_quanta[token] -= quanta
    return quanta


@internal
def take_back(key: uint256, quanta: uint256, returned: bool):
    """
    @dev One row of a settlement the other way round: returned to the account, or taken from it, from what a
         request set aside last of all. `Vault.unwind` says why it is always there.
    """
    token: uint256 = key >> 160
    place: uint256 = (key & ACCOUNT_MASK) | ((token >> 2) << 160)
    lane: uint256 = self._lane(token)
    if returned:
        self.lanes[place] += quanta << lane
        return
    from_lane: uint256 = min(quanta, (self.lanes[place] >> lane) & LANE_MASK)
    self.lanes[place] -= from_lane << lane
    if from_lane != quanta:
        self.leaving[key] -= quanta - from_lane


@internal
@pure
def key(token: uint256, account: address) -> uint256:
    return (token << 160) | convert(account, uint256)


@internal
@pure
def bits_key(account: address, word: uint256) -> uint256:
    return (convert(account, uint256) << 96) | word


@internal
@view
def _free(token: uint256, account: address) -> uint256:
    return (self.lanes[self._place(token, account)] >> self._lane(token)) & LANE_MASK


@internal
@pure
def _place(token: uint256, account: address) -> uint256:
    return ((token >> 2) << 160) | convert(account, uint256)


@internal
@pure
def _lane(token: uint256) -> uint256:
    return (token & 3) << 6
