"""The tables of pyproject.toml: what is read from them, and what is refused."""

from pathlib import Path

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.config import generators, profile


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "pyproject.toml"


def test_profiles(toml: Path) -> None:
    """A profile has the options of its own table only."""
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
        (None, "no profile 'smok' in {toml}: it has no [tool.pytest-loadgen.profiles.NAME]."),
        ("", "no profile 'smok' in {toml}: it has no [tool.pytest-loadgen.profiles.NAME]."),
        (HERE, "no profile 'smok' in {toml}: did you mean 'smoke'?"),
        ("[tool.pytest-loadgen.profiles.x]", "no profile 'smok' in {toml}: choose from x."),
        (
            "[tool.pytest-loadgen.profiles.smok]\nrat = 5",
            "the profile 'smok' in {toml} has no option 'rat': did you mean 'rate'?",
        ),
        (
            "[tool.pytest-loadgen.profiles]\nsmok = 5",
            "the profile 'smok' in {toml} must be a table: write [tool.pytest-loadgen.profiles.smok]",
        ),
        (
            "[tool.pytest-loadgen]\nprofiles = 5",
            "{toml}: profiles must be a table: write [tool.pytest-loadgen.profiles.NAME]",
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
    """An unknown name or a wrong type is refused with the path of the file and the nearest known name."""
    if text is not None:
        toml.write_text(text, encoding="utf-8")
    with pytest.raises(PlanError) as caught:
        profile(toml.parent, "smok")
    assert str(caught.value) == message.format(toml=toml)


@pytest.mark.parametrize("content", [b"[tool.pytest-loadgen", b"a = \xff", b"a = 1\na = 2"])
def test_broken(toml: Path, content: bytes) -> None:
    """A file that is not TOML is named in the error."""
    toml.write_bytes(content)
    with pytest.raises(PlanError) as caught:
        profile(toml.parent, "smoke")
    assert str(caught.value).startswith(f"cannot read {toml}: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tool = 1", "tool must be a table"),
        ("[[tool]]", "tool must be a table"),
        ("[tool]\npytest-loadgen = 5", "pytest-loadgen must be a table"),
        ("[tool]\npytest-loadgen = [1]", "pytest-loadgen must be a table"),
        ("[tool]\npytest-loadgen = true", "pytest-loadgen must be a table"),
        ("a = " + "[" * 5_000, "nested too deeply"),
        ('[tool.pytest-loadgen.generators.f]\nprogram = "~nobody-here/fortio"', "'~nobody-here/fortio': "),
        ('[tool.pytest-loadgen.generators.f]\ntls = "~nobody-here/ca.pem"', "'~nobody-here/ca.pem': "),
        ('[tool.pytest-loadgen.generators.f]\ncert = ["~nobody-here/x"]', "'~nobody-here/x': "),
    ],
)
def test_other_types(toml: Path, text: str, said: str) -> None:
    """A file that is TOML but has something else where tables belong is named in the error, too."""
    toml.write_text(text)
    with pytest.raises(PlanError) as caught:
        generators(toml.parent)
    assert str(toml) in str(caught.value)
    assert said in str(caught.value)


def test_unreadable(toml: Path) -> None:
    """A pyproject.toml that cannot be read is an error, not an empty one."""
    toml.mkdir()
    with pytest.raises(PlanError) as caught:
        profile(toml.parent, "smoke")
    assert str(caught.value).startswith(f"cannot read {toml}: ")


def test_files_are_beside_the_configuration(toml: Path) -> None:
    """Paths of programs and certificates are relative to pyproject.toml; other values stay."""
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
