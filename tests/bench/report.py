"""The results as text, as the table of README.md, and as a chart."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .peers import OURS, THEIRS

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
COLUMNS = {"eager": OURS, "compiled": f"{OURS} compiled", "numpy": f"{OURS} numpy"}
COLORS = {"eager": "#56B4E9", "compiled": "#0072B2", "numpy": "#999999"}  # Okabe and Ito, 2008


def machine_line(machine: dict[str, Any]) -> str:
    limit = machine["limits"]
    threads = machine["threads"]
    return (
        f"{threads} threads of {machine['cpu']}, {machine['date']}; NumPy {machine['numpy']}, "
        f"kernels: {machine['kernels']}, "
        + (f"PyTorch {machine['torch']}; " if machine["torch"] else "no PyTorch; ")
        + f"limits {limit[f'gflops_{threads}'] / 1e9:.0f} GFLOP/s and "
        f"{limit[f'gbytes_{threads}'] / 1e9:.0f} GB/s"
    )


def lines(result: dict[str, Any]) -> Iterator[str]:
    """One workload: each library's time, its ratio to PyTorch at its best, its share."""
    yield f"{result['name']}: {result['doc']}"
    for name, value in result["medians"].items():
        text = f"  {name:<28}{value:>10.3f} {result['unit']}"
        if result["reference"]:
            text += f"   ratio {value / result['medians'][result['reference']]:6.2f}"
        if result["least_ms"]:
            text += f"   {result['least_ms'] / value:6.1%} of the limit"
        if name in result["turns"]:
            quiet, all_turns = result["turns"][name]
            text += f"   ({quiet} quiet of {all_turns} turns)"
        yield text


def _ratio(result: dict[str, Any], name: str) -> str:
    if name not in result["medians"] or not result["reference"]:
        return ""
    return f"{result['medians'][name] / result['medians'][result['reference']]:.2f}"


def _time(result: dict[str, Any], name: str) -> str:
    value = result["medians"][name]
    return f"{value:,.0f} {result['unit']}" if value >= 100 else f"{value:.3g} {result['unit']}"


def table(results: dict[str, Any]) -> str:
    """The table of README.md: PyTorch's best time, and ours over it."""
    rows = [
        f"| | {THEIRS}, best | " + " | ".join(COLUMNS) + " | of the limit |",
        "|---|---|" + "---|" * (len(COLUMNS) + 1),
    ]
    for result in results["workloads"].values():
        medians, reference = result["medians"], result["reference"]
        best = min(medians[name] for name in COLUMNS.values() if name in medians)
        theirs = _time(result, reference) if reference else "–"
        # Without PyTorch beside it, the time itself is what there is to say.
        cells = [
            _ratio(result, name) or (_time(result, name) if name in medians else "–")
            for name in COLUMNS.values()
        ]
        share = f"{result['least_ms'] / best:.0%}" if result["least_ms"] else "–"
        title = result["doc"].rstrip(".")
        rows.append(f"| {title} | {theirs} | {' | '.join(cells)} | {share} |")
    return "\n".join([*rows, "", f"{machine_line(results['machine'])}."])


def rewrite(readme: Path, results: dict[str, Any]) -> None:
    """Put the table between the markers."""
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"{readme}: expected one line {BEGIN} and after it one {END}.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}", encoding="utf-8")


def chart(file: Path, results: dict[str, Any]) -> None:
    """Our times over the best of PyTorch's, as bars that begin at 1; to the left we are faster."""
    from matplotlib.figure import Figure

    named = {name: r for name, r in results["workloads"].items() if r["reference"]}
    figure = Figure(figsize=(8, 1 + 0.45 * len(named)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(COLUMNS)
    least = most = 1.0
    for i, (label, library) in enumerate(COLUMNS.items()):
        shown = {
            row + (i - 1) * height: r["medians"][library] / r["medians"][r["reference"]]
            for row, r in enumerate(named.values())
            if library in r["medians"]
        }
        widths = [ratio - 1 for ratio in shown.values()]
        axes.barh([*shown], widths, height, left=1, color=COLORS[label], label=label)
        least, most = min([least, *shown.values()]), max([most, *shown.values()])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    powers = range(math.floor(math.log2(least)), math.ceil(math.log2(most)) + 1)
    names = [f"{2**p}" if p >= 0 else f"1/{2**-p}" for p in powers]
    axes.set_xticks([2.0**p for p in powers], names)
    axes.set_yticks(range(len(named)), [name.replace("_", " ") for name in named])
    axes.set_ylim(len(named) - 0.4, -0.6)
    axes.grid(axis="x", color="#DDDDDD")
    axes.set_axisbelow(True)
    axes.set_xlabel("our time / the best of PyTorch's: left of 1 we are faster")
    axes.set_title(machine_line(results["machine"]), fontsize=7)
    if named:
        axes.legend()
    figure.savefig(file)
