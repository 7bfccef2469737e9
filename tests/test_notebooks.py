"""Every notebook runs from top to bottom, and is committed as it came out: its outputs in place, its cells numbered, no error in it."""
import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS_A_CELL = 300      # against a cell that hangs; how fast a notebook is, no test asks


def kinds(cell):
    """What a cell shows, without the values: ["stdout"], ["image/png"], ... in order. Pieces of one stream count once."""
    shown = []
    for output in cell.get("outputs", []):
        kind = output.name if output.output_type == "stream" else output.output_type if output.output_type == "error" \
            else next((k for k in ("image/png", "image/svg+xml", "text/html") if k in output.data), "text/plain")
        if not (shown and shown[-1] == kind == "stdout"):
            shown.append(kind)
    return shown


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def committed(request):
    return nbformat.read(request.param, as_version=4)


def test_there_is_a_notebook_to_start_with():
    assert [path.name for path in NOTEBOOKS][:1] == ["00_start_here.ipynb"]


def test_notebook_runs_and_shows_what_was_committed(committed):
    fresh = nbformat.from_dict(committed)
    for cell in code_cells(fresh):
        cell.outputs = []
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}           # the kernel chooses inline
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    where = {"metadata": {"path": str(ROOT / "notebooks")}}
    client = nbclient.NotebookClient(fresh, timeout=SECONDS_A_CELL, kernel_name="python3", resources=where)
    client.execute(env=environment)                                                                     # raises at the first error
    for before, after in zip(code_cells(committed), code_cells(fresh), strict=True):
        assert kinds(before) == kinds(after), f"execute the notebook and commit it with its outputs: {before.source}"


def test_notebook_was_committed_after_one_clean_run(committed):
    cells = code_cells(committed)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "restart the kernel, run all cells, commit"
    for cell in cells:
        assert not {"error", "stderr"} & set(kinds(cell)), f"this cell ended in an error or a warning:\n{cell.source}"
    assert "image/png" in {kind for cell in cells for kind in kinds(cell)}, "a notebook ends in a figure worth keeping"


def test_notebook_stays_light_and_names_no_private_path(committed):
    assert len(nbformat.writes(committed)) < 2_000_000, "figures of a few hundred kilobytes, please: the whole history keeps them"
    for cell in committed.cells:
        words = cell.source + "".join(output.get("text", "") for output in cell.get("outputs", []))
        assert str(ROOT) not in words and str(Path.home()) + os.sep not in words
