"""When a lost stream is dialled again."""

from bot.exchange.live.sessions import LASTED_MS, REDIAL_MS_MAX, Redials

KUCOIN_A_MINUTE = 30


def test_ever_later_while_none_lasts_and_soon_after_one_that_did() -> None:
    redials = Redials()
    assert [redials.pause_ms(0) for _ in range(5)] == [1_000, 2_000, 4_000, 4_000, 4_000]
    assert redials.pause_ms(LASTED_MS) == 1_000
    assert redials.pause_ms(LASTED_MS - 1) == 2_000


def test_no_more_in_a_minute_than_kucoin_takes_of_an_account() -> None:
    redials, at_ms, dials = Redials(), 0, list[int]()
    while at_ms < 120_000:
        dials.append(at_ms)
        at_ms += redials.pause_ms(0)
    assert len([each for each in dials if each < 60_000]) <= KUCOIN_A_MINUTE
    both_streams = 2 * len([each for each in dials if each >= 60_000])
    assert both_streams <= KUCOIN_A_MINUTE
    assert REDIAL_MS_MAX < 5_000, "marks are asked for before their age limit"
