"""Figures: what was measured, what it is compared with, and how both are printed.

A figure holds the samples of a subject and, in most rows, of a reference taken in turn with it. Its
value is the ratio of the medians, or the subject's median where the target is absolute.
"""

import statistics


class Figure:
    """One line of the report.

    `better` is "higher" or "lower"; `must` and `aim` bound `value` (None: informative). `relative`
    says whether the value is subject / reference or the subject alone.
    """

    def __init__(self, row, what, unit, better, must=None, aim=None, relative=True, percent=False):
        self.row = row
        self.what = what
        self.unit = unit
        self.better = better
        self.must = must
        self.aim = aim
        self.relative = relative
        self.percent = percent
        self.samples = {}
        self.notes = []

    def add(self, label, value):
        self.samples.setdefault(label, []).append(value)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def labels(self):
        return list(self.samples)

    def median(self, label):
        return statistics.median(self.samples[label])

    def _scaled(self, ratio):
        return (ratio - 1) * 100 if self.percent else ratio

    def value(self):
        labels = self.labels()
        if not self.relative:
            return self.median(labels[0])
        return self._scaled(self.median(labels[0]) / self.median(labels[1]))

    def round_values(self):
        """The value of each round by itself: how far it strays."""
        subject = self.samples[self.labels()[0]]
        if not self.relative:
            return subject
        return [self._scaled(a / b) for a, b in zip(subject, self.samples[self.labels()[1]])]

    def reaches(self, bound):
        return self.value() >= bound if self.better == "higher" else self.value() <= bound

    def verdict(self):
        if self.must is None:
            return "no target"
        if self.reaches(self.aim):
            return "aim reached"
        return "must reached" if self.reaches(self.must) else "MISSED"

    def is_missed(self):
        return self.must is not None and not self.reaches(self.must)

    def as_json(self):
        return {
            "row": self.row, "what": self.what, "unit": self.unit, "better": self.better,
            "must": self.must, "aim": self.aim, "verdict": self.verdict(),
            "value": self.value(), "value_is": "percent over reference" if self.percent else
            "ratio" if self.relative else self.unit,
            "value_of_rounds": self.round_values(), "notes": self.notes,
            "series": [{"label": label, "median": self.median(label), "min": min(samples),
                        "max": max(samples), "samples": samples}
                       for label, samples in self.samples.items()],
        }

    def text(self):
        lines = ["%s: %s" % (self.row, self.what)]
        width = max(len(label) for label in self.labels())
        for label, samples in self.samples.items():
            lines.append("    %-*s  %s %s (%s to %s, %d rounds)" % (
                width, label, number(self.median(label)), self.unit, number(min(samples)),
                number(max(samples)), len(samples)))
        if self.relative and len(self.samples) > 1:
            each = self.round_values()
            sign = " %" if self.percent else ""
            lines.append("    %-*s  %.3f%s (%.3f to %.3f)" % (
                width, "more" if self.percent else "ratio", self.value(), sign, min(each),
                max(each)))
        if self.must is not None:
            lines.append("    %-*s  must %g, aim %g: %s" % (
                width, "target", self.must, self.aim, self.verdict()))
        lines += ["    (%s)" % note for note in self.notes]
        return "\n".join(lines)


def number(value):
    if abs(value) >= 1000:
        return "{:,.0f}".format(value)
    return "%.3g" % value if abs(value) < 10 else "%.1f" % value


def table(figures):
    """A Markdown table of all figures, for a note."""
    lines = ["| row | what | value | must | aim | verdict |",
             "| --- | --- | --- | --- | --- | --- |"]
    for figure in figures:
        sign = " %" if figure.percent else " x" if figure.relative else " " + figure.unit
        bounds = ["-" if bound is None else "%g" % bound for bound in (figure.must, figure.aim)]
        lines.append("| %s | %s | %s%s | %s | %s | %s |" % (
            figure.row, figure.what, "%.3g" % figure.value(), sign, *bounds, figure.verdict()))
    return "\n".join(lines)
