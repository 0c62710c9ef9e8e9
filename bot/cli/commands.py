"""
The commands. Each loads what it needs when it runs, so that `--help` and `check` start at once.

Long, as it is the one list of all of them; what a command does and prints is in the other rooms.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.exits import Exit
from bot.cli.options import (
    BPS,
    Account,
    Amount,
    AsJson,
    Number,
    PolicyFile,
    bps,
    decimal,
    moment,
    pattern,
    refuse_options,
)

if TYPE_CHECKING:
    from pydantic import SecretStr

    from bot.core.model import Instrument
    from bot.live import LiveKeys
    from bot.settings import Settings

app = typer.Typer(
    name="liqguard",
    help="A risk guard for crypto perpetual-futures accounts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Prices to replay.", no_args_is_help=True)
app.add_typer(data_app, name="data")
journal_app = typer.Typer(help="Look into a journal.", no_args_is_help=True)
app.add_typer(journal_app, name="journal")
paper_app = typer.Typer(help="The paper exchange by itself.", no_args_is_help=True)
app.add_typer(paper_app, name="paper")


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="The policy file to make.")],
    account: Annotated[str, typer.Option(help="The account's name, of a-z, 0-9 and -.")],
    preset: Annotated[str, typer.Option(help="conservative, balanced or patient.")] = "balanced",
    venue: Annotated[str, typer.Option(help="Where the account is.")] = "binanceusdm",
    margin_mode: Annotated[str, typer.Option(help="isolated, cross or mixed.")] = "isolated",
    as_json: AsJson = False,
) -> None:
    """Make a policy file from a preset. Its amounts are examples: set them to yours."""
    from bot.policy.preset import PRESETS, account_file

    if preset not in PRESETS:
        expected = f"expected {', '.join(PRESETS)}, was {preset!r}"
        raise typer.BadParameter(expected, param_hint="--preset")
    text = account_file(str(file), preset, account, venue, margin_mode)
    try:
        with file.open("x", encoding="utf-8") as made:
            made.write(text)
    except OSError as e:
        raise typer.BadParameter(f"{file}: expected to make a file, was '{e.strerror}'") from e
    if as_json:
        typer.echo(json.dumps({"file": str(file), "account": account, "preset": preset}))
    else:
        typer.echo(f"{file}: made from {preset}; set its amounts, then: liqguard check {file}")


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Policy files.")],
    positions: Annotated[
        Path | None, typer.Option(help="A file of what the account holds, to judge it by.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read policies and say everything that is wrong or dangerous about them."""
    from bot.cli.checked import show_checked
    from bot.policy.held import load_held
    from bot.policy.inspection import Anything, Inspected, inspect_policy
    from bot.policy.problems import PolicyError

    held = Anything() if positions is None else load_held(positions)
    found: list[Inspected | PolicyError] = []
    for file in files:
        try:
            found.append(inspect_policy(file, held, _instrument_for))
        except PolicyError as e:
            found.append(e)
        show_checked(file, found[-1], as_json)
    if any(isinstance(each, PolicyError) for each in found):
        raise typer.Exit(Exit.INVALID)
    if any(isinstance(each, Inspected) and each.is_dangerous for each in found):
        raise typer.Exit(Exit.UNSAFE)


@app.command()
def schema(as_json: AsJson = True) -> None:
    """Print the JSON Schema of policy files, for editors."""
    from bot.policy.schema import policy_schema

    typer.echo(json.dumps(policy_schema(), indent=2))


