"""
Writes docs/faults.md from the table of faults and their tests: `python docs/faults.py`.

A test holds the page to the code, and every test that it names to those that there are.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from operator import attrgetter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bot.exchange import venues
from docs.reference import said_of_fields
from tests.faults import crisis
from tests.faults.awaits import UNREACHED
from tests.faults.catalogue import GAPS, ROWS, Row
from tests.faults.crisis import NOT_APPLICABLE, WRITE_PATH, Fault, applies
from tests.faults.sites import Waits, find_sites

PAGE = Path(__file__).with_name("faults.md")

HEAD = """\
# What can go wrong

Made from the code by `python docs/faults.py`: fault, what is said of it, what the guard does, and
the tests that show it; a test holds each of them to one that there is. Words in `code` at a fault
are the kinds by which it is brought about: by the simulation (`make sim`), the crisis at every
wait (`make faults`), the stages of the venues or the wire exchange. No venue has been met with
money yet.
"""


def faults() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_rows(), *_gaps(), *_waits(), *_codes()])


def _rows() -> Iterator[str]:
    for chapter, rows in groupby(ROWS, key=attrgetter("chapter")):
        yield f"## {chapter}\n"
        yield "| fault | what is said | what the guard does | shown by |"
        yield "|---|---|---|---|"
        for row in rows:
            kinds = ", ".join(f"`{each}`" for each in row.injected)
            fault = f"{row.fault} ({kinds})" if kinds else row.fault
            yield f"| {fault} | {row.says} | {row.does} | {_shown(row)} |"
        yield ""


def _shown(row: Row) -> str:
    return "<br>".join(_link(each) for each in row.tests)


def _link(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../{file})"


def _gaps() -> Iterator[str]:
    yield "## Not covered\n"
    yield "| fault | why |"
    yield "|---|---|"
    for gap in GAPS:
        yield f"| {gap.fault} | {gap.why} |"
    yield ""


def _waits() -> Iterator[str]:
    sites = find_sites(WRITE_PATH)
    possible = [(site, fault) for site in sites for fault in Fault if applies(site, fault)]
    left = sum(site.place in UNREACHED for site, _ in possible)
    yield "## Every wait of the write path\n"
    yield f"{len(sites)} waits between a fact and its effect, each met by every fault that can"
    yield f"happen there: {len(possible)} pairs, {left} of them at waits that the crisis does not"
    yield "pass. Each is a crisis of its own, in which no promise may break.\n"
    said = said_of_fields(crisis, "Fault")
    per = Counter((fault, site.waits) for site, fault in possible)
    yield f"| fault | {' | '.join(Waits)} |"
    yield f"|---|{'---:|' * len(Waits)}"
    for fault in Fault:
        about = said.get(fault.name, "")
        name = f"`{fault}`" + (f": {about}" if about else "")
        yield f"| {name} | {' | '.join(str(per[fault, waits] or '') for waits in Waits)} |"
    yield ""
    for waits, why in NOT_APPLICABLE.items():
        yield f"- `{waits}`: {why}"
    for place, why in UNREACHED.items():
        yield f"- not passed, `{place}`: {why}"
    yield ""


def _codes() -> Iterator[str]:
    yield "## Codes that prove a refusal\n"
    yield "What is on a list was not done: the intent is rejected with the venue's words, the"
    yield "account is read, and what is wanted is decided anew. Everything else proves nothing.\n"
    for file in sorted(Path(venues.__path__[0]).glob("*_refusals.py")):
        module = import_module(f"{venues.__name__}.{file.stem}")
        yield f"**{file.stem.removesuffix('_refusals')}**: " + "; ".join(
            f"`{code}` {meaning}" for code, meaning in module.REFUSED.items()
        )
        yield ""


if __name__ == "__main__":
    PAGE.write_text(faults(), encoding="utf-8")
