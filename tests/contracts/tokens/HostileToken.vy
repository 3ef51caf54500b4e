# pragma version 0.4.3
"""
@notice A token that misbehaves on demand: it refuses, loses the receiver's balance, claims too much, or
        calls the vault while a transfer is under way.
"""

interface Vault:
    def deposit(token: uint256, quanta: uint256): nonpayable
    def request_withdrawal(token: uint256, quanta: uint256): nonpayable
    def withdraw(token: uint256): nonpayable


flag Mood:
    HONEST
    REFUSING
    SHRINKING
    BOASTING
    DEPOSITING
    WITHDRAWING


balanceOf: public(HashMap[address, uint256])
mood: public(Mood)


@deploy
def __init__():
    self.mood = Mood.HONEST


@external
def set_mood(mood: Mood):
    self.mood = mood


@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount


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
    if self.mood == Mood.REFUSING:
        return False
    if self.mood == Mood.DEPOSITING:
        self.mood = Mood.HONEST  # once is enough
        extcall Vault(msg.sender).deposit(0, amount)
    if self.mood == Mood.WITHDRAWING:
        self.mood = Mood.HONEST
        extcall Vault(msg.sender).withdraw(0)
    if self.mood == Mood.SHRINKING:
        self.balanceOf[receiver] -= 1
        return True
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    if self.mood == Mood.BOASTING:
        self.balanceOf[receiver] += 10 * amount
    return True


@external
def transfer(receiver: address, amount: uint256) -> bool:
    if self.mood == Mood.REFUSING:
        return False
    if self.mood == Mood.WITHDRAWING:
        self.mood = Mood.HONEST
        extcall Vault(msg.sender).withdraw(0)
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[receiver] += amount
    return True