@app.command("test")
def try_out(
    files: Annotated[list[Path], typer.Argument(help="Test files, or policies with one beside.")],
    run: Annotated[str, typer.Option(help="Only cases whose name matches this pattern.")] = "",
    diff: Annotated[bool, typer.Option("--diff", help="Show expected and seen below.")] = False,
    coverage: Annotated[bool, typer.Option("--coverage", help="Name untried steps.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try policies on made-up prices: what a user expects, on an exchange that liquidates."""
    from bot import app as process
    from bot.cli.tests import show_trials

    with _without_logs():  # the verdicts tell the story
        trials = process.try_policies(files, pattern(run))
    failed = show_trials(trials, as_json=as_json, diff=diff, coverage=coverage, junit=junit)
    if failed:
        raise typer.Exit(Exit.UNSAFE)


@app.command()
def demo(as_json: AsJson = False) -> None:
    """Replay recorded crashes and a quiet week, unguarded and guarded, side by side."""
    from bot.cli.demo import show_demo
    from bot.settings import load_settings

    state_dir = load_settings(os.environ).state_dir
    with _without_logs():  # the table tells the story
        show_demo(state_dir, as_json)


@app.command()
def run(
    context: typer.Context,
    policy_file: PolicyFile,
    mode: Annotated[
        str,
        typer.Option(help="live; observe: nothing is sent; paper: ours."),
    ],
    data: Annotated[
        str | None, typer.Option(help="A price file, a scenario, or fetched prices.")
    ] = None,
    symbol: Annotated[
        str | None,
        typer.Option(help="Instead, at its venue's prices of now: like BTC/USDT:USDT."),
    ] = None,
    positions: Annotated[
        Path | None, typer.Option(help="A file of several positions, instead of both.")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.001, help="Market seconds per second.")] = 1.0,
    side: Annotated[str, typer.Option(help="long or short.")] = "long",
    leverage: Number = Decimal(10),
    margin: Number = Decimal(1000),
    reserve: Amount = Decimal(1000),
    entry_at_ms: Annotated[int, typer.Option(help="Enter at the first bar from here on.")] = 0,
    wire: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="A port of `paper serve`, instead of the venue."),
    ] = None,
    alerts: Annotated[
        Path | None, typer.Option(help="Who is told what: config/alerts.yaml.")
    ] = None,
    no_alerts: Annotated[
        bool, typer.Option("--no-alerts", help="Live without telling anybody of alarms.")
    ] = False,
    untested: Annotated[
        bool, typer.Option("--untested", help="Live without passing tests of the policy.")
    ] = False,
    untried: Annotated[
        bool, typer.Option("--untried", help="Live where no adapter of ours has been yet.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Guard an account until SIGTERM, or in paper mode until the data ends."""
    from bot import app as process
    from bot.cli.opened import asked_for, egress_of, run_paper
    from bot.cli.show import show_ended
    from bot.policy.loader import load_policy

    if alerts is not None and no_alerts:
        raise typer.BadParameter("expected a file or --no-alerts, was both", param_hint="--alerts")
    if mode != "live":
        refuse_options(context, "only with --mode live", "untested")
    if mode != "live" or wire is not None:
        refuse_options(context, "only with --mode live on the venue itself", "untried")
    if mode == "live" and not untested:
        with _without_logs():  # a refusal is one line
            process.require_tested(policy_file)
    settings = _configure_logs()
    hearers = process.NOBODY if alerts is None else process.audience(alerts, os.environ)
    if mode in list(process.LiveMode):
        import structlog

        from bot import live
        from bot.exchange.live.connection import Internet, Loopback

        paper_only = ("data", "symbol", "positions", "speed", "side", "leverage", "margin")
        refuse_options(context, "only with --mode paper", *paper_only, "reserve", "entry_at_ms")
        if mode == "live" and wire is None and not untried:
            raise typer.BadParameter(
                "expected a port of `liqguard paper serve`, was none. No adapter has met its "
                "venue yet, its papers are all it was made by: observe it first, then say "
                "--untried, on an account whose loss you can bear",
                param_hint="--wire",
            )
        is_silent = alerts is None and not no_alerts
        if mode == "live" and is_silent:
            raise typer.BadParameter(
                "expected a file that says who is told what, like config/alerts.yaml, or "
                "--no-alerts: without one no alarm leaves the log",
                param_hint="--alerts",
            )
        route = Internet() if wire is None else Loopback(wire)
        keys = _known_keys(policy_file, settings)
        pulses = process.pulses_of(settings.heartbeat_url, os.environ)
        hearers = replace(hearers, pulses=pulses)
        sends = process.LiveMode(mode)
        if is_silent:
            structlog.get_logger().warning("alerts.nobody", text="no alarm leaves the log")
        live.run_live(
            policy_file,
            keys,
            settings.state_dir,
            sends,
            route,
            hearers,
            egress=egress_of(settings),
        )
        return
    if mode != "paper":
        raise typer.BadParameter(f"expected live, observe or paper, was {mode!r}")
    policy = load_policy(policy_file)
    asked = asked_for(context, policy, (data, symbol, positions), settings.cache_dir)
    ended = run_paper(context, policy_file, policy, asked, settings, hearers)
    show_ended(ended, as_json)


@app.command()
def replay(
    context: typer.Context,
    policy: Annotated[str, typer.Option(help="A policy file, or a preset by its name.")],
    data: Annotated[
        str | None, typer.Option(help="A price file, a scenario, or fetched prices.")
    ] = None,
    positions: Annotated[
        Path | None, typer.Option(help="A file of several positions, instead of --data.")
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="Many: a file with a case of JSON a line.")
    ] = None,
    side: Annotated[str, typer.Option(help="long or short.")] = "long",
    leverage: Number = Decimal(10),
    margin: Number = Decimal(1000),
    margin_mode: Annotated[str, typer.Option(help="isolated or cross.")] = "isolated",
    reserve: Amount = Decimal(1000),
    entry_at_ms: Annotated[int, typer.Option(help="Enter at the first bar from here on.")] = 0,
    latency_ms: Annotated[
        int,
        typer.Option(min=0, max=10_000, help="From a price to the effect of the answer to it."),
    ] = 250,
    slippage_bps: Annotated[
        Decimal, typer.Option(parser=bps, metavar="BPS", help="Worse than the last price.")
    ] = Decimal(5),
    depth: Annotated[
        Decimal | None,
        typer.Option(parser=decimal, metavar="USDT", help="Resting within 1% of the price."),
    ] = None,
    taker_fee_bps: Annotated[
        Decimal | None, typer.Option(parser=bps, metavar="BPS", help="Not the venue's.")
    ] = None,
    funding: Annotated[bool, typer.Option(help="Charge recorded funding.")] = True,
    report: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes for --cases.")] = os.cpu_count() or 1,
    as_json: AsJson = False,
) -> None:
    """What a policy would have done on recorded prices, beside an account without a guard."""
    from bot.cli.opened import openings_of
    from bot.cli.replay import (
        Terms,
        on_terms,
        policy_text,
        read_lines,
        replay_cases,
        replay_one,
    )
    from bot.core.model import MarginMode
    from bot.core.units import Money, Ratio
    from bot.policy.loader import parse_policy
    from bot.rehearsal.setups import Setup
    from bot.settings import load_settings

    if margin_mode not in list(MarginMode):
        expected = f"expected isolated or cross, was {margin_mode!r}"
        raise typer.BadParameter(expected, param_hint="--margin-mode")
    cache = load_settings(os.environ).cache_dir
    named = policy_text(policy)
    if cases is not None:
        said = {parameter.name for parameter in context.command.params}
        refuse_options(
            context, "in the file of --cases", *(said - {"cases", "policy", "jobs", "as_json"})
        )
        if not replay_cases(read_lines(cases), named, cache, jobs, as_json):
            raise typer.Exit(Exit.INVALID)
        return
    compiled = parse_policy(named.text, named.name)
    if positions is not None:
        refuse_options(context, "in the file of --positions", "margin_mode")
    kept = None if positions is not None else MarginMode(margin_mode)
    terms = Terms(kept, depth, taker_fee_bps)
    openings = on_terms(openings_of(context, compiled, data, positions, cache), terms)
    setup = Setup(
        openings=openings,
        reserve=Money(reserve),
        entry_at_ms=entry_at_ms,
        latency_ms=latency_ms,
        slippage=Ratio(slippage_bps / BPS),
        funding=funding,
        position_mode=compiled.position_mode,
    )
    replay_one(setup, compiled, report, as_json)


@app.command()
def plan(
    context: typer.Context,
    symbol: Annotated[
        str | None, typer.Option(help="Like BTC/USDT:USDT, or that of --data.")
    ] = None,
    side: Annotated[str | None, typer.Option(help="long or short.")] = None,
    entry_price: Annotated[str | None, typer.Option(metavar="USDT")] = None,
    stop_price: Annotated[
        str | None, typer.Option(metavar="USDT", help="Where the structure says so.")
    ] = None,
    stop_atr: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Instead: ATRs from the entry.")
    ] = None,
    equity: Annotated[
        str | None, typer.Option(metavar="USDT", help="Of an account with nothing open.")
    ] = None,
    positions: Annotated[
        str | None, typer.Option(metavar="FILE", help="Instead: wallet and open positions.")
    ] = None,
    risk: Annotated[
        str | None, typer.Option(metavar="RATIO", help="Of equity, at the stop, like 1%.")
    ] = None,
    leverage: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Found where it is left out.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="Bars that say how far the price moves.")
    ] = None,
    atr: Annotated[
        str | None, typer.Option(metavar="USDT", help="Instead: average true range.")
    ] = None,
    daily_move: Annotated[
        str | None, typer.Option(metavar="RATIO", help="Instead: one sigma of a day, like 3%.")
    ] = None,
    funding_rate: Annotated[
        str | None, typer.Option(metavar="RATIO", help="Of the next bill; below 0 longs are paid.")
    ] = None,
    funding_interval: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Between bills: 8h.")
    ] = None,
    holding: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long it is held: 24h.")
    ] = None,
    win_rate: Annotated[
        str | None, typer.Option(metavar="RATIO", help="For Kelly: how many such trades win.")
    ] = None,
    payoff: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="For Kelly: a win in losses.")
    ] = None,
    slippage: Annotated[
        str | None, typer.Option(metavar="RATIO", help="Of the stop: 5 bps.")
    ] = None,
    shock: Annotated[
        str | None, typer.Option(metavar="RATIO", help="Of all markets at once: 10%.")
    ] = None,
    venue: Annotated[str | None, typer.Option(help="Whose rules hold: binanceusdm.")] = None,
    as_json: AsJson = False,
) -> None:
    """
    Size a trade before it is one, and check it. With --json alone, options come as JSON on stdin.
    """
    from bot.cli.plan import asked_in_json, asked_in_options, show_plan

    names = frozenset(context.params) - {"as_json"}
    said = {name: context.params[name] for name in names if context.params[name] is not None}
    if as_json and not said:
        show_plan(asked_in_json(sys.stdin.read(), names), as_json)
    else:
        show_plan(asked_in_options(said), as_json)


