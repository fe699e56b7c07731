"""The page of methods: many comparisons, one line a method, sharing and pair of encoders."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from morefromless.evaluation.paired import holm

Found = dict[str, Any]
ARMS = ("asymmetric", "symmetric", "trident")
MINUS = "\N{MINUS SIGN}"


def gathered(folder: Path) -> Found:
    """Every comparison under `folder`, by its own folder."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*/comparison.json"))]
    found.sort(key=lambda one: (one["options"]["store"], _title(one)))
    made = {one["options"]["out"]: one for one in found}
    # Comparisons share runs, each of which counts once.
    runs = {run["folder"]: run for one in made.values() for run in one["runs"]}
    return {
        "comparisons": made,
        "runs": list(runs.values()),
        "training_seconds": sum(run["seconds"] for run in runs.values()),
    }


def command(found: Found) -> str:
    """Each comparison's command; only what differs from the defaults."""
    return "\n".join(_command(one["options"]) for one in found["comparisons"].values())


def _command(options: Found) -> str:
    said = [f"mfl compare {options['store']} --out {options['out']}"]
    said.append(f"--primary {' '.join(options['primary'])}")
    if options["privileged"] != "full":
        said.append(f"--privileged {options['privileged']}")
    said.append(f"--objective {options['objective']}")
    single = ("size", "encoder", "privileged_encoder", "width", "epochs", "batch", "lr", "seeds")
    said += [f"--{key.replace('_', '-')} {options[key]}" for key in single if options.get(key)]
    said += [f"--{key} {' '.join(options[key])}" for key in ("freeze", "bare") if options.get(key)]
    if options["sharing"] != ["shared", "independent"]:
        said.append(f"--sharing {' '.join(options['sharing'])}")
    said += [f"--{key}" for key in ("trident", "standardise") if options[key]]
    if options.get("runs"):
        said.append(f"--runs {options['runs']}")
    return " ".join([*said, "--device cpu --jobs 2"])


def tables(found: Found) -> str:
    """Accuracies of the arms, and what the privileged modality bought, by store."""
    parts = []
    for store in dict.fromkeys(one["options"]["store"] for one in found["comparisons"].values()):
        chosen = [one for one in found["comparisons"].values() if one["options"]["store"] == store]
        title = f"### {store.rpartition('/')[2]}"
        parts += [title, _accuracies(chosen), _floors(chosen), _contrasts(chosen)]
    return "\n\n".join(parts)


def _accuracies(chosen: list[Found]) -> str:
    lines = [
        "| objective | encoders: primary, privileged | weights | asymmetric | symmetric | TriDeNT "
        "| supervised |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for one in chosen:
        cells = {
            (row["arm"]["kind"], row["arm"]["sharing"]): _interval(row["accuracy"])
            for row in one["rows"]
            if row["branch"] == "primary"
        }
        for sharing in one["options"]["sharing"]:
            shown = [cells.get((kind, sharing), "") for kind in ARMS]
            shown.append(cells[("supervised", None)])
            lines.append(f"| {_title(one)} | {sharing} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _title(one: Found) -> str:
    options = one["options"]
    other = (options.get("privileged_encoder") or options["encoder"]).partition(":")[0]
    frozen = ", frozen" * ("privileged" in (options.get("freeze") or ()))
    return f"{options['objective']} | {options['encoder']}, {other}{frozen}"


def _floors(chosen: list[Found]) -> str:
    """Floors of the primary modality; a random encoder's once an encoder."""
    made: dict[str, str] = {}
    for one in chosen:
        primary = one["options"]["primary"]
        for floor in one["floors"]:
            if floor["modality"] in primary:
                random = floor["name"] == "random encoder"
                name = f"random {one['options']['encoder']}" if random else floor["name"]
                made.setdefault(name, _interval(floor["accuracy"]))
    return "Floors: " + "; ".join(f"{name} {shown}" for name, shown in made.items()) + "."


def contrasts(chosen: list[Found]) -> list[Found]:
    """Asymmetric and TriDeNT against symmetric of the same sharing, with Holm's p over all."""
    made = []
    for one in chosen:
        for contrast in one["contrasts"]:
            a, b = contrast["a"], contrast["b"]
            like = b["kind"] == "symmetric" and a["sharing"] == b["sharing"]
            if like and a["kind"] in ("asymmetric", "trident"):
                made.append({**contrast, "title": _title(one)})
    corrected = holm([one["p"] for one in made])
    return [{**one, "p": p} for one, p in zip(made, corrected, strict=True)]


def verdict(one: Found) -> str:
    """Two witnesses, as everywhere: the interval excludes zero, and Holm's p is below 0.05."""
    difference = one["difference"]
    if one["p"] >= 0.05 or difference["low"] <= 0 <= difference["high"]:
        return "no difference shown"
    return "better" if difference["estimate"] > 0 else "worse"


def _contrasts(chosen: list[Found]) -> str:
    lines = [
        "| objective | encoders | contrast with symmetric, same weights | points | p (Holm) "
        "| verdict |",
        "|---|---|---|---:|---:|---|",
    ]
    for one in contrasts(chosen):
        points = _interval(one["difference"], sign=True)
        p = "< 0.001" if one["p"] < 0.001 else f"{one['p']:.3f}"
        arm = f"{one['a']['kind']}, {one['a']['sharing']}"
        lines.append(f"| {one['title']} | {arm} | {points} | {p} | {verdict(one)} |")
    return "\n".join(lines)


def _interval(found: Found, sign: bool = False) -> str:
    how = "+.1f" if sign else ".1f"
    estimate, low, high = (f"{100 * found[key]:{how}}" for key in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]".replace("-", MINUS)


def draw(found: Found, path: Path) -> None:
    """A line a contrast: its estimate and its interval, the stores one above the other."""
    stores: dict[str, list[Found]] = {}
    for one in found["comparisons"].values():
        stores.setdefault(one["options"]["store"].rpartition("/")[2], []).append(one)
    rows = [(store, one) for store, chosen in stores.items() for one in contrasts(chosen)]
    figure = Figure(figsize=(8, 0.9 + 0.27 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (_, one) in enumerate(reversed(rows)):
        low, middle, high = (100 * one["difference"][k] for k in ("low", "estimate", "high"))
        colour = "#0072B2" if one["a"]["kind"] == "asymmetric" else "#D55E00"
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot(middle, place, "o", color=colour, markersize=5)
    titles = [
        f"{store}: {one['title'].replace(' | ', ', ')}; {one['a']['kind']}, {one['a']['sharing']}"
        for store, one in reversed(rows)
    ]
    axes.set_yticks(range(len(rows)), titles, fontsize=7)
    axes.axvline(0, color="grey", linewidth=1, linestyle=":")
    axes.set_xlabel("points of accuracy over the symmetric arm with the same weights (95 %)")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
