"""The HTML page: one file that needs no network, shows all runs, and executes no name."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.baseline import Baseline
from pytest_loadgen.records.record import Record
from pytest_loadgen.reports.html_page import document
from tests.reports.examples import EMPTY, ILL, KEPT, MIX, ODD, RECORD, WELL

ALL = replace(RECORD, runs=(*RECORD.runs, KEPT, *ODD.runs))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@cache
def page() -> str:
    return document(ALL)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the content of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The page stays as it is, but for uPlot; LOADGEN_GOLDEN=1 rewrites the file after an intended change."""
    script = r"(?<=<script>)/\*! https://github.com/leeoniya/uPlot.*?(?=</script>)"
    golden("report.html", re.sub(script, "", document(RECORD), flags=re.DOTALL))


def test_size() -> None:
    """A page is small enough for a mail, and most of it is the loads."""
    assert len(document(replace(RECORD, runs=(*RECORD.runs * 5,))).encode()) < 1_500_000
    assert len(document(EMPTY).encode()) < 100_000


def test_no_network() -> None:
    """No element refers to another file or host, and the page's policy forbids it."""
    elements = Elements(page()).found
    links = {value for _, attributes in elements for name in ("src", "href") if (value := attributes.get(name))}
    assert {link for link in links if not link.startswith("#")} == {"data:,"}
    policies = [attributes["content"] for _, attributes in elements if "http-equiv" in attributes]
    assert len(policies) == 1
    assert str(policies[0]).startswith("default-src 'none'; script-src 'sha256-")


def test_only_its_own_scripts_are_allowed() -> None:
    """The policy allows the page's two scripts, by their digests, and nothing else."""
    found = Elements(page())
    kinds = [attributes.get("type") for tag, attributes in found.found if tag == "script"]
    code = [script for kind, script in zip(kinds, found.scripts, strict=True) if kind is None]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in code]
    (policy,) = re.findall(r"script-src ([^;]*);", page())
    assert policy == " ".join(f"'sha256-{digest}'" for digest in digests)
    assert len(digests) == 2


def test_hostile() -> None:
    """Names that are code are shown as text and add no element."""
    elements = Elements(page()).found
    assert "img" not in {tag for tag, _ in elements}
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    scripts = [attributes for tag, attributes in elements if tag == "script"]
    assert len(scripts) == 2 + len(ALL.runs)
    assert "&lt;/script&gt;&lt;script&gt;document.title=" in page()
    assert "{{ 7 * 7 }}" in page()


def test_data() -> None:
    """The data of each run's charts is JSON that cannot end its script element."""
    found = Elements(page())
    data = [json.loads(script) for script in found.scripts if script.startswith("{")]
    assert [each["percentiles"]["requests"] for each in data] == [run.result.requests for run in ALL.runs]
    assert data[-1]["timeline"]["panels"][0]["series"][-1]["values"] == [10] * 6


def test_overview() -> None:
    """Each run has a row with its figures and its verdicts, counted by outcome."""
    text = re.sub(r"<[^>]+>", " ", document(RECORD).partition("<main>")[2].partition("Loads</h2>")[0])
    rows = " ".join(text.split())
    assert "test_search[tea] ✓ passed GET /search embedded 3,000 500/s 2.82ms 18.3ms 0 ✓ 3 met" in rows
    assert "no answer 8.77%: 64 × 503, 11 × timeout, 2 × reset ✓ 1 met ✕ 3 missed ? 1 unclear ! 1 invalid" in rows


def test_service() -> None:
    """What the service used is among the facts, or why that is not known."""
    text = " ".join(re.sub(r"<[^>]+>", " ", document(RECORD)).split())
    assert "Service process shop CPU 0.50 of 2 cores (25%) memory 120 MB threads 4 open files 20" in text
    assert "Service resources it runs on another machine (shop.test:443)" in text


@pytest.mark.parametrize("paired", [False, True])
def test_compared_by_name(paired: bool) -> None:
    """A comparison has a row for each name; one that the baseline lacks has no figure there."""
    before = with_plan(MIX.result, "GET /search", "missing|<b>")
    compared = replace(MIX, result=replace(MIX.result, baseline=Baseline.single(before, paired=paired)))
    text = document(replace(RECORD, runs=(compared,))).partition("<h3>By name</h3>")[2].partition("</table>")[0]
    rows = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in text.split("</tr>")]
    assert rows[0].endswith("p50 of baseline p50 change p99 of baseline p99 change")
    assert rows[1].endswith("2.81ms same 16.7ms same")
    assert rows[2].startswith("order ")
    assert rows[2].endswith("- - - -")


