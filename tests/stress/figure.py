"""What a figure says: rows of a table, each a value and, where there is one, its bound."""

from dataclasses import dataclass, field


@dataclass
class Row:
    figure: str
    what: str
    value: str
    bound: str
    holds: bool | None  # None: only told


@dataclass
class Rows:
    figure: str
    rows: list = field(default_factory=list)

    def tell(self, what, value):
        self._add(what, value, "", None)

    def at_most(self, what, value, bound):
        self._add(what, value, f"<= {text(bound)}", value <= bound)

    def at_least(self, what, value, bound):
        self._add(what, value, f">= {text(bound)}", value >= bound)

    def equal(self, what, value, wanted):
        self._add(what, value, f"= {text(wanted)}", value == wanted)

    def true(self, what, value):
        self._add(what, "yes" if value else "no", "= yes", bool(value))

    def fail(self, what, error):
        self._add(what, str(error).strip().splitlines()[-1][:160], "works", False)

    def _add(self, what, value, bound, holds):
        row = Row(self.figure, what, text(value), bound, holds)
        self.rows.append(row)
        print(f"  {what}: {row.value} {bound} {mark(holds)}", flush=True)


def text(value):
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def mark(holds):
    return {None: "", True: "holds", False: "MISSED"}[holds]
