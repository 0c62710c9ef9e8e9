"""`run --positions` in hedge mode, as a process: a long and a short of a symbol on one wallet."""

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from bot.core.model import Side
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.store import FileStore
from tests.e2e.test_process import liqguard

ACCOUNT = "demo-cross"
PRESET = Path("bot/policy/presets/demo-cross.yaml")
SCENARIOS = Path("bot/rehearsal/scenarios")
TERMS = {
    "position_mode: one_way": "position_mode: hedge",
    "room: 5.5%": "room: 1.5%",
    "floor: 2%": "floor: 0.7%",
    "below: 10.5%": "below: 5%",
    "below: 9.5%": "below: 4%",
    "to: 11%": "to: 5%",
    "below: 8.5%": "below: 1%",
}
"""The preset in hedge mode, and as near to liquidation as the few hours of a test need."""

D = Decimal


@dataclass(frozen=True, slots=True)
class Hours:
    """Some hours of a scenario, and the pair that is open in them."""

    scenario: str
    begins_ms: int
    ends_ms: int
    coin: str
    leverage: int
    long: str
    short: str

    def written(self, folder: Path) -> tuple[Path, Path]:
        """A policy and a file of positions."""
        text = PRESET.read_text(encoding="utf-8")
        for old, new in TERMS.items():
            assert old in text
            text = text.replace(old, new)
        policy, data, book = (folder / name for name in ("hedge.yaml", "bars.csv", "book.yaml"))
        policy.write_text(text, encoding="utf-8")
        lines = (SCENARIOS / f"{self.scenario}.csv").read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not line[0].isdigit() or self._is_in(line)]
        data.write_text("\n".join(kept) + "\n", encoding="utf-8")
        legs = (
            f"  - {{ data: {data}, side: {side}, leverage: {self.leverage}x, "
            f"quantity: {size} {self.coin}, margin_mode: cross }}\n"
            for side, size in (("long", self.long), ("short", self.short))
        )
        book.write_text("positions:\n" + "".join(legs), encoding="utf-8")
        return policy, book

    def _is_in(self, line: str) -> bool:
        return self.begins_ms <= int(line.split(",", maxsplit=1)[0]) < self.ends_ms


CRASH = Hours("2020-03-12-btc", 1584003600000, 1584018000000, "BTC", 20, "4", "1")
SQUEEZE = Hours("2025-05-08-eth", 1746720900000, 1746742500000, "ETH", 40, "4", "12")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("hours", "larger"), [(CRASH, Side.LONG), (SQUEEZE, Side.SHORT)], ids=["crash", "squeeze"]
)
def test_a_pair_comes_through_what_liquidates_it_unguarded(
    tmp_path: Path, hours: Hours, larger: Side
) -> None:
    """What the larger leg has beyond the hedge goes; the hedge and as much of the other stay."""
    state_dir = tmp_path / "state"
    policy, book = hours.written(tmp_path)
    sizes = D(hours.long), D(hours.short)
    files = ["--policy", str(policy), "--positions", str(book), "--reserve", "300", "--json"]
    replayed = liqguard(state_dir, "replay", *files)
    assert replayed.returncode == 0, replayed.stderr
    told = json.loads(replayed.stdout)
    assert told["unguarded"]["liquidated"]
    assert D(told["unguarded"]["final_equity"]) == 0
    assert not told["guarded"]["liquidated"]

    ended = liqguard(state_dir, "run", "--mode", "paper", *files, "--speed", "1000000")
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["digest"] == told["digest"]
    stops = [each for each in result["actions"] if each["verb"] == "place_stop"]
    assert {each["side"] for each in stops} == {larger}
    excess = abs(sizes[0] - sizes[1])
    assert max(D(each["amount"]) for each in stops) == excess
    gone = [each for each in result["actions"] if each["verb"] in {"close", "stop_filled"}]
    assert {each["side"] for each in gone} == {larger}
    assert sum(D(each["amount"]) for each in gone) == excess
    machine = FileStore(state_dir / f"{ACCOUNT}.paper.json").load()
    assert isinstance(machine, PaperMachine)
    left = machine.snapshot(ACCOUNT, machine.at_ms)
    assert [each.quantity for each in left.positions] == [min(sizes)] * 2
    assert left.stops == ()
    assert D(result["equity"]) > D(told["unguarded"]["final_equity"])
    verified = liqguard(state_dir, "journal", "verify", "--account", ACCOUNT)
    assert verified.returncode == 0, verified.stderr
