"""Notes under a study's tables: data, protocol, and what the tables do not show."""

from collections.abc import Sequence
from dataclasses import replace

from morefromless.evaluation.intervals import PLURAL
from morefromless.evaluation.results import Results, Summary
from morefromless.report.words import count

TESTS = (
    "A difference's 95 % interval is Student's, over seeds and test {units}. p is the larger of "
    "two: that t test's, and an exact sign-flip test's of the same test patches; Holm-corrected "
    "for all contrasts of the study. Better or worse is said only where it is below 0.05; then the "
    "interval excludes zero. With one seed of either arm there is no verdict, and seeds are not in "
    "the interval: it holds for these encoders, not for the ways of training."
)

OWN_HEAD = "* answered by the encoder's own head; all others by a probe."

REFERENCES = (
    "References are published encoders and teachers, frozen, through the same probe. They were "
    "not trained as the arms were, so no arm is contrasted with them."
)


def notes(results: Results) -> list[str]:
    """What holds for all the tables: data, protocol, and what they do not show."""
    config, data = results.config, results.data
    train, seeds = config.train, config.run_seeds
    named = f"seeds {seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    lines = [
        f"{train.encoder} at {train.size} px, {', '.join(config.objectives)}, width "
        f"{config.pairing.width}, views {train.views}, {config.length} of batches of "
        f"{train.batch}, lr {train.lr:g}, {named}; {replace(config.probe, labels=1.0).name} probe."
    ]
    for task, classes in data.classes.items():
        numbers = (f"'{name}' {n:,} / {m:,}" for name, (n, m) in classes.items())
        lines.append(f"Task {task}, training / test patches: {', '.join(numbers)}.")
    if config.probe.labels < 1:
        lines.append(few_labels(results))
    lines.append(accuracy_note(config.seeds, results.summaries))
    if any(s.head for s in results.summaries):
        lines.append(
            "An encoder that learnt a task's labels answers that task with its own head (marked "
            "*), any other with a probe of the frozen encoder, as all others."
            if len(config.tasks) > 1
            else OWN_HEAD
        )
    if any(s.condition.reference for s in results.summaries):
        lines.append(REFERENCES)
    lines.append(TESTS.format(units=units(results.summaries)))
    lines += [*_untrained(results), *_curves(results), *floor_notes(results), *results.caveats]
    return lines


def units(summaries: Sequence[Summary]) -> str:
    """What is resampled, or is a case of the tests: `groups`."""
    return " or ".join(dict.fromkeys(PLURAL[s.accuracy.unit] for s in summaries))


def accuracy_note(seeds: int, summaries: Sequence[Summary]) -> str:
    """What accuracies and their intervals are."""
    numbers = {count(s.accuracy.units, s.accuracy.unit) for s in summaries}  # they may lack views
    resampled = numbers.pop() if len(numbers) == 1 else units(summaries)
    several = [s.accuracy.includes_seeds for s in summaries]
    if all(several):
        resampled += " and seeds"
    elif any(several):
        resampled += f" and seeds; of what has one seed, over {units(summaries)} alone"
    else:
        resampled += "; chance between seeds is not in it"
    mean = f"the mean of {seeds} seeds" if seeds > 1 else "of one seed"
    return (
        f"Accuracy on test patches in per cent, {mean}, in brackets the 95 % bootstrap interval "
        f"over {resampled}."
    )


def few_labels(results: Results) -> str:
    """Which share of the labels probes and floors learnt from."""
    note = (
        f"Probes and floors have {100 * results.config.probe.labels:g} % of the training labels, "
        "drawn within each class by the seed, one at least."
    )
    if any(s.head for s in results.summaries):
        note += (
            " Encoders that answer with their own head learnt from all labels, so a contrast with "
            "them is not one of equal labels."
        )
    return note


def floor_notes(results: Results) -> list[str]:
    """Where no arm is above the highest floor."""
    several = len(results.config.tasks) > 1
    return [
        f"No arm on {floor.modality}{f', task {floor.task}' if several else ''} is above the floor "
        f"{floor.floor} ({100 * floor.floor_accuracy:.1f} %); the best is {floor.arm} "
        f"({100 * floor.arm_accuracy:.1f} %). There, nothing shows that "
        "the encoders learnt anything useful."
        for floor in results.floors_not_exceeded
    ]


def _untrained(results: Results) -> list[str]:
    several = len(results.config.tasks) > 1
    idle = [
        f"{results.name(s.condition)} on {s.condition.modality}"
        f"{f', task {s.condition.task}' if several else ''} ({s.not_above})"
        for s in results.summaries
        if s.not_above
    ]
    if not idle:
        return []
    return [
        f"Not above a floor that needs no training, so not trained: {'; '.join(idle)}. Contrasts "
        "with them get no verdict."
    ]


def _curves(results: Results) -> list[str]:
    """Which arms had not finished rising, as far as that is known."""
    if results.curves.empty:
        return [
            "No learning curves were drawn (--probe-every), so whether the arms had finished "
            "rising is not known."
        ]
    arms = [s for s in results.summaries if s.condition.trained]
    rising, unknown = (
        "; ".join(
            dict.fromkeys(
                f"{results.name(s.condition)} on {s.condition.modality}"
                for s in arms
                if s.rising is rises
            )
        )
        for rises in (True, None)
    )
    lines = []
    if rising:
        lines.append(
            f"Still rising when training ended: {rising}. Train longer before comparing these."
        )
    if unknown:
        lines.append(
            "Not known to have finished rising, as learning curves have fewer than 8 points: "
            f"{unknown}. Give a lower --probe-every."
        )
    return lines or ["No arm's learning curve was still rising when training ended."]
