"""
A headless Chromium driven over its DevTools pipe: no port, no driver, no package.

The browser reads commands from file descriptor 3 and answers on 4, JSON ended by a zero byte.
"""

import fcntl
import json
import os
import shutil
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root in a container, on pages of our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # nothing on the network can be reached
    "--remote-debugging-pipe",
)


def installed() -> str:
    """The path of a Chromium on this machine, empty where there is none."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), "")


class Browser:
    """One page of one browser, with everything it said and asked for since it was opened."""

    def __init__(self, write_fd: int, read_fd: int) -> None:
        self._to, self._from = write_fd, read_fd
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session: dict[str, str] = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command to the page."""
        return self._call(method, **params)

    def open(self, page: Path, *, width: int, height: int, scheme: str) -> None:
        """Show a file at a size of window, for who prefers `scheme`: light or dark."""
        self.events.clear()
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=media)
        self.resize(width, height)
        self.call("Page.navigate", url=page.as_uri())
        while not any(each["method"] == "Page.loadEventFired" for each in self.events):
            self._read()

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 700,
        )

    def value(self, script: str) -> Any:
        """What a piece of JavaScript comes to, awaited if it is a promise."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def picture(self, *, whole: bool = True) -> bytes:
        """The page as PNG, all of it or what the window shows."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        return b64decode(answer["data"])

    def complaints(self) -> list[dict[str, Any]]:
        """Errors and warnings on the console, and exceptions that nobody caught."""
        return [
            each
            for each in self.events
            if each["method"] == "Runtime.exceptionThrown"
            or (
                each["method"] == "Log.entryAdded"
                and each["params"]["entry"]["level"] in ("error", "warning")
            )
            or (
                each["method"] == "Runtime.consoleAPICalled"
                and each["params"]["type"] in ("error", "warning", "assert")
            )
        ]

    def requests(self) -> list[str]:
        """The addresses that the page asked for, itself among them."""
        return [
            each["params"]["request"]["url"]
            for each in self.events
            if each["method"] == "Network.requestWillBeSent"
        ]

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        session = getattr(self, "_session", {})
        command = {"id": self._number, "method": method, "params": params, **session}
        os.write(self._to, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        """The next message; an event is also remembered."""
        while b"\0" not in self._rest:
            more = os.read(self._from, 1 << 20)
            if not more:
                raise AssertionError("the browser ended")
            self._rest += more
        text, self._rest = self._rest.split(b"\0", maxsplit=1)
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message


@contextmanager
def browsing(chromium: str) -> Iterator[Browser]:
    """A browser with a profile of its own, gone afterwards."""
    theirs_read, ours_write = _pipe()
    ours_read, theirs_write = _pipe()
    with tempfile.TemporaryDirectory() as profile:
        process = os.posix_spawn(
            chromium,
            [chromium, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs_read, 3),
                (os.POSIX_SPAWN_DUP2, theirs_write, 4),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
        os.close(theirs_read)
        os.close(theirs_write)
        try:
            yield Browser(ours_write, ours_read)
        finally:
            os.close(ours_write)  # at the end of its commands the browser ends
            os.waitpid(process, 0)
            os.close(ours_read)


def _pipe() -> tuple[int, int]:
    """A pipe whose ends lie above the numbers that the browser uses."""
    moved = []
    for end in os.pipe():
        moved.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return moved[0], moved[1]
