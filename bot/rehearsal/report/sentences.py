"""What the report says in words: one sentence about both accounts, and a line for every card."""

from collections.abc import Sequence

from bot.core.decision import Alert
from bot.core.model import Position
from bot.rehearsal.chronicle import Chronicle
from bot.rehearsal.deeds import Deed
from bot.rehearsal.fates import Fate, TakenOver
from bot.rehearsal.listing import unit_of
from bot.rehearsal.report.cards import BudgetLeft, Card
from bot.rehearsal.report.wording import base, clock, day, money, price, quantity, times

_WAYS_OUT = ("close", "stop_filled")


def headline(told: Chronicle, cards: Sequence[Card]) -> str:
    """What happened to the account without the guard, and what with it: one sentence."""
    watched = told.guarded.fate
    end = _end_of(watched) if watched.taken else _way_out(told, cards)
    spent = told.guarded.spent
    coin = told.policy.settle
    added = f", after adding {money(spent, coin)} of margin" if spent else ""
    return (
        f"Unguarded, {_subject(told)} {_end_of(told.unguarded)} and ended at "
        f"{money(told.unguarded.equity_final, coin)} {coin}, from "
        f"{money(told.deposit, coin)}; guarded, it {end} and ended at "
        f"{money(watched.equity_final, coin)}{added}."
    )


def account(told: Chronicle) -> str:
    """The positions in a few words."""
    first = told.opened[0]
    coins = ", ".join(dict.fromkeys(base(position.symbol) for position in told.opened))
    return f"{coins} {_sides(told.opened)} {first.leverage.normalize():f}x, {first.margin_mode}"


def did(card: Card, coin: str) -> str:
    """What a card is about, with its numbers; money is counted in `coin`."""
    match card.what:
        case Deed() as deed:
            return _deed(deed, coin) + _again(card)
        case Alert() as alert:
            return alert.text.removeprefix(f"{alert.subject}: ") + _again(card)


def left(budget: BudgetLeft, coin: str) -> str:
    """What may still be added."""
    return (
        f"{money(budget.hour, coin)} {coin} this hour, {money(budget.day, coin)} in 24 h, "
        f"{money(budget.episode, coin)} and {times(budget.top_ups)} more in this episode"
    )


def _subject(told: Chronicle) -> str:
    if len(told.opened) > 1:
        return f"the account of {len(told.opened)} positions"
    (position,) = told.opened
    return f"the {position.leverage.normalize():f}x {position.side} in {base(position.symbol)}"


def _sides(positions: Sequence[Position]) -> str:
    sides = dict.fromkeys(position.side for position in positions)
    return " and ".join(sides)


def _end_of(fate: Fate) -> str:
    """How an account ended that nobody closed."""
    taken: tuple[TakenOver, ...] = fate.taken
    if not taken:
        return "stayed open"
    when = _when(min(each.at_ms for each in taken))
    if len(fate.endings) == 1:
        return f"was liquidated {when}"
    wallet = " and the wallet" if fate.wallet_lost else ""
    many = "all" if len(taken) == len(fate.endings) else f"{len(taken)} of"
    return f"lost {many} its positions{wallet} to liquidation {when}"


def _way_out(told: Chronicle, cards: Sequence[Card]) -> str:
    """How a guarded account that was not liquidated came through."""
    if told.watched.held:
        acts = any(card.is_act for card in cards)
        return "stayed open" if acts else "was left alone"
    out = next(
        card.what
        for card in reversed(cards)
        if isinstance(card.what, Deed) and card.what.verb in _WAYS_OUT and card.has_effect
    )
    if out.verb == "stop_filled":
        return f"went out through its stop {_when(out.at_ms)}"
    return f"was closed {_when(out.at_ms)}"


def _when(at_ms: int) -> str:
    return f"on {day(at_ms)} at {clock(at_ms)}"


def _deed(deed: Deed, paid: str) -> str:
    at = "at the market" if deed.price is None else f"at {price(deed.price)}"
    amount, coin = deed.amount, base(deed.symbol)
    size = f"{quantity(amount)} {unit_of(deed.symbol)}"
    contract = size if unit_of(deed.symbol) == coin else f"{size} of {coin}"
    return {
        "top_up": f"Added {money(amount, paid)} {paid} of margin to {coin}",
        "refund": f"Put {money(amount, paid)} {paid} of margin back into {coin}",
        "place_stop": f"Stop for {contract} {at}",
        "close": f"Closed {contract} {at}",
        "stop_filled": f"The stop filled: {contract} {at}",
    }[deed.verb]


def _again(card: Card) -> str:
    if card.count == 1:
        return ""
    on = "" if day(card.at_ms) == day(card.first_ms) else f" on {day(card.at_ms)}"
    return f" (the last of {card.count}, at {clock(card.at_ms)}{on})"
