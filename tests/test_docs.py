"""The documentation is true as far as a program can tell: links, code blocks, and what the reference lists."""

import argparse
import ast
import dataclasses
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import pytest_loadgen
from pytest_loadgen import plugin
from pytest_loadgen.figures.outcomes import FAILURES
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.plugin import hookspecs
from pytest_loadgen.review import command as review
from pytest_loadgen.serving import command as serving
from pytest_loadgen.traffic.options import Options

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "examples" / "go_generator" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
REFERENCE = ROOT / "docs" / "reference.md"


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path) -> Iterator[tuple[str, str]]:
    """Give the language and text of each fenced block."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def prose(path: Path) -> str:
    """Give a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Give the anchors that GitHub makes of the headings: a repeated one has a number."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE):
        text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = 0
        while (name := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(name)
    return found


def section(heading: str) -> str:
    """Give the part of the reference below a heading of the second or third level, up to the next of that level."""
    text = prose(REFERENCE)
    match = re.search(rf"^(##+) {re.escape(heading)}$", text, re.MULTILINE)
    assert match, f"reference.md has no heading {heading!r}"
    rest = text[match.end() :]
    end = re.search(rf"^#{{2,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def listed(heading: str) -> list[str]:
    """Give what stands as code in the first column of a section's tables."""
    rows = re.findall(r"^\| ((?:[^|]|\\\|)*?) \|", section(heading), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(.*?)`", row)]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file that is there, and each anchor a heading of it."""
    broken = []
    for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_pictures_are_there(page: Path) -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", prose(page))
    assert [picture for picture in pictures if not (page.parent / picture).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name}" not in readme] == []


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 250


@pytest.mark.parametrize("page", [page for page in PAGES if "examples" not in page.parts], ids=named)
def test_lines_are_short(page: Path) -> None:
    """Except in tables and headings, which cannot be wrapped."""
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "#"))] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_code_blocks_can_be_read(page: Path) -> None:
    """Python compiles, TOML and YAML parse."""
    for language, text in blocks(page):
        if language == "python":
            compile(text, named(page), "exec")
        elif language == "toml":
            tomllib.loads(text)
        elif language == "yaml":
            yaml.safe_load(text)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_code_blocks_use_what_there_is(page: Path) -> None:
    """Each option of a load exists, each objective can be read, each name can be imported."""
    for call in calls(page):
        name = ast.unparse(call.func)
        if name in {"load", "pytest.mark.load"}:
            assert {keyword.arg for keyword in call.keywords if keyword.arg} <= Options.__annotations__.keys()
        objectives = [keyword.value for keyword in call.keywords if keyword.arg == "slo"]
        objectives += call.args if name == "pytest.mark.slo" or name.endswith(".judge") else []
        for objective in objectives:
            for text in objective.elts if isinstance(objective, ast.List) else [objective]:
                SLO.parse(ast.literal_eval(text))
    for node in nodes(page):
        if isinstance(node, ast.ImportFrom) and node.module == "pytest_loadgen":
            assert {alias.name for alias in node.names} <= set(pytest_loadgen.__all__)


def nodes(page: Path) -> Iterator[ast.AST]:
    for language, text in blocks(page):
        if language == "python":
            yield from ast.walk(ast.parse(text))


def calls(page: Path) -> Iterator[ast.Call]:
    return (node for node in nodes(page) if isinstance(node, ast.Call))


def test_the_reference_lists_the_options_of_load() -> None:
    assert sorted(listed("Options of `load()`")) == sorted(Options.__annotations__)


class Parser:
    """Notes what a plugin adds to pytest's options."""

    def __init__(self) -> None:
        self.options: list[str] = []
        self.ini: list[str] = []

    def getgroup(self, *_: str) -> "Parser":
        return self

    def addoption(self, name: str, **_: object) -> None:
        self.options.append(name)

    def addini(self, name: str, *_: object, **__: object) -> None:
        self.ini.append(name)


@pytest.mark.parametrize(
    ("heading", "there_is"),
    [("Command line options", lambda parser: parser.options), ("ini options", lambda parser: parser.ini)],
)
def test_the_reference_lists_the_options_of_pytest(heading: str, there_is: Callable[[Parser], list[str]]) -> None:
    parser: Any = Parser()
    plugin.pytest_addoption(parser)
    assert sorted(name.partition("=")[0] for name in listed(heading)) == sorted(there_is(parser))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_command_lines_have_options_that_there_are(page: Path) -> None:
    parser: Any = Parser()
    plugin.pytest_addoption(parser)
    named = {option for _, text in blocks(page) for option in re.findall(r"--load-[a-z-]*[a-z]", text)}
    assert named <= set(parser.options)


def workflows() -> dict[str, Any]:
    """Give the complete files in the page about CI, by their names."""
    found = {}
    for language, text in blocks(ROOT / "docs" / "ci.md"):
        if language == "yaml" and (name := re.match(r"# (\S+\.yml)\n", text)):
            found[name[1]] = yaml.safe_load(text)
    return found


def test_the_github_workflow_is_complete() -> None:
    """Each job runs somewhere, each step does one thing; a smoke run on pull requests, all each night."""
    workflow = workflows()[".github/workflows/loads.yml"]
    # YAML 1.1 reads the key "on" as a truth value.
    assert workflow[True].keys() == {"pull_request", "schedule", "workflow_dispatch"}
    for job in workflow["jobs"].values():
        assert {"runs-on", "timeout-minutes", "steps"} <= job.keys()
        for step in job["steps"]:
            assert len(step.keys() & {"run", "uses"}) == 1
            assert "uses" not in step or re.fullmatch(r"actions/[a-z/-]+@v\d+", step["uses"])


def test_the_gitlab_pipeline_is_complete() -> None:
    """Each job has a script and a rule, and extends what there is; the reports are the files that pytest writes."""
    pipeline = workflows()[".gitlab-ci.yml"]
    shared = pipeline[".loads"]
    jobs = {name: job for name, job in pipeline.items() if name not in {"stages", ".loads"}}
    assert jobs.keys() == {"smoke", "full", "baseline"}
    for job in jobs.values():
        assert job["extends"] == ".loads"
        assert job["rules"]
        (command,) = job["script"]
        reports = {**shared["artifacts"]["reports"], **job.get("artifacts", {}).get("reports", {})}
        assert all(f"={path}" in command for path in [*reports.values(), *shared["artifacts"]["paths"]])


def test_the_reference_lists_the_options_of_the_commands() -> None:
    parser = argparse.ArgumentParser(add_help=False, conflict_handler="resolve")
    for add_options in serving.add_options, review.add_judge_options, review.add_compare_options:
        add_options(parser)
    there_are = {option for action in parser._actions for option in action.option_strings}
    assert {name for name in listed("`python -m pytest_loadgen`") if name.startswith("--")} == there_are


def test_the_reference_lists_the_public_names() -> None:
    assert sorted(listed("Public names")) == sorted(pytest_loadgen.__all__)


def test_the_reference_lists_the_failures() -> None:
    assert listed("Outcomes") == list(FAILURES)


def test_the_reference_lists_the_errors() -> None:
    errors = {name for name in pytest_loadgen.__all__ if issubclass_of(getattr(pytest_loadgen, name), Exception)}
    assert set(listed("Errors")) == errors


def issubclass_of(thing: object, kind: type) -> bool:
    return isinstance(thing, type) and issubclass(thing, kind)


def test_the_reference_lists_the_hooks_and_their_arguments() -> None:
    tree = ast.parse(Path(hookspecs.__file__).read_text(encoding="utf-8"))
    there_are = [
        f"{node.name}({', '.join(argument.arg for argument in node.args.args)})"
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    ]
    assert [name for name in listed("Hooks") if name.startswith("pytest_")] == there_are


def test_the_reference_lists_the_figures_of_an_interval() -> None:
    assert listed("Interval") == [field.name for field in dataclasses.fields(pytest_loadgen.Interval)]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("Result", pytest_loadgen.Result),
        ("JudgedResult", pytest_loadgen.JudgedResult),
        ("Verdict", pytest_loadgen.Verdict),
        ("Hooks", pytest_loadgen.Run),
    ],
)
def test_the_reference_lists_attributes_that_there_are(heading: str, kind: Any) -> None:
    """And all fields."""
    names = {name.partition("(")[0] for name in listed(heading) if not name.startswith("pytest_")}
    fields = {field.name for field in dataclasses.fields(kind)}
    assert names <= fields | set(dir(kind))
    inherited = {
        field.name for base in kind.__bases__ if dataclasses.is_dataclass(base) for field in dataclasses.fields(base)
    }
    assert fields - inherited <= names


def test_the_architecture_names_the_packages_in_order() -> None:
    """In the rows of the table in test_layers.py."""
    rows = re.findall(
        r"^\| \d+ \| (.*) \|$", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    tree = ast.parse((ROOT / "tests" / "test_layers.py").read_text(encoding="utf-8"))
    layers: str = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
    )
    assert [re.findall(r"`(.*?)`", row) for row in rows] == [line.split() for line in layers.strip().splitlines()]


def test_the_architecture_names_the_modules() -> None:
    """Each module, in the row of its package."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    in_table = {
        (package, module)
        for package, files in re.findall(r"^\| (?:`([a-z/]+/)` )?\| [^|]* \| ([^|]*) \|$", text, re.MULTILINE)
        for module in re.findall(r"`([a-z0-9_]+)`", files)
    }
    folder = Path(pytest_loadgen.__file__).parent
    there_are = {
        (f"{path.parent.relative_to(folder)}/".removeprefix("./"), path.stem)
        for path in folder.rglob("*.py")
        if not path.stem.endswith(("__", "_pb2"))
    }
    assert in_table == there_are


def test_the_changelog_is_of_this_version() -> None:
    """What is not released is of the version in pyproject.toml, which then is in no section yet."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    sections = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections[0] in {"Unreleased", version}
    assert version not in sections[1:]
