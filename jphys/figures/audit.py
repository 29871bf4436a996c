"""The audit as one HTML page that needs nothing else."""

import base64
import html
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jphys.figures.recovery import SHORTEST
from jphys.figures.style import BLUE, GREEN, INK, VERMILLION, canvas, line_styles
from jphys.reliability.check import Check
from jphys.reliability.recovery import CAP

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }} .yes {{ color: #00734f; }} .no {{ color: #b34700; }}
td, th {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; }} img {{ max-width: 100%; }}
</style></head><body><h1>{title}</h1><p>{summary}</p>
<table><tr><th>check</th><th></th><th>value</th><th>limit</th><th>what is measured</th></tr>{rows}</table>
{images}{problems}<p>{made_with}</p></body></html>
"""


def audit_page(
    checks: Sequence[Check], path, *, subject: str, problems: dict[str, int], made_with: str
) -> Path:
    """Write the page.

    Args:
        checks: of `jphys.reliability.audit.audit`.
        path: HTML file to write.
        subject: what was audited.
        problems: reason -> how often the surface gave no answer for it.
        made_with: versions and device.
    """
    passed = sum(check.passed for check in checks)
    images = "".join(
        f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{_picture(draw, checks)}">'
        for title, draw in (
            ("Recovery", _draw_recovery),
            ("Diatomic curves", _draw_diatomics),
            ("Beside density functional theory", _draw_truth),
        )
    )
    listed = "".join(f"<li>{html.escape(reason)}: {n}</li>" for reason, n in problems.items())
    text = _PAGE.format(
        title=f"Audit of {html.escape(subject)}",
        summary=f"{passed} of {len(checks)} checks passed.",
        rows="".join(map(_row, checks)),
        images=images,
        problems=f"<h2>Cases without an answer</h2><ul>{listed}</ul>" if problems else "",
        made_with=html.escape(made_with),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def _row(check: Check) -> str:
    value = "no answer" if check.value is None else f"{check.value:.3g} {check.unit}"
    word, style = ("passed", "yes") if check.passed else ("failed", "no")
    cells = check.name, value, f"{check.bounds} {check.unit}", check.what
    name, value, limit, what = map(html.escape, cells)
    verdict = f'<td class="{style}">{word}</td>'
    return f"<tr><td>{name}</td>{verdict}<td>{value}</td><td>{limit}</td><td>{what}</td></tr>"


def _picture(draw, checks: Sequence[Check]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        with canvas(file, 8.0, 3.4) as figure:
            draw(figure.subplots(), {check.name: check for check in checks})
        return base64.b64encode(file.read_bytes()).decode("ascii")


def _draw_recovery(axes, checks: dict[str, Check]) -> None:
    distances = np.clip(checks["recovery"].details.get("distances", []), SHORTEST, CAP)
    axes.hist(distances, bins=np.geomspace(SHORTEST, CAP, 40), color=BLUE, alpha=0.75)
    axes.axvline(0.1, color=VERMILLION, linestyle="--", label="0.1 Å")
    axes.set(xscale="log", xlabel="ΔP after relaxation from σ = 0.1 Å (Å)", ylabel="molecules")
    axes.legend()


def _draw_diatomics(axes, checks: dict[str, Check]) -> None:
    curves = checks["smoothness"].details.get("curves", {})
    for (name, (distance, energy)), style in zip(curves.items(), line_styles()):
        axes.plot(distance, energy, linewidth=1.1, label=name, **style)
    axes.axhline(0.0, color=INK, linewidth=0.6)
    axes.set(xlabel="distance (Å)", ylabel="energy (eV)", ylim=(-12, 12), xlim=(0.3, 6))
    if curves:
        axes.legend(ncols=2, loc="upper right")
    else:
        axes.annotate("no answer", (0.5, 0.5), xycoords="axes fraction", color=GREEN)


def _draw_truth(axes, checks: dict[str, Check]) -> None:
    """Bars: median ratio to B3LYP of the frequencies of each band, their lowest, and the rise by turning."""
    bands = [band for band in checks["frequencies"].details.get("bands", []) if band["n"]]
    bars = {f"{band['from']:g}–{band['to']:g}": band["median_ratio"] for band in bands}
    turned = checks["torsions"].details.get("ratio")
    bars |= {} if turned is None else {"turned": turned}
    if not bars:
        axes.annotate("no answer", (0.5, 0.5), xycoords="axes fraction", color=GREEN)
        return
    axes.bar(list(bars), list(bars.values()), color=BLUE, alpha=0.75)
    lowest = [band["lowest_ratio"] for band in bands]
    style = {"linestyle": "none", "marker": "_", "markersize": 14, "color": VERMILLION}
    axes.plot(range(len(lowest)), lowest, **style, label="lowest mode")
    axes.axhline(1.0, color=INK, linewidth=0.6)
    axes.set(ylabel="ratio to B3LYP", ylim=(0, 2), xlabel="frequencies by band (cm⁻¹), energies by turning")
    axes.legend()
