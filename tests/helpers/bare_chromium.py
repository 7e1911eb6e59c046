"""Chromium over its own protocol: tabs of one window, of which the last alone is seen (playwright shows all)."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import connect


class BareChromium:
    """``with BareChromium(command, folder, arguments) as browser``; pages by the session that :meth:`open` gives."""

    def __init__(self, command: str, folder: Path, arguments: list[str]) -> None:
        given = ["--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
        self._process = subprocess.Popen([command, *given, *arguments], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        found = next(filter(None, (re.search(r"ws://\S+", line) for line in self._process.stderr)))
        self._connection = connect(found[0], max_size=None)
        self._socket = self._connection.__enter__()
        self._number = 0
        self.events: list[dict[str, Any]] = []
        """What the browser told unasked."""

    def __enter__(self) -> BareChromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.__exit__(None, None, None)
        self._process.terminate()
        self._process.wait()

    def open(self, address: str, *, seen: bool = False) -> str:
        """A new tab in front of the others; ``seen`` gives it a window of its own."""
        target = self.send("Target.createTarget", url=address, newWindow=seen)["targetId"]
        return str(self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def evaluate(self, page: str, expression: str) -> Any:
        """What an expression comes to in a page, as if somebody had clicked there."""
        answer = self._ask_page(page, expression)
        assert "exceptionDetails" not in answer.get("result", {"exceptionDetails": answer}), answer
        return answer["result"]["result"].get("value")

    def until(self, page: str, expression: str, within_s: float = 25.0) -> Any:
        """What an expression comes to once that is something."""
        deadline_s = time.monotonic() + within_s
        # A page that is only being opened has nothing to evaluate in.
        while not (found := self._ask_page(page, expression).get("result", {}).get("result", {}).get("value")):
            assert time.monotonic() < deadline_s, self.evaluate(page, "document.body.innerText")
            time.sleep(0.1)
        return found

    def _ask_page(self, page: str, expression: str) -> dict[str, Any]:
        arguments = {"expression": expression, "returnByValue": True, "userGesture": True, "awaitPromise": True}
        return self._ask("Runtime.evaluate", page, **arguments)

    def send(self, method: str, page: str = "", /, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, to the browser or to one page or worker of its."""
        answer = self._ask(method, page, **parameters)
        assert "result" in answer, answer
        return dict(answer["result"])

    def _ask(self, method: str, page: str = "", /, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": page} if page else {})))
        while True:
            answer: dict[str, Any] = json.loads(self._socket.recv(timeout=20.0))
            if answer.get("id") == self._number:
                return answer
            self.events.append(answer)
