"""The examples run as the README says."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_first_command_of_the_readme_tells_of_four_loads() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "examples", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"^examples/test_shop.py::\w+ +(GET|POST) /", done.stdout, re.MULTILINE)) == 4
