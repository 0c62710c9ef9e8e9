"""A rule on volatility lived through on recorded hours, and decided again from its rows alone."""

from dataclasses import replace
from decimal import Decimal
from functools import cache
from itertools import pairwise

from bot.core.decision import Decision
from bot.core.engine import decide
from bot.core.metrics import ByVolatility, Known, VolatilityUnknown
from bot.core.model import BAR_MS, Side
from bot.core.state import Instruments
from bot.core.units import Money, Price
from bot.journal.codec import from_json, to_json
from bot.journal.port import Kind
from bot.rehearsal.bars import Bar, Bars, NoFunding, Ohlc
from bot.rehearsal.runs import Guarded, run_guarded
from bot.rehearsal.setups import ByMargin, Opening, Setup
from bot.runtime.record import Recorded
from bot.testing.builders import SYMBOL, instrument
from tests.runtime.build import TEXT, policy

D = Decimal
NOON_MS = 1_600_000_000_000 // BAR_MS * BAR_MS
STORMY = policy(
    TEXT
    + """\
  - rule: storm
    match: { symbols: any, side: any, margin_mode: isolated }
    watch: liquidation_distance_atr
    hysteresis: 0.5 atr
    unknown_after: 30m
    ladder:
      - { step: trim, below: 6 atr, for: 0s, do: partial_close, with: { fraction: 30% }, CALM }
""".replace("CALM", "cooldown: 4h")
)


def recorded(*closes: int) -> Bars:
    """Hours that each went straight from one close to the next."""
    rows = []
    for index, (first, last) in enumerate(pairwise(closes)):
        ohlc = Ohlc(*(Price(D(p)) for p in (first, max(first, last), min(first, last), last)))
        rows.append(Bar(NOON_MS + index * BAR_MS, ohlc, ohlc, NoFunding()))
    return Bars("binanceusdm", SYMBOL, BAR_MS, True, tuple(rows), "made up")


@cache
def lived(before: int, swing: int, after: tuple[int, ...]) -> Guarded:
    """A long of 5,000 at 10x, opened after so many hours of swings."""
    hours = [50_000 + (swing if hour % 2 else 0) for hour in range(before)]
    opening = Opening(
        bars=recorded(*hours, 50_000, *after),
        instrument=instrument(),
        side=Side.LONG,
        leverage=D(10),
        size=ByMargin(Money(D(5_000))),
    )
    setup = Setup((opening,), Money(D(1_000)), entry_at_ms=NOON_MS + before * BAR_MS)
    return run_guarded(setup, STORMY)


def decisions(run: Guarded) -> list[Recorded]:
    rows = [row for row in run.rows if row.entry.kind is Kind.DECISION]
    return [from_json(row.entry.body, Recorded) for row in rows]


QUIET = (49_900,)


def test_bars_from_before_the_entry_count_and_a_storm_makes_the_position_smaller() -> None:
    stormy, calm = lived(40, 900, QUIET), lived(40, 100, QUIET)
    assert [deed.amount for deed in stormy.deeds if deed.reason == "storm/trim"] == [D("0.3")]
    assert not [deed for deed in calm.deeds if deed.reason == "storm/trim"]


def test_with_too_few_hours_the_rule_is_unknown_and_alarmed_and_nothing_is_closed() -> None:
    young = lived(3, 900, QUIET)
    assert not [deed for deed in young.deeds if deed.reason == "storm/trim"]
    alerts = [each.text for one in decisions(young) for each in one.decision.alerts]
    assert any(
        "storm is not judged: it takes 15 hourly bars, there are" in each for each in alerts
    )


def test_every_decision_follows_from_its_row_in_which_there_are_no_bars() -> None:
    run = lived(40, 900, QUIET)
    seen = set()
    for one in decisions(run):
        rules = Instruments(one.state.instruments.digest, {SYMBOL: instrument()})
        _, again = decide(replace(one.state, instruments=rules), STORMY, one.now_ms)
        assert to_json(again, Decision) == to_json(one.decision, Decision)
        for verdict in one.decision.positions:
            if isinstance(verdict.measured, Known):
                seen.add(type(verdict.measured.volatility))
    assert seen == {VolatilityUnknown, ByVolatility}
    longest = max(len(row.entry.body) for row in run.rows)
    assert longest < 9_000
