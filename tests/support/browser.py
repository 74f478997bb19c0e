"""A real headless Chromium, driven over its DevTools pipe.

with Browser() as browser:
    page = browser.open(path.as_uri(), width=390, dark=True)
    page.evaluate("document.title"), page.screenshot(), page.pdf(), page.complaints, page.requests
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Browser:
    """One browser process; `open` makes a page in it."""

    def __enter__(self) -> Browser:
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs, self.requests = os.pipe()
        self.replies, ours = os.pipe()
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={self.profile.name}"]
        # Chromium listens on file descriptor 3 and answers on 4
        script = f'exec "$0" "$@" 3<&{theirs} 4>&{ours}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, str(CHROMIUM), *options],
            pass_fds=(theirs, ours),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(ours)
        self.reader = os.fdopen(self.replies, "rb")
        self.left, self.number = b"", 0
        self.events: list[dict[str, Any]] = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.close()
        os.close(self.requests)
        self.profile.cleanup()

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """The result of a DevTools command; events that come meanwhile are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        os.write(self.requests, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            reply = self.read()
            if reply.get("id") == self.number:
                assert "error" not in reply, reply["error"]
                return reply["result"]
            self.events.append(reply)

    def read(self) -> dict[str, Any]:
        while b"\0" not in self.left:
            more = self.reader.read1(1 << 20)
            assert more, "Chromium ended"
            self.left += more
        message, _, self.left = self.left.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    def open(self, url: str, width: int = 1200, dark: bool = False, media: str = "") -> Page:
        """A page of `width` CSS pixels, when it has loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        page.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in page.events()):
            self.events.append(self.read())
        return page


class Page:
    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session

    def call(self, method: str, **params: Any) -> Any:
        return self.browser.call(method, self.session, **params)

    def events(self) -> list[dict[str, Any]]:
        return [event for event in self.browser.events if event.get("sessionId") == self.session]

    @property
    def requests(self) -> list[str]:
        """The addresses that the page has asked for."""
        sent = [event for event in self.events() if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """Exceptions, console messages and log entries."""
        return [event["params"] for event in self.events() if event["method"] in COMPLAINTS]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])
