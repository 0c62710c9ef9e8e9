"""
Stops that a loss does not loosen.

Three longs of 20,000 on a wallet of 10,000: 10,000 - 60,000 x = 300 (1 - x), so 16.25 % away. A
room of 3 % leaves a shock of 13.25 %: the stops belong near 43,375, 1,735 and 86.75. Once one leg
is closed there the other two are 18.2 % away from where they stand, and their stops would follow.
"""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import Action, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import Audited
from bot.core.events import AccountReported, AutoDeleveraged, IntentState, Liquidated, PolicyLoaded
from bot.core.model import MarginMode, Position, PositionKey, Side, StopOrder
from bot.core.protection import StopStatus
from bot.core.state import AccountState
from bot.core.transitions import resumed
from bot.core.units import Price, Quantity
from bot.journal.codec import from_json, to_json
from bot.testing import builders as build
from tests.core import rails
from tests.core.books import cross
from tests.core.life import Life

BTC = cross("BTCUSDT", quantity="0.4", entry_price=50_000)
ETH = cross("ETHUSDT", quantity=10, entry_price=2_000)
SOL = cross("SOLUSDT", quantity=200, entry_price=100)
LEGS = (BTC, ETH, SOL)
NAMES = {"BTCUSDT": "b", "ETHUSDT": "e", "SOLUSDT": "s"}
FALLEN = {"BTCUSDT": "44000", "ETHUSDT": "1735", "SOLUSDT": "88"}
"""ETH is at its stop, the others shortly before."""
BACK = {"BTCUSDT": "50000", "ETHUSDT": "2000", "SOLUSDT": "100"}
LOSS = 2_650
SETTLED_FOR_MS = 60_000


def stop_of(position: Position, trigger: Decimal) -> StopOrder:
    return build.our_stop(position, trigger, name=NAMES[position.symbol] * 20)


