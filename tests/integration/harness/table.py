"""Figures of many tests as one table at the end of a run: a line for each test, a column for each
variant of it ("4 uring"), the largest figure where there were several."""


class Table:
    """Figures in one unit; those above `target` are counted, which fails nothing."""

    def __init__(self, title, target):
        self.title = title
        self.target = target
        self.cells = {}

    def add(self, test, variant, figure):
        row = self.cells.setdefault(test, {})
        row[variant] = max(figure, row.get(variant, figure))

    def lines(self):
        columns = list(dict.fromkeys(variant for row in self.cells.values() for variant in row))
        width = max(map(len, self.cells))
        head = "".join(f"{column:>9}" for column in columns)
        lines = [self.title, f"{'':{width}}{head}"]
        for test, row in self.cells.items():
            figures = "".join(f"{row[column]:9.0f}" if column in row else f"{'-':>9}"
                              for column in columns)
            lines.append(f"{test:{width}}{figures}")
        figures = [figure for row in self.cells.values() for figure in row.values()]
        above = sum(figure > self.target for figure in figures)
        lines.append(f"above {self.target}: {above} of {len(figures)}; longest: {max(figures):.0f}")
        return lines
