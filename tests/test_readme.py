"""The README's commands, which CI takes from its text."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def readme_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "readme_command"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_readme_has_both_commands_and_they_are_valid_bash(name: str) -> None:
    done = readme_command(name)
    assert done.returncode == 0, done.stderr
    assert "-c constraints.txt" in done.stdout  # torch is fixed in the same resolution as everything else
    assert subprocess.run(["bash", "-n", "-c", done.stdout], check=False).returncode == 0
    assert ("scripts/check" if name == "test" else "nerf3d fit") in done.stdout


def test_a_block_is_found_by_its_mark_only(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        "```bash\nnot this\n```\n<!-- command: one -->\n\n```bash\na \\\n  && b\n\nc\n```\n```bash\nnor this\n```\n"
        "<!-- command: two -->\nSome words in between.\n```bash\nd\n```\n"
        "<!-- command: twice -->\n```bash\ne\n```\n<!-- command: twice -->\n```bash\ne\n```\n"
    )
    assert readme_command("one", str(readme)).stdout == "a \\\n  && b\n\nc\n"
    for name, count in (("two", 0), ("none", 0), ("twice", 2)):
        done = readme_command(name, str(readme))
        assert (done.returncode, done.stdout) == (2, "")
        assert f"has {count} bash blocks marked `<!-- command: {name} -->`" in done.stderr
