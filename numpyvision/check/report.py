"""What a check found: a table that prints itself, is true if all is well, and says in one sentence what is not."""
from dataclasses import dataclass, field

OK, KINK, WRONG = "ok", "kink", "wrong-gradient"
MISSING, SHAPE, DTYPE, NOT_FINITE = "missing-gradient", "wrong-shape", "wrong-dtype", "not-finite"
MUTATES = "mutates-inputs"


@dataclass
class Row:
    """One input or parameter: its worst error, and where. `checked` tells how it was looked at."""

    name: str
    shape: tuple
    error: float | None = None            # relative
    index: tuple | None = None            # of the worst element; None for a direction through all of them
    analytic: float | None = None         # what backward claims there
    numeric: float | None = None          # what the finite difference measures there
    checked: str = ""
    diagnosis: str = OK


@dataclass
class Report:
    """The outcome of a gradient check. `if report:` is `if report.ok:`; printing it shows the table."""

    title: str
    rows: list[Row] = field(default_factory=list)
    diagnosis: str = OK                   # of the first row that failed; other checkers add codes of their own
    message: str = ""                     # plain English: which input, which index, both values
    error: float | None = None            # relative error along one random direction through all inputs
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self):
        return self.diagnosis == OK

    def __bool__(self):
        return self.ok

    def fail(self, diagnosis, message):
        """Record a failure; the first one stays the headline."""
        if self.ok:
            self.diagnosis, self.message = diagnosis, message

    def __repr__(self):
        head = f"{self.title}: {'ok' if self.ok else self.diagnosis}"
        if self.error is not None:
            head += f", directional error {self.error:.1e}"
        cells = [("input", "shape", "rel. error", "worst at", "backward", "difference", "checked")]
        for r in self.rows:
            verdict = "" if r.diagnosis == OK else f"  {r.diagnosis.upper()}"
            cells.append((r.name, "x".join(map(str, r.shape)) or "scalar", _number(r.error, ".1e"), _index(r.index),
                          _number(r.analytic), _number(r.numeric), r.checked + verdict))
        lines = table(cells) if self.rows else []
        return "\n".join([head, *lines, *([self.message] if self.message else []), *(f"note: {n}" for n in self.notes)])


@dataclass
class Check:
    """One named promise of the contract and whether it was kept."""

    name: str
    ok: bool
    message: str = ""


@dataclass
class Contract:
    """The outcome of check_op or check_layer: every promise by name. True if all were kept."""

    title: str
    checks: list[Check] = field(default_factory=list)
    gradients: Report | None = None

    @property
    def ok(self):
        return all(c.ok for c in self.checks)

    @property
    def failed(self):
        """Names of the promises that were broken."""
        return [c.name for c in self.checks if not c.ok]

    @property
    def message(self):
        """The first failure in one sentence."""
        return next((f"{c.name}: {c.message}" for c in self.checks if not c.ok), "")

    def __bool__(self):
        return self.ok

    def __repr__(self):
        cells = [(c.name, "ok" if c.ok else "FAILED", c.message) for c in self.checks]
        return "\n".join([f"{self.title}: {'ok' if self.ok else 'FAILED ' + ', '.join(self.failed)}", *table(cells)])


def table(cells):
    """Rows of texts -> aligned lines, indented by two."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    return ["  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _number(value, spec="+.6e"):
    return "" if value is None else format(value, spec)


def _index(index):
    return "" if index is None else str(list(index))
