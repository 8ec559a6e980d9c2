"""What is read from pyproject.toml, and how it is refused."""

from pathlib import Path

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.config import generators, profile


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "pyproject.toml"


def test_profiles(toml: Path) -> None:
    """A profile gives the options of its table, and those of no other."""
    toml.write_text("""
        [tool.other]
        profiles = 5
        [tool.pytest-loadgen.profiles.smoke]
        rate = 50
        duration = "3s"
        headers = { X = "ü" }
        [tool.pytest-loadgen.profiles.night]
        rate = "max"
        [tool.pytest-loadgen.profiles.empty]
    """, encoding="utf-8")  # fmt: skip
    assert profile(toml.parent, "smoke") == {"rate": 50, "duration": "3s", "headers": {"X": "ü"}}
    assert profile(toml.parent, "night") == {"rate": "max"}
    assert profile(toml.parent, "empty") == {}


HERE = "[tool.pytest-loadgen.profiles.smoke]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no profile 'smok' in {toml}: it has no [tool.pytest-loadgen.profiles.NAME]."),
        ("", "there is no profile 'smok' in {toml}: it has no [tool.pytest-loadgen.profiles.NAME]."),
        (HERE, "there is no profile 'smok' in {toml}: did you mean 'smoke'?"),
        ("[tool.pytest-loadgen.profiles.x]", "there is no profile 'smok' in {toml}: choose from x."),
        (
            "[tool.pytest-loadgen.profiles.smok]\nrat = 5",
            "the profile 'smok' in {toml} has no option 'rat': did you mean 'rate'?",
        ),
        (
            "[tool.pytest-loadgen.profiles]\nsmok = 5",
            "the profile 'smok' in {toml} is no table: write [tool.pytest-loadgen.profiles.smok]",
        ),
        (
            "[tool.pytest-loadgen]\nprofiles = 5",
            "{toml}: profiles is no table: write [tool.pytest-loadgen.profiles.NAME]",
        ),
        (
            "[tool.pytest-loadgen.profile.smok]",
            "{toml}: [tool.pytest-loadgen] has no 'profile': did you mean 'profiles'?",
        ),
        (
            "[tool.pytest-loadgen]\nrate = 5",
            "{toml}: [tool.pytest-loadgen] has no 'rate': choose from generators, profiles.",
        ),
    ],
)  # fmt: skip
def test_refusing(toml: Path, text: str | None, message: str) -> None:
    """What is not there or not meant is refused with the file's name and the word that may be meant."""
    if text is not None:
        toml.write_text(text, encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        profile(toml.parent, "smok")
    assert str(caught.value) == message.format(toml=toml)


@pytest.mark.parametrize("content", [b"[tool.pytest-loadgen", b"a = \xff", b"a = 1\na = 2"])
def test_broken(toml: Path, content: bytes) -> None:
    """A file that is no TOML is refused by name."""
    toml.write_bytes(content)
    with pytest.raises(PlanError) as caught:
        profile(toml.parent, "smoke")
    assert str(caught.value).startswith(f"cannot read {toml}: ")


def test_unreadable(toml: Path) -> None:
    """What is there but no file is not taken for no profile."""
    toml.mkdir()
    with pytest.raises(PlanError) as caught:
        profile(toml.parent, "smoke")
    assert str(caught.value).startswith(f"cannot read {toml}: ")


def test_files_are_beside_the_configuration(toml: Path) -> None:
    """Paths of programs and certificates are relative to pyproject.toml; names on PATH, and what is no path, stay."""
    toml.write_text("""
        [tool.pytest-loadgen.generators.far]
        program = "bin/fortio"
        tls = "ca.pem"
        cert = ["../cert.pem", "/etc/key.pem"]
        [tool.pytest-loadgen.generators.near]
        program = "fortio"
        tls = true
    """)
    folder = toml.parent
    assert generators(folder) == {
        "far": {
            "program": f"{folder}/bin/fortio",
            "tls": f"{folder}/ca.pem",
            "cert": [f"{folder}/../cert.pem", "/etc/key.pem"],
        },
        "near": {"program": "fortio", "tls": True},
    }
