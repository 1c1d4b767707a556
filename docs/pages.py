"""The pages of the documentation that are made of the code, so that they cannot go stale: a hook of MkDocs.

``settings.md`` from the request and the environment's settings, ``commands.md`` from the command line, ``python.md``
from the public names, ``records.md`` from what a run has rows of, the drawings of the graphs from ``pipeline.mmd`` and
``improvement.mmd``, which tests hold to the compiled graphs.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

GRAPHS = {"<!-- pipeline -->": "pipeline.mmd", "<!-- improvement -->": "improvement.mmd"}
"""Where which drawing goes."""
BOX_WIDTH, BOX_HEIGHT, STEP = 132, 30, 58
LANE = 50
"""Between two arcs beside each other."""


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages, and those that lie in the root of the checkout."""
    from mkdocs.structure.files import File

    pages = {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "python.md": python_page(),
        "records.md": records_page(),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the drawing of a graph where a page asks for it."""
    for mark, file in GRAPHS.items():
        if mark in markdown:
            markdown = markdown.replace(mark, drawing((ROOT / "docs" / file).read_text(encoding="utf-8")))
    return markdown


def settings_page() -> str:
    """Return every setting with its kind, bounds, default and docstring, under a heading for each section."""
    from tools.catalogue import all_settings

    parts = [
        "# Settings\n\nA run's settings stand in its config, a YAML file, or in `corral run --set KEY=VALUE`; those in "
        "capitals in the environment. A run keeps the request it started with. `corral settings KEY` prints the same "
        "in a terminal.\n"
    ]
    section = ""
    for one in all_settings():
        head = "The environment" if one.key.isupper() else one.key.rpartition(".")[0] or "The run"
        if head != section:
            section = head
            parts.append(f"\n## {head}\n")
        facts = ", ".join(filter(None, (one.kind, one.bounds, f"default `{one.default}`")))
        text = " ".join(one.text.split())
        parts.append(f"\n### `{one.key}`\n\n{_escaped(facts)}\n\n{_escaped(text)}\n")
    return "".join(parts)


def commands_page() -> str:
    """Return every command with its arguments and options, as its help has them."""
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from corral.cli.main import app

    command = get_command(app)
    with command.make_context("corral", [], resilient_parsing=True) as context:
        text = get_docs_for_click(obj=command, ctx=context, name="corral", title="Commands")
    # A subcommand's heading is two words; an anchor for each is enough.
    return re.sub(r"^\* `(\w[\w-]*)`:", r"* [`\1`](#corral-\1):", text, flags=re.MULTILINE)


def python_page() -> str:
    """Return what ``corral`` exports, each with its docstring."""
    import corral
    from graph.crews.catalogue import TOOLS, description

    parts = [
        "# Python\n\nEverything here is imported from `corral`. Steps, tools and records below it are not public: they "
        "may change in any version.\n\n```python\n" + _example(corral.__doc__ or "") + "\n```\n"
    ]
    for name in corral.__all__:
        found = getattr(corral, name)
        parts.append(f"\n::: {found.__module__}.{found.__qualname__}\n")
    parts.append("\n## Crews and their tools\n\nImported from `corral.crew_tools`; it imports CrewAI.\n")
    parts += [f"\n::: corral.crew_tools.{name}\n" for name in ("kickoff", "Inputs", "crew_tools", "langchain_tools")]
    parts.append("\n| tool | what it does |\n| --- | --- |\n")
    parts += [f"| `{name}` | {_escaped(description(name))} |\n" for name in TOOLS]
    return "".join(parts)


def records_page() -> str:
    """Return what a run has rows of, each with the docstrings of its fields."""
    from graph.tabular import KINDS

    parts = [
        "# Records\n\nWhat a run keeps, as `await runs.rows(run_id, KIND)` gives it: a list of mappings for "
        "`pandas.DataFrame`, `polars.DataFrame` or `datasets.Dataset.from_list`. A field that is neither a number nor "
        "a text nor a list of texts is JSON there; a judgement's scores, and those of a candidate, are columns called "
        "`NAME_score`.\n"
    ]
    for kind, record in KINDS.items():
        parts.append(
            f"\n## {kind}\n\n::: {record.__module__}.{record.__qualname__}\n    options:\n      heading_level: 3\n"
        )
    return "".join(parts)


def _example(docstring: str) -> str:
    found = re.search(r"^import asyncio$.*?^asyncio\.run\(.*?\)$", docstring, re.MULTILINE | re.DOTALL)
    assert found, "the docstring of corral begins with an example"
    return found.group()


def _escaped(text: str) -> str:
    """Return text for Markdown in which a bracket or a star is what it is."""
    return re.sub(r"([\[\]*_|<>])(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\\1", text)


def drawing(mermaid: str) -> str:
    """Return Mermaid's graph of one line of steps as SVG, with its loops and ways out as arcs beside the line."""
    edges = re.findall(r"^\t(\w+) (?:-->|-\.(?:\s*&nbsp;(\w+)&nbsp;\s*)\.->) (\w+);$", mermaid, re.MULTILINE)
    steps = re.findall(r"^\t(\w+)\(", mermaid, re.MULTILINE)
    place = {name: number for number, name in enumerate(steps)}
    left, right = 170, 170 + BOX_WIDTH
    shapes, lanes = [], {"left": 0, "right": 0}
    for number, name in enumerate(steps):
        top = 10 + number * STEP
        label = html.escape(name.strip("_"))
        shapes.append(
            f'<rect x="{left}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
            f'<text x="{left + BOX_WIDTH / 2}" y="{top + 20}" text-anchor="middle">{label}</text>'
        )
    for start, label, end in sorted(edges, key=lambda edge: abs(place[edge[2]] - place[edge[0]])):
        down = place[end] - place[start]
        begin, stop = (10 + place[name] * STEP + BOX_HEIGHT / 2 for name in (start, end))
        if down == 1:
            middle = left + BOX_WIDTH / 2
            shapes.append(_arrow(f"M{middle},{begin + 15} V{stop - 17}", middle + 6, (begin + stop) / 2 + 4, label))
            continue
        side = "right" if down > 1 else "left"
        lanes[side] += 1
        edge = right if side == "right" else left
        out = edge + (1 if side == "right" else -1) * (12 + LANE * lanes[side])
        y1, y2 = (begin + 5, stop - 5) if down else (begin - 8, begin + 8)
        shapes.append(_arrow(f"M{edge},{y1} H{out} V{y2} H{edge}", out + 4, (y1 + y2) / 2 + 4, label))
    height = 20 + len(steps) * STEP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="The steps of a run" width="470" '
        f'viewBox="0 0 470 {height}" style="max-width:100%;font:13px sans-serif"><defs>'
        '<marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
        '<path d="M0,0 L6,3 L0,6 z" fill="currentColor"/></marker></defs>'
        '<g fill="none" stroke="currentColor">'
        + re.sub(r"<text ", '<text fill="currentColor" stroke="none" ', "".join(shapes))
        + "</g></svg>"
    )


def _arrow(path: str, x: float, y: float, label: str) -> str:
    text = f'<text x="{x}" y="{y}" font-size="11">{html.escape(label)}</text>' if label else ""
    return f'<path d="{path}" marker-end="url(#head)"/>{text}'
