"""Makes the README's pictures, terminal.svg and report.png, from a real run: ``python docs/pictures.py``.

Needs chromium, and pytest-loadgen installed with its ``report`` extra. Takes about a minute.
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

DOCS = Path(__file__).parent
COMMAND = "pytest --load-report=report.html"
COLUMNS = 130
CONFTEST = """
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SLOW = {"/search": 0, "/reviews": 0.01, "/checkout": 0.05}  # the share of slow requests
chance = random.Random(3)


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # send head and body together

    def do_GET(self):
        path = self.path.partition("?")[0]
        time.sleep(0.4 if chance.random() < SLOW[path] else 0.01 + 0.03 * chance.random() ** 3)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100


@pytest.fixture(scope="session")
def load_target():
    with Server(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
"""
SUITE = """
def test_search(load):
    load("/search?q=tea", rate=50, duration="12s", slo=["p99 < 200ms", "errors < 5%"])


def test_reviews(load):
    load("/reviews", rate=50, duration="8s", slo="p99 < 300ms")


def test_checkout(load):
    load("/checkout", json={"tea": 2}, rate=50, duration="8s", slo=["p90 < 300ms", "p99 < 300ms"])
"""


def main() -> None:
    """Run the suite and make both pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        sys.exit("docs/pictures.py needs chromium on PATH to make report.png: apt install chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        output = run_suite(folder)
        (DOCS / "terminal.svg").write_text(svg(f"\x1b[1m$ {COMMAND}\x1b[0m\n{output}"), encoding="utf-8")
        screenshot(chromium, folder / "report.html", DOCS / "report.png")
    print("made docs/terminal.svg and docs/report.png")


def run_suite(folder: Path) -> str:
    """Run pytest in a folder, and return what it prints on a terminal."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_shop.py").write_text(SUITE, encoding="utf-8")
    arguments = ["--load-report=report.html", "--color=yes", "--tb=short", "--no-header", "-p", "no:cacheprovider"]
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "pytest_loadgen.plugin", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if "1 failed, 2 passed" not in ESCAPE.sub("", done.stdout) or "invalid" in done.stdout:
        sys.exit(f"{done.stdout}\ndocs/pictures.py expected test_checkout alone to fail: try again on an idle machine")
    return done.stdout.replace(f"{folder}{os.sep}", "")


def screenshot(chromium: str, page: Path, picture: Path) -> None:
    """Photograph the upper part of an HTML page in light colours."""
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,1310"]
    arguments += ["--blink-settings=preferredColorScheme=1", "--virtual-time-budget=10000"]
    arguments += [f"--user-data-dir={page.parent / 'profile'}", f"--screenshot={picture}", page.as_uri()]
    subprocess.run([chromium, *arguments], check=True, capture_output=True, timeout=120)


# Terminal output as SVG.

FONT_SIZE, LINE_HEIGHT, MARGIN = 13, 18, 16
# A character of any usual monospace font is about this wide; textLength makes it exact.
CHARACTER = 0.6 * FONT_SIZE
BACKGROUND, FOREGROUND = "#16181b", "#e4e5e3"
COLOURS = {"31": "#ff8a70", "32": "#7ccf8a", "33": "#e0b84c", "34": "#7db7ef", "36": "#5cc4c9"}
ESCAPE = re.compile(r"\x1b\[([\d;]*)m")


def svg(text: str) -> str:
    """Draw text with ANSI colours."""
    rows = [row for line in text.rstrip().splitlines() for row in wrapped(line)]
    width = round(COLUMNS * CHARACTER + 2 * MARGIN)
    height = len(rows) * LINE_HEIGHT + 2 * MARGIN
    font = f'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="{FONT_SIZE}"'
    pieces = [piece for number, row in enumerate(rows) for piece in drawn(row, MARGIN + (number + 0.75) * LINE_HEIGHT)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
            f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
            f"<g {font}>",
            *pieces,
            "</g>",
            "</svg>",
            "",
        ]
    )


def wrapped(line: str) -> list[list[tuple[str, str]]]:
    """Break a line as a terminal does, into rows of characters with their styles."""
    cells: list[tuple[str, str]] = []
    codes: set[str] = set()
    # Texts and escape codes alternate, starting with a text.
    for number, piece in enumerate(ESCAPE.split(line)):
        if number % 2:
            new = {code.lstrip("0") for code in piece.split(";")}
            codes = set() if "" in new else codes | new
        else:
            colour = next((COLOURS[code] for code in codes if code in COLOURS), FOREGROUND)
            style = f'fill="{colour}"' + (' font-weight="bold"' if "1" in codes else "")
            cells += [(character, style) for character in piece]
    return [cells[start : start + COLUMNS] for start in range(0, max(1, len(cells)), COLUMNS)]


def drawn(row: list[tuple[str, str]], y: float) -> Iterator[str]:
    """Draw the pieces of a row that have one style, each at its column."""
    column = 0
    for style, cells in groupby(row, key=itemgetter(1)):
        piece = "".join(character for character, _ in cells)
        if piece.strip():
            place = f'x="{MARGIN + column * CHARACTER:.1f}" y="{y:.1f}" textLength="{len(piece) * CHARACTER:.1f}"'
            # No-break spaces, because SVG collapses others.
            yield f"<text {place} {style}>{html.escape(piece).replace(' ', '&#160;')}</text>"
        column += len(piece)


if __name__ == "__main__":
    main()
