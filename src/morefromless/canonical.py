"""Normalise options, so that two spellings of the same options give one run."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from morefromless import modalities, objectives, probes, views
from morefromless.config import RunConfig, StudyConfig, from_flat, to_flat
from morefromless.encoders import normalise_encoder
from morefromless.modalities import Modality
from morefromless.objectives import Objective
from morefromless.probes import ProbeMethod
from morefromless.specs import normalise
from morefromless.tasks import normalise_task
from morefromless.views import Views

Config = TypeVar("Config", RunConfig, StudyConfig)


def canonical(config: Config) -> Config:
    """Return the config with every specification in its normal form.

    Raises `ConfigError` for an unknown name, or if two values of a list mean the same
    (`downsample:7` and `downsample:size=7`), which would count one run several times.

    >>> from pathlib import Path
    >>> study = StudyConfig(store=Path("a"), primary=("downsample:size=7,interpolation=area",))
    >>> canonical(study).primary
    ('downsample:7',)
    """
    flat = to_flat(config)
    for option, form in _FORMS.items():
        value = flat.get(option)
        if isinstance(value, list):
            flat[option] = [form(spec) for spec in value]
        elif value is not None:
            flat[option] = form(value)
    return from_flat(type(config), flat)


_modality = partial(normalise, package=modalities, contract=Modality)
_objective = partial(normalise, package=objectives, contract=Objective)
_FORMS: dict[str, Callable[[str], str]] = {
    "primary": _modality,
    "privileged": _modality,
    "objective": _objective,
    "objectives": _objective,
    "distillation": _objective,
    "task": normalise_task,
    "tasks": normalise_task,
    "views": partial(normalise, package=views, contract=Views),
    "encoder": normalise_encoder,
    "privileged_encoder": normalise_encoder,
    "teacher": normalise_encoder,
    "references": normalise_encoder,
    "probe": partial(normalise, package=probes, contract=ProbeMethod),
}
