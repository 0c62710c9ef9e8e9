"""What a read does not show though it is there: a row that nobody can read, or none at all."""

from dataclasses import replace
from random import Random

from bot.core.model import AccountSnapshot, Garbled

BLANK = 0.3
"""So many of the reads that lack something lack everything."""

UNNAMED = 0.2
"""Of so many rows not even the symbol can be read."""


def garbled(read: AccountSnapshot, chance: Random) -> AccountSnapshot:
    """The read with a position whose row nobody can read."""
    gone = chance.choice(read.positions)
    symbol = "" if chance.random() < UNNAMED else gone.symbol
    return replace(
        read,
        positions=tuple(each for each in read.positions if each != gone),
        garbled=(Garbled(symbol, "simulated: expected a number, was {}"),),
    )


def without_a_stop(read: AccountSnapshot, chance: Random) -> AccountSnapshot:
    """The read without a stop, whose row nobody could read."""
    gone = chance.choice(read.stops)
    return replace(read, stops=tuple(each for each in read.stops if each != gone))


def lacking(read: AccountSnapshot, chance: Random) -> AccountSnapshot:
    """The read of a server that knows nothing of a position, or of any, nor of its stops."""
    gone = read.positions if chance.random() < BLANK else (chance.choice(read.positions),)
    symbols = {each.symbol for each in gone}
    return replace(
        read,
        positions=tuple(each for each in read.positions if each not in gone),
        stops=tuple(each for each in read.stops if each.symbol not in symbols),
    )