def test_history() -> None:
    """Each kept run has a row with its date, commit and figures; those before a step are marked."""
    text = document(replace(RECORD, runs=(KEPT,))).partition("<h3>History</h3>")[2].partition("</table>")[0]
    rows = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in text.split("</tr>")]
    assert rows[0].endswith("run commit p50 p99 rate")
    assert rows[1] == "- 0abcdef (left out) 1.69ms (left out) 11ms 500/s"
    assert rows[5] == "2026-02-05 03:17 4abcdef 2.4ms 15.5ms 500/s"
    assert rows[9] == "this run 2.82ms 18.3ms 500/s"
    assert "History" not in document(replace(RECORD, runs=(WELL, MIX)))


def with_plan(result: Result, *names: str) -> Result:
    """Give a result that has only the requests of these names."""
    mix = tuple(request for request in result.plan.mix if request.name in names)
    return replace(result, plan=replace(result.plan, mix=mix))


@pytest.mark.parametrize(
    ("record", "number"), [(RECORD, 2), (replace(RECORD, runs=(WELL, WELL)), 1), (replace(RECORD, runs=(WELL,)), 1)]
)
def test_the_first_run_that_needs_attention_is_open(record: Record, number: int) -> None:
    """The first run that needs attention is open, or else the first run."""
    assert re.findall(r'id="run-(\d+)" open', document(record)) == [str(number)]


def test_no_loads() -> None:
    """A page without loads says so."""
    assert "No loads were run." in document(EMPTY)


@contextmanager
def served(pages: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Serve pages by their path, and list the requested paths."""
    requested: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_response(200 if self.path in pages else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(pages.get(self.path, "").encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requested
        finally:
            server.shutdown()
            thread.join()


# Shows the page at the width of a phone, opens all runs, and reports what is there.
PHONE = r"""<!doctype html>
<link rel="icon" href="data:,">
<iframe src="/page" width="360" height="800"></iframe>
<pre></pre>
<script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const page = frame.contentDocument;
  const runs = [...page.querySelectorAll("details")];
  const inEach = (selector) => runs.map((run) => run.querySelectorAll(selector).length);
  const inked = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean);
  const drawn = () => runs.map((run) => [...run.querySelectorAll(".chart")].filter((chart) => {
    const canvases = [...chart.querySelectorAll("canvas")];
    return canvases.length && canvases.every(inked);
  }).length);
  const atFirst = drawn();
  runs.forEach((run) => { run.open = true; });
  const read = (chart) => {
    const key = new frame.contentWindow.KeyboardEvent("keydown", { key: "ArrowRight" });
    chart.querySelector(".uplot").dispatchEvent(key);
    const words = (row) => [...row.children].map((cell) => cell.textContent).join(" ").trim();
    return [...chart.querySelectorAll(".u-series")].map(words);
  };
  setTimeout(() => {
    document.querySelector("pre").textContent = JSON.stringify({
      title: page.title,
      trouble: page.getElementById("trouble").textContent,
      tooWide: page.documentElement.scrollWidth > page.documentElement.clientWidth,
      atFirst,
      drawn: drawn(),
      charts: inEach(".chart"),
      panels: inEach(".uplot"),
      read: read(runs[1].querySelector("[data-chart=timeline]")),
      history: read(runs[4].querySelector("[data-chart=history]")),
      loaded: frame.contentWindow.performance.getEntriesByType("resource").length,
    });
  }, 1000);
});
</script>"""


def look(url: str, folder: Path) -> Any:
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    arguments += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    arguments += [f"--user-data-dir={folder}", "--virtual-time-budget=20000", "--dump-dom", url]
    done = subprocess.run([str(CHROMIUM), *arguments], capture_output=True, text=True, timeout=60, check=True)
    (report,) = re.findall("<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    return json.loads(html.unescape(report))


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_in_a_browser(tmp_path: Path) -> None:
    """A browser draws a run when it is opened, without errors or requests, and nothing is wider than a phone."""
    with served({"/": PHONE, "/page": page()}) as (url, requested):
        seen = look(url, tmp_path)
    assert seen["trouble"] == ""
    assert seen["title"] == "Load report, 2026-03-01 12:00 UTC"
    assert not seen["tooWide"]
    assert seen["charts"] == seen["drawn"] == [2, 2, 2, 2, 3, 1, 0, 2]
    assert seen["atFirst"] == [0, 2, 0, 0, 0, 0, 0, 0]
    assert seen["panels"] == [6, 5, 4, 5, 9, 3, 0, 5]
    first = ILL.result.by_interval[0]
    figures = [f"p50 {first.p50}", f"p90 {first.p90}", f"p99 {first.p99}", f"max {first.max}", "no response"]
    assert seen["read"][:6] == ["at 0.5", *figures]
    assert seen["history"][:4] == ["at 0abcdef", "kept", "left out 1.69ms", "this run"]
    assert seen["loaded"] == 0
    assert requested == ["/", "/page"]
