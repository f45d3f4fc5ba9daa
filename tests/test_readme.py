"""Each Python block of the README runs alone, and they print what the comments under `print` say."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

# The expected output: full-line comments straight after a line that prints.
EXPECTED = re.compile(r"^print\(.*\)\n((?:^# .*\n)+)", re.MULTILINE)


def blocks():
    return BLOCK.findall(README.read_text())


def test_readme_shows_the_three_uses():
    text = "\n".join(blocks())
    for use in ("specgrad_torch.eigh", "vjp(eigh", "scipy.optimize"):
        assert use in text


def test_readme_runs_and_prints_what_it_says(capsys):
    pytest.importorskip("torch")
    pytest.importorskip("scipy")
    for number, block in enumerate(blocks()):
        exec(compile(block, f"README.md, block {number}", "exec"), {})
        said = "".join(re.sub(r"^# ", "", text, flags=re.MULTILINE) for text in EXPECTED.findall(block))
        assert capsys.readouterr().out == said
        assert said or "print(" not in block
