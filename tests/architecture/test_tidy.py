"""What keeps the house in order and no compiler checks."""

import re
import subprocess

import pytest

from lib.gateway import ROOT

LINES_MAX = 600


def tracked(*patterns):
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [path for path in out.splitlines() if (ROOT / path).is_file()]


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["*.rs", "*.py", "*.mjs", "*.ts", "*.svelte"])
def test_files_can_be_held_in_mind(kind):
    long = {path: lines for path in tracked(kind) if (lines := text_of(path).count("\n")) > LINES_MAX}
    assert not long, f"over {LINES_MAX} lines: {long}"


def test_no_leftovers():
    # Written so that this file does not find itself.
    leftovers = re.compile(r"\b(todo|unimplemented|dbg)!\(|\b(FIXM[E]|XX[X])\b")
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in tracked("*.rs", "*.py", "*.mjs", "*.ts", "*.svelte")
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if leftovers.search(line)
    ]
    assert not found, "\n".join(found)


def test_every_rust_file_says_what_it_is_for():
    silent = [
        path
        for path in tracked("gateway/*.rs", "protocols/*.rs", "store/*.rs", "web-console/*.rs")
        if not re.search("/(tests|contract|simulation)", path) and not text_of(path).startswith(("//!", "#![no_main]"))
    ]
    assert not silent, f"no //! at the top: {silent}"


def test_lockfiles_name_no_registry_host():
    found = [path for path in tracked("*package-lock.json") if re.search(r'"resolved": "https?://', text_of(path))]
    assert not found
