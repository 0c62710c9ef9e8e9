"""
`liqguard` as a process of its own that costs a fork, not a start.

Half of what a command takes is the reading of libraries. One process has read them, has no
threads, and forks into each command: with its own arguments, environment, standard streams and
exit code, all as `python -m bot` has them. Real starts are those of `tests/e2e`.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile

ROOT = Path(__file__).parents[2]
READ_FIRST = (
    "apprise",
    "bot.app",
    "bot.cli.alerts",
    "bot.cli.checked",
    "bot.cli.data",
    "bot.cli.explain",
    "bot.cli.margin",
    "bot.cli.paper",
    "bot.cli.plan",
    "bot.cli.replay",
    "bot.cli.show",
    "bot.cli.tests",
    "bot.cli.venues",
    "bot.live",
    "bot.live_paper",
)
"""What commands read when they run, and what that reads in turn."""


def run_forked(
    arguments: tuple[str, ...], environ: Mapping[str, str], text: str = "", timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with `text` on its standard input."""
    with TemporaryFile("w+") as given, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        given.write(text)
        given.seek(0)
        asked = json.dumps({"arguments": arguments, "environ": dict(environ)}).encode() + b"\n"
        forking, process = _forking()
        forking.settimeout(timeout_s)
        socket.send_fds(forking, [asked], [each.fileno() for each in (given, out, err)])
        try:
            code = json.loads(_line(forking))
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            _forking.cache_clear()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())


@cache
def _forking() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process that forks, and our end of what it is asked on: it ends when that is closed."""
    ours, its = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-c", f"from tests.cli.forked import fork; fork({its.fileno()})"],
        cwd=ROOT,
        pass_fds=[its.fileno()],
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # whoever takes too long is ended with the one that forked it
    )
    its.close()
    atexit.register(_end, ours, process)
    return ours, process


def _end(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    ours.close()
    process.wait()


def fork(ours: int) -> None:
    """Become one command after the other, each in a child, until nobody asks any more."""
    for name in READ_FIRST:
        import_module(name)
    gc.freeze()
    asking = socket.socket(fileno=ours)
    while True:
        begun, streams, _, _ = socket.recv_fds(asking, 1 << 16, 3)
        if not begun:
            return
        line = begun if begun.endswith(b"\n") else begun + _line(asking)
        child = os.fork()
        if not child:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            asking.close()
            asked = json.loads(line)
            os.environ.clear()
            os.environ.update(asked["environ"])
            sys.argv = ["bot", *asked["arguments"]]
            runpy.run_module("bot", run_name="__main__", alter_sys=True)
            return
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        asking.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode() + b"\n")


def _line(source: socket.socket) -> bytes:
    """The rest of the line that is on its way."""
    read = b""
    while not read.endswith(b"\n"):
        more = source.recv(1 << 16)
        if not more:
            raise EOFError("the other end is gone")
        read += more
    return read
