"""What every contender is told: contracts, prices, sizes and the key."""

SYMBOLS = tuple(f"C{number:02}/USDT:USDT" for number in range(20))
"""Twenty contracts alike, on the terms of BTC/USDT:USDT."""

ACCOUNT, KEY, SECRET = "bench", "paper-bench", "paper"

ENTRY_AT, CALM_AT, BREACH_AT = 60_000, 58_500, 57_000
"""Mark prices. A tenfold long from the first is 7.3 % from liquidation at the second, where the
guard is warned and reads often, and 4.9 % at the third."""

THRESHOLD = 57_500
"""Where whoever has no policy sells: between the two, as the guard's 6 % are."""

HELD, PART = "1", "0.01"
"""A position, and the part of it that a breach closes."""


def id_of(symbol: str) -> str:
    """The venue's id of a unified symbol."""
    return symbol.partition(":")[0].replace("/", "")
