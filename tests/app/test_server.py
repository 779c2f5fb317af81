"""The server without a browser: what it refuses, and that its files go."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from stablemtl import TASKS, cli


def ask(url: str, part: str, event: str, data: list[Any], session: str) -> dict[str, Any]:
    """Do something to a part of the page, as a browser does; what the server answers."""
    config = requests.get(f"{url}config", timeout=30).json()
    parts = {one["props"].get("elem_id"): one["id"] for one in config["components"]}
    target = [parts[part], event]
    function = next(one["id"] for one in config["dependencies"] if target in one["targets"])
    body = {"data": data, "fn_index": function, "trigger_id": parts[part], "session_hash": session}
    joined = requests.post(f"{url}gradio_api/queue/join", json=body, timeout=30)
    assert joined.ok, joined.text
    events = requests.get(f"{url}gradio_api/queue/data?session_hash={session}", stream=True, timeout=60)
    for line in events.iter_lines(decode_unicode=True):
        event = json.loads(line.removeprefix("data: ")) if line else {}
        if event.get("msg") == "process_completed":
            events.close()
            return event
    raise AssertionError("the server gave no answer")


def test_what_is_refused_and_what_is_left_behind(
    start_server: Callable[..., Any], tiny_folder: Path, frames: tuple[Path, Path]
) -> None:
    server = start_server("--model", tiny_folder, "nano", "--max-upload-mb", 0.01, "--keep-minutes", 0.1)

    def send(name: str, content: bytes) -> requests.Response:
        return requests.post(f"{server.url}gradio_api/upload", files={"files": (name, content)}, timeout=30)

    # Nobody but this machine, and nothing to call from outside; a place for every map; fonts of the system.
    assert server.url.startswith("http://127.0.0.1:")
    config = requests.get(f"{server.url}config", timeout=30).json()
    assert all(one["api_visibility"] == "private" for one in config["dependencies"])
    parts = {part["props"].get("elem_id"): part["props"] for part in config["components"]}
    assert {f"smtl-{kind}-{task}" for kind in ("map", "legend") for task in TASKS} <= set(parts)
    assert parts["smtl-model"]["choices"] == [[tiny_folder.name] * 2, ["nano"] * 2]
    assert config["stylesheets"] == []

    # Another model brings its networks and maps.
    stream, tasks = ask(server.url, "smtl-model", "change", ["nano"], "choosing")["output"]["data"]
    assert [value for _, value in stream["choices"]] == ["multi", "single"]
    assert [value for _, value in tasks["choices"]] == tasks["value"] == list(TASKS)

    # A file is taken up to the limit, by content and not by what its sender says.
    assert send("large.png", b"0" * 20_000).status_code == 413
    sent = send("a.png", frames[0].read_bytes())
    assert sent.status_code == 200
    upload = Path(sent.json()[0])
    assert server.temporary in upload.parents

    # No file of the server, and no model that is not offered.
    secret = frames[1]
    other = requests.get(f"{server.url}gradio_api/file={secret}", timeout=30)
    assert other.status_code in (403, 404)
    forged = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    good = {"path": str(upload), "meta": {"_type": "gradio.FileData"}}
    model = tiny_folder.name
    answer = ask(server.url, "smtl-predict", "click", [good, None, model, "multi", ["depth"]], "taken")
    assert answer["success"] or "removed after a long pause" in answer["output"]["error"], answer
    for number, (data, reason) in enumerate(
        (
            ([forged, None, model, "multi", ["depth"]], None),
            ([good, None, "nanoo", "multi", ["depth"]], "not in the list of choices"),
            ([good, None, str(tiny_folder), "multi", ["depth"]], "not in the list of choices"),
            ([good, None, model, "multi", ["no such task"]], "not in the list of choices"),
        )
    ):
        answer = ask(server.url, "smtl-predict", "click", data, f"refused{number}")
        assert not answer["success"]
        assert reason is None or reason in answer["output"]["error"]
        assert "Traceback" not in json.dumps(answer)
        told = json.dumps(answer).replace(str(tiny_folder), "")  # what was sent may come back
        assert str(tiny_folder.parent) not in told

    # What nobody uses goes after a while, uploads and results, and everything at the end.
    end = time.monotonic() + 60
    while upload.exists() or list(server.temporary.glob("stablemtl-app-*/sessions/0*")):
        assert time.monotonic() < end, "files are still there"
        time.sleep(0.2)
    assert server.stop(signal.SIGINT) == 0
    assert list(server.temporary.glob("stablemtl-app-*")) == []


def test_a_port_that_is_taken(capsys: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["app", "--port", str(port), "--no-open-browser"]) == 2
    assert f"cannot listen at 127.0.0.1:{port}" in capsys.readouterr().err
