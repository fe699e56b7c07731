"""Notes below a study's tables: data, protocol and limits."""

from collections.abc import Sequence
from dataclasses import replace

from morefromless.evaluation.intervals import PLURAL
from morefromless.evaluation.results import Results, Summary
from morefromless.report.words import count

TESTS = (
    "Differences have a 95 % Student t interval over seeds and test {units}. p is the larger of "
    "two p-values: of this t test, and of an exact sign-flip test on the same test patches. It is "
    "Holm-corrected for all contrasts of the study. The verdict is better or worse only if p is "
    "below 0.05; then the interval excludes zero. If either arm has one seed, there is no verdict, "
    "and the interval does not include seeds: it holds for these encoders, not for the ways of "
    "training."
)

OWN_HEAD = "* evaluated with the encoder's own head; all others with a probe."

REFERENCES = (
    "References are published encoders and teachers, frozen and evaluated with the same probe. "
    "They were not trained like the arms, so there is no contrast with them."
)


def notes(results: Results) -> list[str]:
    """The notes on all tables: data, protocol and limits."""
    config, data = results.config, results.data
    train, seeds = config.train, config.run_seeds
    seed_range = f"seeds {seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    lines = [
        f"{train.encoder} at {train.size} px, {', '.join(config.objectives)}, width "
        f"{config.pairing.width}, views {train.views}, {config.length} of batches of "
        f"{train.batch}, lr {train.lr:g}, {seed_range}; "
        f"{replace(config.probe, labels=1.0).name} probe."
    ]
    for task, classes in data.classes.items():
        numbers = (f"'{name}' {n:,} / {m:,}" for name, (n, m) in classes.items())
        lines.append(f"Task {task}, training / test patches: {', '.join(numbers)}.")
    if config.probe.labels < 1:
        lines.append(label_share_note(results))
    lines.append(accuracy_note(config.seeds, results.summaries))
    if any(s.head for s in results.summaries):
        lines.append(
            "An encoder trained on a task's labels is evaluated on that task with its own head "
            "(marked *), and on other tasks with a probe of the frozen encoder, like all others."
            if len(config.tasks) > 1
            else OWN_HEAD
        )
    if any(s.condition.reference for s in results.summaries):
        lines.append(REFERENCES)
    lines.append(TESTS.format(units=unit_names(results.summaries)))
    lines += [*_untrained(results), *_curves(results), *floor_notes(results), *results.caveats]
    return lines


def unit_names(summaries: Sequence[Summary]) -> str:
    """The plural of what the bootstrap resamples and the tests count, such as `groups`."""
    return " or ".join(dict.fromkeys(PLURAL[s.accuracy.unit] for s in summaries))


def accuracy_note(seeds: int, summaries: Sequence[Summary]) -> str:
    """Explain the accuracies and their intervals."""
    numbers = {count(s.accuracy.units, s.accuracy.unit) for s in summaries}  # some lack a view
    resampled = numbers.pop() if len(numbers) == 1 else unit_names(summaries)
    several = [s.accuracy.includes_seeds for s in summaries]
    if all(several):
        resampled += " and seeds"
    elif any(several):
        resampled += f" and seeds; with only one seed, over {unit_names(summaries)} alone"
    else:
        resampled += "; it does not include variation between seeds"
    mean = f"the mean of {seeds} seeds" if seeds > 1 else "for one seed"
    return (
        f"Accuracy on test patches in per cent, {mean}, with the 95 % bootstrap interval in "
        f"brackets, over {resampled}."
    )


def label_share_note(results: Results) -> str:
    """State the share of the labels that probes and floors were trained on."""
    note = (
        f"Probes and floors use {100 * results.config.probe.labels:g} % of the training labels, "
        "drawn by seed within each class, at least one per class."
    )
    if any(s.head for s in results.summaries):
        note += (
            " Encoders evaluated with their own head were trained on all labels, so contrasts with "
            "them do not compare equal numbers of labels."
        )
    return note


def floor_notes(results: Results) -> list[str]:
    """The modalities and tasks on which no arm is above the highest floor."""
    several = len(results.config.tasks) > 1
    return [
        f"No arm on {floor.modality}{f', task {floor.task}' if several else ''} is above the floor "
        f"{floor.floor} ({100 * floor.floor_accuracy:.1f} %); the best is {floor.arm} "
        f"({100 * floor.arm_accuracy:.1f} %). These results do not show that the encoders learnt "
        "anything useful."
        for floor in results.floors_not_exceeded
    ]


def _untrained(results: Results) -> list[str]:
    several = len(results.config.tasks) > 1
    untrained = [
        f"{results.name(s.condition)} on {s.condition.modality}"
        f"{f', task {s.condition.task}' if several else ''} ({s.not_above})"
        for s in results.summaries
        if s.not_above
    ]
    if not untrained:
        return []
    return [
        f"Not above a floor that needs no training, so they count as not trained: "
        f"{'; '.join(untrained)}. Contrasts with them have no verdict."
    ]


def _curves(results: Results) -> list[str]:
    """The arms whose learning curves were still rising, or for which this is not known."""
    if results.curves.empty:
        return [
            "No learning curves were recorded (--probe-every), so it is not known whether the "
            "arms were still rising when training ended."
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
            "Not known whether still rising, because the learning curves have fewer than 8 "
            f"points: {unknown}. Use a lower --probe-every."
        )
    return lines or ["No arm's learning curve was still rising when training ended."]
