"""One experiment as a part of the page."""

from pathlib import PurePosixPath

from morefromless.report.reproduced import chance
from morefromless.report.reproduced.content import Part, Picture, picture
from morefromless.report.reproduced.contrasts import contrasts
from morefromless.report.reproduced.floors import floors, unbeaten
from morefromless.report.reproduced.grid import grid
from morefromless.report.reproduced.left import Finished, Left, Look
from morefromless.report.reproduced.plots import draw
from morefromless.report.reproduced.wording import SPARSE, counted, seen, typeset
from morefromless.report.section import Section
from morefromless.runs import file_name

CAPTIONS = {
    "cka": "As the paper's Fig. 2: CKA of every two layers, the mean over combinations of runs, a "
    "panel every two arms. Layers run from input (lower left) to output; 1 is alike but for "
    "rotation and scale.",
    "cka-diagonal": "CKA of the same layer in two encoders, from input to output; bands are one "
    "standard deviation over combinations of runs.",
    "confusion": "As the paper's Fig. S4: what is taken for what, in per cent of the true class "
    "and in patches over all runs; below, the difference in points.",
    "gradcam-first": "As the paper's Fig. 3: GradCAM of the first convolution, of the first seed "
    "of each arm, on the patch nearest to its class's mean.",
    "gradcam-stages": "As the paper's Fig. S5: GradCAM of the first convolution of every stage, on "
    "the same patches.",
    "curves": "Learning curves: a ridge probe of frozen features on test patches against steps of "
    "training. Thin lines are seeds, thick ones their means.",
    "transfer": "Every encoder's accuracy, with intervals; vertical lines are floors.",
}
ALTS = {
    "cka": "Heat maps of CKA between the layers of two encoders, a panel every two arms.",
    "cka-diagonal": "Lines of CKA from the first to the last layer, within and between arms.",
    "confusion": "Confusion matrices of two arms, and their difference.",
    "gradcam-first": "A grid of GradCAM pictures of the first convolution, one row a patch.",
    "gradcam-stages": "A grid of GradCAM pictures, one column a stage of the network.",
    "curves": "Lines of probe accuracy against training steps, one for each way of training.",
    "transfer": "Points with intervals, a panel a task and modality and a line an encoder.",
}


def part(found: Finished, left: Left, whole: int, comparable: bool) -> Part:
    """Its part of the page. `whole` is the side in px of what encoders see of a whole patch."""
    figures = sum(len(look.figures) for look in found.looks)
    told = contrasts(found)
    return Part(
        anchor=file_name(found.name),
        title=typeset(found.title),
        about=typeset(found.about),
        outcome=told.outcome if told else counted(figures, "figure") if figures else "",
        grid=grid(found, comparable),
        drawn=draw(found, left.out, whole, comparable)
        + [_picture(left, path, "") for path in found.pictures if _stem(path) == "transfer"],
        contrasts=told,
        floors=floors(found) if found.numbers else None,
        notes=_notes(found, left),
        curves=_curves(found, left),
        looks=[_look(left, look) for look in found.looks],
    )


def _notes(found: Finished, left: Left) -> list[str]:
    made = [said] if (said := chance.sentence(found)) else []
    if found.numbers:
        made += [_rising(found), *filter(None, [unbeaten(found)])]
    own = [one for one in found.caveats if one not in left.plan.store.caveats]
    return made + own


def _rising(found: Finished) -> str:
    if not found.curves:
        return (
            "No learning curves were drawn (--probe-every), so whether arms had finished rising "
            "is not known."
        )
    if not found.rising:
        return "No arm whose curve is long enough to tell was still rising when training ended."
    arms = "; ".join(SPARSE.sub(r"\1 × \1 px", one) for one in found.rising)
    return f"Still rising when training ended: {arms}. Train longer before comparing these."


def _curves(found: Finished, left: Left) -> list[Picture]:
    """Those that belong to numbers. Every share of the labels asks the same runs, so one is all."""
    if not found.numbers:
        return []
    paths = found.curves[:1] if found.name == "few-labels" else found.curves
    return [_picture(left, path, found.called(path.partition("/")[0])) for path in paths]


def _look(left: Left, look: Look) -> tuple[list[Picture], list[Section], list[str]]:
    encoders = f"Encoders of {seen(look.primary)}"
    if not look.figures:
        none = f"{encoders} have no figure; without feature maps, as transformers, there is none."
        return [], [], [none]
    shown = [_picture(left, path, encoders) for path in look.figures]
    if not any(_stem(path).startswith("cka") for path in look.figures):  # what the tables are of
        return shown, [], []
    return shown, list(look.sections), list(look.notes)


def _picture(left: Left, path: str, what: str) -> Picture:
    stem = _stem(path)
    lead = f"{what}. " if what else ""
    caption = CAPTIONS.get(stem, stem)
    return picture(left.out, path, lead + caption, lead + ALTS.get(stem, caption), broad=True)


def _stem(path: str) -> str:
    return PurePosixPath(path).stem
