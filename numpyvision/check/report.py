"""What a check found: a table that prints itself, is true if all is well, and says in plain English what is not."""
from dataclasses import dataclass, field
from typing import Any

from numpyvision.check.codes import DIAGNOSES

OK, KINK, UNKNOWN, SHAPE = "ok", "kink", "unknown", "wrong-shape"


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
    claimed: Any = field(default=None, repr=False)                   # the whole gradient that backward returned, where it is wrong,
    numeric_array: Any = field(default=None, repr=False)             # and the measured one, NaN where it was not measured
    direction: Any = field(default=None, repr=False)
    slope: Any = field(default=None, repr=False)


@dataclass
class Report:
    """The outcome of a gradient check. `if report:` is `if report.ok:`; printing it shows the table, a notebook a picture too."""

    title: str
    rows: list[Row] = field(default_factory=list)
    diagnosis: str = OK                   # one of DIAGNOSES
    message: str = ""                     # plain English, at most three sentences: the numbers that prove it and where to look
    error: float | None = None            # the largest relative error along a random direction
    notes: list[str] = field(default_factory=list)
    evidence: str = ""                    # of a wrong forward: which pattern its output shows, another of DIAGNOSES

    @property
    def ok(self):
        return self.diagnosis == OK

    def __bool__(self):
        return self.ok

    @property
    def meaning(self):
        """One line on what the diagnosis means in general."""
        return DIAGNOSES[self.diagnosis]

    def fail(self, diagnosis, message):
        """Record a failure; the first one stays the headline."""
        if self.ok:
            plain = message.split(" ")[0].isalpha()                  # not x[1], whose name it is
            self.diagnosis, self.message = diagnosis, message[:1].upper() + message[1:] if plain else message

    def _repr_html_(self):
        """For a notebook: the table, and where the error lives."""
        from numpyvision.check import picture
        return picture.html(self)

    def _repr_png_(self):
        """Where the error lives, for viewers without HTML; nothing if all is well."""
        from numpyvision.check import picture
        return picture.png(self)

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
