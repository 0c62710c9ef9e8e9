"""Keys, signatures, ages and weights: who is let in, and with which words others are not."""

import hashlib
import hmac

import pytest

from bot.exchange.paper.wire.admission import PATIENCE, WEIGHT_MAX
from tests.exchange.wire.build import T0, Client, exchange

ACCOUNT = "/fapi/v3/account"


def test_whoever_signs_with_the_secret_is_an_account() -> None:
    client = Client(exchange())
    assert client.account()["totalWalletBalance"] == "10000"
    assert client.answers[-1].headers["X-MBX-USED-WEIGHT-1M"] == "5"


def test_a_key_is_an_account_of_its_own() -> None:
    venue = exchange()
    Client(venue, "alice").order("BUY", "0.1")
    assert Client(venue, "alice").positions()
    assert not Client(venue, "bob").positions()


@pytest.mark.parametrize(("key", "code"), [("", -2014), ("live-x", -2015), ("paper-", -2015)])
def test_other_keys_are_strangers(key: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "key", key)
    client = Client(exchange())
    assert client.code("GET", ACCOUNT) == code
    assert client.answers[-1].status == 401


def test_a_wrong_secret_is_refused() -> None:
    assert Client(exchange(), secret="other").code("GET", ACCOUNT) == -1022


def test_what_is_changed_after_signing_is_refused() -> None:
    client = Client(exchange())
    client.ask("GET", "/fapi/v1/income")
    text = f"symbol=BTCUSDT&timestamp={T0}&signature=" + "0" * 64
    assert client.send("GET", "/fapi/v1/income", text)["code"] == -1022


def test_a_signature_covers_query_and_body_in_one() -> None:
    query, body = f"symbol=BTCUSDT&timestamp={T0}", "leverage=7"
    mac = hmac.new(b"paper", (query + body).encode(), hashlib.sha256).hexdigest()
    client = Client(exchange())
    said = client.send("POST", "/fapi/v1/leverage", query, f"{body}&signature={mac}")
    assert said["leverage"] == 7


@pytest.mark.parametrize(
    ("sent_ms", "window_ms", "is_refused"),
    [
        (T0 - 5_000, 5_000, False),
        (T0 - 5_001, 5_000, True),
        (T0 - 1_001, 1_000, True),
        (T0 + 999, 5_000, False),
        (T0 + 1_000, 5_000, True),
    ],
)
def test_requests_have_an_age(sent_ms: int, window_ms: int, is_refused: bool) -> None:
    client = Client(exchange())
    said = client.ask("GET", ACCOUNT, timestamp=sent_ms, recvWindow=window_ms)
    assert (said.get("code") == -1021) is is_refused


def test_a_timestamp_has_to_be_there() -> None:
    said = Client(exchange()).send("GET", ACCOUNT, "signature=00")
    assert said["code"] == -1102
    assert "'timestamp'" in said["msg"]


def test_too_much_weight_is_429_until_the_minute_is_over_and_patience_ends_in_a_ban() -> None:
    client = Client(exchange())
    used = 0
    while used + 30 <= WEIGHT_MAX:
        client.ask("GET", "/fapi/v1/income")
        used += 30
    assert client.answers[-1].status == 200
    assert client.code("GET", "/fapi/v1/income") == -1003
    assert client.answers[-1].status == 429
    until_next_minute_s = 60 - T0 // 1000 % 60
    assert client.answers[-1].headers["Retry-After"] == str(until_next_minute_s)
    for _ in range(PATIENCE):
        client.ask("GET", "/fapi/v1/income")
    assert client.answers[-1].status == 418
    client.now_ms += 60_000
    assert client.code("GET", "/fapi/v1/income") == -1003
    client.now_ms += 61_000
    assert client.account()


def test_a_new_minute_has_new_weight() -> None:
    client = Client(exchange())
    for _ in range(WEIGHT_MAX // 30 + 1):
        client.ask("GET", "/fapi/v1/income")
    assert client.answers[-1].status == 429
    client.now_ms += 60_000
    client.ask("GET", "/fapi/v1/income")
    assert client.answers[-1].status == 200


def test_orders_are_counted_by_account() -> None:
    venue = exchange()
    client = Client(venue)
    for _ in range(300):
        client.order("BUY", "0.00001")
    assert client.answers[-1].headers["X-MBX-ORDER-COUNT-10S"] == "300"
    assert client.refused_order("BUY", "0.1") == -1015
    assert client.answers[-1].status == 429
    assert "orderId" in Client(venue, "bob").order("BUY", "0.1")


def test_an_unknown_path_says_so() -> None:
    client = Client(exchange())
    assert client.send("GET", "/fapi/v1/nothing")["code"] == -5000
    assert client.answers[-1].status == 404
