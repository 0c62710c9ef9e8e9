"""A saved exchange is the old one or the new one, whole, or a clear error."""

import subprocess
import sys
from pathlib import Path

import pytest

from bot.core.actions import PlaceStop
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.store import FileStore, NothingSaved, StoreDamaged
from tests.exchange.paper.build import ALICE, BTC, THREE_TIERS, D, contract, enter, machine_with


def busy_machine() -> PaperMachine:
    machine = machine_with(contract(table=THREE_TIERS, taker_fee="0.0005"), slippage="0.0010")
    enter(machine)
    stop = PlaceStop(BTC, Side.LONG, Quantity(D("1.000")), Price(D("48000.00")))
    machine.handle(ALICE, stop, "stop", machine.at_ms)
    return machine


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store, machine = FileStore(tmp_path / "exchange.json"), busy_machine()
    assert store.load() == NothingSaved()
    store.save(machine)
    loaded = store.load()
    assert isinstance(loaded, PaperMachine)
    assert loaded.to_json() == machine.to_json()
    assert [file.name for file in tmp_path.iterdir()] == ["exchange.json"]


def test_saving_again_replaces(tmp_path: Path) -> None:
    store, machine = FileStore(tmp_path / "exchange.json"), busy_machine()
    store.save(machine)
    machine.deposit(ALICE, Money(D(1)))
    store.save(machine)
    loaded = store.load()
    assert isinstance(loaded, PaperMachine)
    assert loaded.ledger() == machine.ledger()


# The child saves once, changes the exchange, and dies where the second save is about to `step`.
CHILD = """
import os, signal, sys
from pathlib import Path
from bot.core.units import Money
from bot.exchange.paper.store import FileStore
from tests.exchange.paper.build import ALICE, D
from tests.exchange.paper.test_store import busy_machine

file, step = Path(sys.argv[1]), sys.argv[2]
machine = busy_machine()
FileStore(file).save(machine)
machine.deposit(ALICE, Money(D(1)))

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(*{"write": (os, "fsync"), "rename": (Path, "replace")}[step], die)
FileStore(file).save(machine)
"""


@pytest.mark.parametrize("step", ["write", "rename"])
def test_death_in_the_middle_of_a_save_keeps_the_old_state(tmp_path: Path, step: str) -> None:
    """Killed before the temporary file is on disk, and between it and the rename."""
    file = tmp_path / "exchange.json"
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(file), step], cwd=Path(__file__).parents[3], check=False
    )
    assert child.returncode == -9
    assert len(list(tmp_path.iterdir())) == 2
    store, before = FileStore(file), busy_machine()
    loaded = store.load()
    assert isinstance(loaded, PaperMachine)
    assert loaded.to_json() == before.to_json()
    before.deposit(ALICE, Money(D(1)))
    store.save(before)
    assert [each.name for each in tmp_path.iterdir()] == ["exchange.json"]


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "other format"])
def test_a_damaged_file_is_an_error_and_not_a_fresh_start(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "exchange.json"
    FileStore(file).save(busy_machine())
    whole = file.read_bytes()
    file.write_bytes(
        {
            "empty": b"",
            "cut": whole[:-10],
            "flipped": whole.replace(b"48000.00", b"48001.00"),
            "other format": b'{"accounts": {}}',
        }[damage]
    )
    with pytest.raises(StoreDamaged, match=r"exchange.json:1: expected 'liqguard-paper-3 "):
        FileStore(file).load()


def test_a_save_that_the_disk_does_not_take_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileStore(tmp_path / "no such folder" / "exchange.json").save(busy_machine())