@app.command()
def margin(as_json: AsJson = False) -> None:
    """Where positions are liquidated: a case, or a list of them, as JSON on standard input."""
    from bot.cli.margin import show_answers

    if not show_answers(sys.stdin.read(), as_json):
        raise typer.Exit(Exit.INVALID)


@app.command()
def status(account: Account, as_json: AsJson = False) -> None:
    """How the running guard of an account sees it now."""
    from bot import app as process
    from bot.cli.show import show_status

    answer = process.ask_guard(_configure_logs().state_dir, account, {"ask": "status"})
    show_status(answer, as_json)


@app.command()
def alerts(
    file: Annotated[Path, typer.Argument(help="Who is told what, like config/alerts.yaml.")],
    send: Annotated[bool, typer.Option("--send", help="Tell each channel a test.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read a file of alerts and show it; with --send, try every channel."""
    from bot.alerts.routes import load_alerting
    from bot.cli.alerts import show_alerting, show_tried

    if not send:
        show_alerting(load_alerting(file), as_json)
        return
    if not show_tried(file, as_json):
        raise typer.Exit(Exit.UNREACHABLE)


@app.command()
def hold(
    account: Account,
    reason: Annotated[str, typer.Option(help="Why, for the journal.")],
    as_json: AsJson = False,
) -> None:
    """Stop spending and ladder closes; stops stay, and the floor still closes."""
    _change_mode(account, "hold", reason, as_json)


@app.command()
def resume(
    account: Account,
    reason: Annotated[str, typer.Option(help="Why, for the journal.")],
    as_json: AsJson = False,
) -> None:
    """Let the guard act again after a hold or a latched NO_SPEND."""
    _change_mode(account, "active", reason, as_json)


@app.command()
def doctor(
    policy_file: PolicyFile,
    wire: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="A port of `paper serve`, instead of the venue."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at an account as the guard does before it begins: nothing is sent, nothing changes."""
    from bot import live
    from bot.cli.doctor import show_findings
    from bot.cli.opened import egress_of
    from bot.exchange.live.connection import Internet, Loopback

    settings = _configure_logs()
    keys = _known_keys(policy_file, settings)
    route = Internet() if wire is None else Loopback(wire)
    found = live.doctor(policy_file, keys, route, egress_of(settings))
    if not show_findings(found, accept_unverified=keys.accept_unverified, as_json=as_json):
        raise typer.Exit(Exit.UNSAFE)


@app.command()
def venues(as_json: AsJson = False) -> None:
    """What the adapters of live venues can do."""
    from bot.cli.venues import show_venues

    show_venues(as_json)


@app.command()
def explain(
    account: Account,
    sequence: Annotated[int | None, typer.Option("--row", help="A decision row.")] = None,
    as_json: AsJson = False,
) -> None:
    """Why the guard did what it did: one decision from the journal, with everything it saw."""
    from bot import app as process
    from bot.cli.explain import show_explanation

    found = process.explain(_configure_logs().state_dir, account, sequence)
    show_explanation(found, as_json)


@journal_app.command("verify")
def journal_verify(account: Account, as_json: AsJson = False) -> None:
    """Re-derive every decision from its row and compare byte for byte."""
    from bot import app as process

    verified = process.verify_journal(_configure_logs().state_dir, account)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "rows": verified.rows,
                    "decisions": verified.decisions,
                    "intents": verified.intents,
                    "digest": verified.digest,
                }
            )
        )
    else:
        typer.echo(
            f"verified: {verified.rows} rows, {verified.decisions} decisions, "
            f"{verified.intents} intents, digest {verified.digest}"
        )


@data_app.command("fetch")
def data_fetch(
    symbol: Annotated[
        list[str],
        typer.Option(help="A linear perpetual contract, like BTCUSDT; many if repeated."),
    ],
    begins: Annotated[
        int, typer.Option("--from", parser=moment, metavar="TIME", help="2025-10-10, UTC.")
    ],
    until: Annotated[
        int, typer.Option(parser=moment, metavar="TIME", help="Up to here, 2025-10-12T06:00.")
    ],
    venue: Annotated[str, typer.Option(help="Whose prices.")] = "binanceusdm",
    interval: Annotated[str, typer.Option(help="1m, 3m, 5m, 15m, 30m or 1h.")] = "5m",
    as_json: AsJson = False,
) -> None:
    """Fetch public bars, mark prices, funding and contract facts into the cache, for replays."""
    from bot.cli.data import fetch_data
    from bot.settings import load_settings

    cache = load_settings(os.environ).cache_dir
    fetch_data(venue, symbol, interval, (begins, until), cache, as_json)


@paper_app.command("serve")
def paper_serve(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="For clients; 0: any.")] = 8900,
    control_port: Annotated[
        int, typer.Option(min=0, max=65535, help="To move prices and make faults; 0: any.")
    ] = 8901,
    data: Annotated[
        str | None, typer.Option(help="A price file or scenario; none: prices moved by hand.")
    ] = None,
    speed: Annotated[
        float, typer.Option(min=1, max=1000, help="Market seconds per second of --data.")
    ] = 1.0,
    deposit: Amount = Decimal(10_000),
    as_json: AsJson = False,
) -> None:
    """An exchange that liquidates, on a loopback port, for any Binance USD-M client."""
    from bot.cli.paper import Moved, Played, serve
    from bot.core.units import Money

    _configure_logs()
    if data is None:
        refuse_options(context, "only with --data", "speed")
    try:
        feed = Moved() if data is None else Played(data, speed)
        serve(port, control_port, feed, Money(deposit), as_json)
    except OSError as e:
        expected = f"expected free ports, was {e.strerror!r}"
        raise typer.BadParameter(expected, param_hint="--port, --control-port") from e


def _instrument_for(venue: str, symbol: str) -> "Instrument":
    from bot import app as process

    return process.instrument_for(venue, symbol)


def _change_mode(account: str, mode: str, reason: str, as_json: bool) -> None:
    from bot import app as process

    question = {"ask": "mode", "mode": mode, "reason": reason}
    answer = process.ask_guard(_configure_logs().state_dir, account, question)
    typer.echo(json.dumps(answer) if as_json else f"{account}: {answer['mode']}")


@contextmanager
def _without_logs() -> Iterator[None]:
    """Guards that run inside a command say nothing: its result is the message."""
    from bot.logs import configure

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        configure("json", "error", nowhere, is_terminal=False)
        yield


def _known_keys(policy_file: Path, settings: "Settings") -> "LiveKeys":
    """The keys of an account; from here on nothing that is logged shows them."""
    from bot import live
    from bot.exchange.live.credentials import KeyPlaces

    places = KeyPlaces(settings.secrets_dir, settings.state_dir / "credentials", os.environ)
    keys = live.keys_of(policy_file, places, settings.unverified_keys)
    _configure_logs(keys.credentials.texts)
    return keys


def _configure_logs(secrets: "tuple[SecretStr, ...]" = ()) -> "Settings":
    from bot.logs import configure
    from bot.settings import load_settings

    settings = load_settings(os.environ)
    configure(
        settings.log_format,
        settings.log_level,
        sys.stderr,
        is_terminal=sys.stderr.isatty(),
        no_color=bool(os.environ.get("NO_COLOR")),
        secrets=secrets,
    )
    return settings