class Book(Life):
    """A book of longs whose stops are placed, cancelled and read as the venue would."""

    def __init__(self, *legs: Position) -> None:
        policy = build.policy(
            margin_modes=frozenset(MarginMode), limits=build.guardrails(loss_max=9_000)
        )
        listed = tuple(build.instrument(each) for each in ("ADAUSDT", *NAMES))
        super().__init__(policy, *legs, wallet=10_000, free=10_000, instruments=listed)
        self.legs = legs
        self.resting: tuple[StopOrder, ...] = ()
        self.count = 0
        self.live({leg.symbol: str(leg.entry_price) for leg in LEGS})

    def live(self, marks: dict[str, str]) -> None:
        """Read, mark and decide until the guard has nothing left to do."""
        for _ in range(10):
            self.wait(SETTLED_FOR_MS // 10)
            self.read(*self.legs, stops=self.resting)
            for symbol, price in marks.items():
                self.mark(price, symbol)
            if not self.obey(self.decide()) and not self.state.lacked:
                return
        raise AssertionError("the guard does not come to rest")

    def obey(self, actions: Iterable[Action]) -> bool:
        done = False
        for action in actions:
            done = True
            match action:
                case PlaceStop(symbol=symbol, trigger_price=trigger):
                    (leg,) = [each for each in self.legs if each.symbol == symbol]
                    self.count += 1
                    name = f"{NAMES[symbol]}{self.count:019d}"
                    self.resting += (build.our_stop(leg, trigger, name=name),)
                case CancelStop(target_client_id=target):
                    self.resting = tuple(each for each in self.resting if each.client_id != target)
                case _:
                    raise AssertionError(f"not expected here: {action}")
        self.settle(IntentState.APPLIED)
        return done

    def lose(self, leg: Position, loss: int, *, with_its_stop: bool = True) -> None:
        """A leg is closed, at a loss to the wallet."""
        self.legs = tuple(each for each in self.legs if each.symbol != leg.symbol)
        self.wallet = int(self.wallet or 0) - loss
        if with_its_stop:
            self.resting = tuple(each for each in self.resting if each.symbol != leg.symbol)

    def stop(self, leg: Position) -> Price:
        """Where the stop of a leg rests; there is one."""
        (found,) = [each.trigger_price for each in self.resting if each.symbol == leg.symbol]
        return found


@pytest.fixture
def book() -> Book:
    """Three longs whose stops rest where they belong, prices shortly before the first of them."""
    book = Book(*LEGS)
    assert book.stop(BTC) == pytest.approx(Decimal(43_375), rel=Decimal("0.001"))
    book.live(FALLEN)
    return book


def stops(book: Book) -> tuple[Price, Price]:
    return book.stop(BTC), book.stop(SOL)


def test_a_leg_that_was_closed_and_opened_again_between_two_reads_is_held_at_nothing(
    book: Book,
) -> None:
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    assert book.state.shared.bounds(BTC.key)
    again = replace(BTC, entry_price=Price(Decimal(43_000)))  # its stop has filled, a bot came
    book.read(again, SOL, stops=[each for each in book.resting if each.symbol == SOL.symbol])

    assert not book.state.shared.bounds(BTC.key)


def test_a_leg_that_its_stop_closed_leaves_the_stops_of_the_others_where_they_rest(
    book: Book,
) -> None:
    before = stops(book)
    book.lose(ETH, LOSS)
    book.live(FALLEN)

    assert stops(book) == before


def test_they_stay_while_prices_come_back(book: Book) -> None:
    before = stops(book)
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.live(BACK)

    assert stops(book) == before


def test_they_may_still_be_tightened(book: Book) -> None:
    before = stops(book)
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.live(
        {"BTCUSDT": "52000", "SOLUSDT": "120"}
    )  # far above: a fall of both liquidates sooner
    assert book.stop(SOL) > before[1]

    book.live(FALLEN)
    assert stops(book) == before


def test_the_next_loss_holds_what_is_left(book: Book) -> None:
    before = stops(book)
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.lose(SOL, 2_650)
    book.live(FALLEN)

    assert book.stop(BTC) == before[0]


def remember(book: Book, action: ClosePosition | PlaceStop, state: IntentState) -> None:
    """An order of ours for ETH that reached its state just now."""
    order = rails.intent(action, state=state, closes=ETH)
    order = replace(order, planned_at_ms=book.now_ms, changed_at_ms=book.now_ms)
    book.state = replace(book.state, intents={**book.state.intents, order.id: order})


@pytest.mark.parametrize("state", [IntentState.ACKED, IntentState.APPLIED, IntentState.PARTIAL])
def test_a_part_that_the_guard_closed_holds_the_stops_too(book: Book, state: IntentState) -> None:
    before = stops(book)
    asked = replace(ETH, quantity=Quantity(Decimal(3)))
    remember(book, ClosePosition(ETH.symbol, Side.LONG, Quantity(Decimal(7))), state)
    book.legs = (BTC, asked, SOL)
    book.wallet = 10_000 - 1_855
    book.live(FALLEN)

    assert stops(book) == before


def test_a_stop_that_went_off_the_book_with_a_close_of_ours_is_held_where_it_was(
    book: Book,
) -> None:
    before = book.stop(ETH)
    remember(book, ClosePosition(ETH.symbol, Side.LONG, Quantity(Decimal(7))), IntentState.APPLIED)
    book.resting = tuple(each for each in book.resting if each.symbol != ETH.symbol)
    book.legs = (BTC, replace(ETH, quantity=Quantity(Decimal(3))), SOL)
    book.wallet = 10_000 - 1_855
    book.live({**FALLEN, "ETHUSDT": "1740"})

    assert book.stop(ETH) == before


def test_so_does_a_stop_that_no_read_has_shown(book: Book) -> None:
    before = stops(book)
    sent = PlaceStop(ETH.symbol, Side.LONG, ETH.quantity, Price(Decimal(1_740)))
    remember(book, sent, IntentState.ACKED)
    book.lose(ETH, LOSS, with_its_stop=False)  # the one before rests still
    book.live(FALLEN)

    assert stops(book) == before


@pytest.mark.parametrize("state", [IntentState.REJECTED, IntentState.WITHHELD])
def test_an_order_that_the_venue_never_had_has_closed_nothing(
    book: Book, state: IntentState
) -> None:
    before = stops(book)
    remember(book, ClosePosition(ETH.symbol, Side.LONG, ETH.quantity), state)
    book.lose(ETH, LOSS, with_its_stop=False)
    book.live(FALLEN)

    assert book.stop(BTC) < before[0]


def test_a_loss_while_no_stop_rests_holds_what_was_held_before(book: Book) -> None:
    before = stops(book)
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.lose(SOL, 2_650)
    book.resting = ()
    book.live(FALLEN)

    assert book.stop(BTC) == before[0]


@pytest.mark.parametrize("how", [Liquidated, AutoDeleveraged])
def test_so_does_what_the_venue_took_though_our_stop_still_rests(
    book: Book, how: type[Liquidated] | type[AutoDeleveraged]
) -> None:
    before = stops(book)
    facts = {"symbol": ETH.symbol, "side": Side.LONG, "price": Price(Decimal(1_735))}
    if how is AutoDeleveraged:
        facts["quantity"] = ETH.quantity
    book.happen(how(received_at_ms=book.now_ms, **facts))  # type: ignore[arg-type]
    book.decide()
    book.lose(ETH, LOSS, with_its_stop=False)
    book.live(FALLEN)

    assert stops(book) == before


def test_what_the_venue_took_is_remembered_until_a_read_can_show_it(book: Book) -> None:
    before = stops(book)
    taken = AutoDeleveraged(ETH.symbol, Side.LONG, ETH.quantity, Price(Decimal(1_735)), 0)
    book.wait(1_000)
    book.happen(replace(taken, received_at_ms=book.now_ms))
    snapshot = build.snapshot(LEGS, book.resting, wallet=10_000, taken_at_ms=book.now_ms)
    book.happen(AccountReported(snapshot, book.now_ms - 500, book.now_ms))  # was under way
    book.decide()
    book.lose(ETH, LOSS, with_its_stop=False)
    book.live(FALLEN)

    assert stops(book) == before


def test_so_does_an_isolated_position_that_returns_what_is_left_of_it(book: Book) -> None:
    ada = build.position("ADAUSDT", quantity=10, entry_price=100, margin=100)
    resting = build.our_stop(ada, "93.3", name="a" * 20)
    book.legs, book.resting = (*LEGS, ada), (*book.resting, resting)
    book.live({**FALLEN, "ADAUSDT": "95"})
    before = stops(book)
    book.lose(ada, -5_000)
    book.live(FALLEN)

    assert stops(book) == before


def test_a_human_who_closes_a_leg_has_the_stops_of_the_others_follow(book: Book) -> None:
    before = stops(book)
    book.lose(ETH, LOSS, with_its_stop=False)  # it rests still: it was not what closed
    book.live(FALLEN)

    assert book.stop(BTC) < before[0]
    assert book.stop(SOL) < before[1]


def test_a_human_who_halves_the_book_at_a_profit_is_not_held(book: Book) -> None:
    book.live({"BTCUSDT": "55000", "ETHUSDT": "2200", "SOLUSDT": "110"})
    before = stops(book)
    book.legs = tuple(replace(leg, quantity=Quantity(leg.quantity / 2)) for leg in book.legs)
    book.wallet = 13_000
    book.live({"BTCUSDT": "55000", "ETHUSDT": "2200", "SOLUSDT": "110"})

    assert book.stop(BTC) < before[0]
    assert not book.state.shared.held


def test_the_money_that_was_lost_frees_the_stops_when_it_is_back(book: Book) -> None:
    before = stops(book)
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.wallet = 10_000
    book.live(FALLEN)
    assert stops(book) == before

    book.wallet = 10_001
    book.live(FALLEN)
    assert book.stop(BTC) < before[0]


def test_a_leg_that_was_closed_at_a_profit_asks_for_as_much_again(book: Book) -> None:
    before = stops(book)
    book.lose(ETH, -500)
    book.live(FALLEN)
    book.wallet = 11_000
    book.live(FALLEN)
    assert stops(book) == before

    book.wallet = 11_001
    book.live(FALLEN)
    assert book.stop(BTC) < before[0]


def test_two_losses_are_made_up_for_by_both(book: Book) -> None:
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.lose(SOL, 2_650)
    book.live(FALLEN)
    book.wallet = 10_001 - LOSS
    book.live(FALLEN)
    assert book.state.shared.held

    book.wallet = 10_001
    book.live(FALLEN)
    assert not book.state.shared.held


def test_a_leg_that_is_opened_frees_the_stops(book: Book) -> None:
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.legs = (*book.legs, replace(ETH, quantity=Quantity(Decimal(11))))
    book.live(BACK)

    assert not book.state.shared.held


def test_a_leg_that_grows_frees_the_stops(book: Book) -> None:
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.legs = (replace(BTC, quantity=Quantity(Decimal("0.41"))), SOL)
    book.live(FALLEN)

    assert not book.state.shared.held


def test_another_policy_frees_the_stops_and_the_same_one_does_not(book: Book) -> None:
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.happen(PolicyLoaded(book.state.policy_digest, book.now_ms))
    assert book.state.shared.held

    book.happen(PolicyLoaded("another", book.now_ms))
    assert not book.state.shared.held


def test_a_read_without_the_legs_does_not_free_the_stops(book: Book) -> None:
    before = stops(book)
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.wait(1_000)
    book.read(stops=book.resting)
    book.decide()
    book.live(FALLEN)

    assert stops(book) == before


@pytest.mark.parametrize("with_its_stop", [True, False])
def test_a_leg_that_is_there_again_after_a_while_was_opened_though_it_is_smaller(
    book: Book, with_its_stop: bool
) -> None:
    book.lose(SOL, 2_400)
    book.live(FALLEN)
    book.lose(ETH, LOSS, with_its_stop=with_its_stop)
    for _ in range(2):
        book.live(FALLEN)
    assert book.state.shared.held

    book.legs = (BTC, replace(ETH, quantity=Quantity(Decimal(1))))
    book.live(BACK)
    assert not book.state.shared.held


@pytest.mark.parametrize("with_its_stop", [True, False])
def test_what_was_held_of_a_leg_is_gone_with_it(book: Book, with_its_stop: bool) -> None:
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    assert BTC.key in book.state.shared.held

    book.lose(BTC, 2_400, with_its_stop=with_its_stop)
    for _ in range(2):
        book.live(FALLEN)
    assert BTC.key not in book.state.shared.held


def test_a_restart_does_not_free_the_stops(book: Book) -> None:
    before = stops(book)
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    text = to_json(book.state, AccountState)
    again = from_json(text, AccountState)
    assert again.shared == book.state.shared
    listed = book.state.instruments
    digest = book.state.policy_digest
    book.state = resumed(replace(again, instruments=listed), digest, book.now_ms)
    book.live(FALLEN)

    assert stops(book) == before


def test_a_leg_that_was_closed_while_the_guard_was_down_holds_the_stops(book: Book) -> None:
    before = stops(book)
    book.state = resumed(book.state, book.state.policy_digest, book.now_ms)
    book.lose(ETH, LOSS)
    book.live(FALLEN)

    assert stops(book) == before


def test_a_restart_under_another_policy_frees_the_stops(book: Book) -> None:
    book.lose(ETH, LOSS)
    book.live(FALLEN)

    assert not resumed(book.state, "another", book.now_ms).shared.held


def test_a_held_stop_that_somebody_cancelled_is_placed_again_where_it_was(book: Book) -> None:
    before = stops(book)
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.resting = ()
    book.live(FALLEN)

    assert stops(book) == before


def test_a_held_stop_that_the_mark_has_passed_is_not_moved_but_closes(book: Book) -> None:
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    book.resting = ()
    book.wait(1_000)
    book.read(*book.legs)
    book.mark("43300", "BTCUSDT")
    (close, _) = book.decide()

    assert isinstance(close, ClosePosition)
    assert close.symbol == "BTCUSDT"


def test_the_verdict_says_where_the_stop_belongs(book: Book) -> None:
    book.lose(ETH, LOSS)
    book.live(FALLEN)
    verdicts = {each.position.key: each.stop for each in book.decision.positions}
    stop = verdicts[PositionKey("BTCUSDT", Side.LONG)]

    assert isinstance(stop, Audited)
    assert stop.status is StopStatus.RESTS
    assert stop.target.trigger_price == book.stop(BTC)  # type: ignore[union-attr]
