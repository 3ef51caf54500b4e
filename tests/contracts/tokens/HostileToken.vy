# pragma version 0.4.3
"""
@notice A token that misbehaves on demand: it refuses, fails, loses the receiver's balance, claims too much,
        takes what it likes, or calls back while a transfer is under way.
"""

interface Vault:
    def deposit(token: uint256, quanta: uint256): nonpayable
    def request_withdrawal(token: uint256, quanta: uint256): nonpayable


flag Mood:
    HONEST
    REFUSING
    SHRINKING
    BOASTING
    FAILING


MAX_CALL: constant(uint256) = 4096

balanceOf: public(HashMap[address, uint256])
mood: public(Mood)
# What the next transfer calls its caller with; empty if nothing.
callback: Bytes[MAX_CALL]


@deploy
def __init__():
    self.mood = Mood.HONEST


@external
def set_mood(mood: Mood):
    self.mood = mood


@external
def set_callback(callback: Bytes[MAX_CALL]):
    self.callback = callback


@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount


@external
def burn(holder: address, amount: uint256):
    self.balanceOf[holder] -= amount


@external
def join(vault: address, quanta: uint256):
    """
    @notice Makes the token itself an account of the vault, with a request for withdrawal
            and some of itself left.
    """
    self.balanceOf[self] += 2 * quanta
    extcall Vault(vault).deposit(0, quanta)
    extcall Vault(vault).request_withdrawal(0, quanta)


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    return self._moved(sender, receiver, amount)


@external
def transfer(receiver: address, amount: uint256) -> bool:
    return self._moved(msg.sender, receiver, amount)


@internal
def _moved(sender: address, receiver: address, amount: uint256) -> bool:
    if self.mood == Mood.REFUSING:
        return False
    assert self.mood != Mood.FAILING, "token: not today"
    if len(self.callback) != 0:
        callback: Bytes[MAX_CALL] = self.callback
        self.callback = b""  # once is enough
        raw_call(msg.sender, callback)
    if self.mood == Mood.SHRINKING:
        self.balanceOf[receiver] -= 1
        return True
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    if self.mood == Mood.BOASTING:
        self.balanceOf[receiver] += 10 * amount
    return True
