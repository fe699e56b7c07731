"""Read labels and groups from paths, and merge, rename or drop classes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from morefromless.data.labels import check_class_names, normal_name, parse_classes
from morefromless.errors import ConfigError, DataError
from morefromless.ingest.wrapping import Wrapper
from morefromless.sources import Datasheet, Item, Source


class Relabelled(Wrapper):
    """A source with labels and groups read from the paths of patches, and with changed classes.

    `label` and `group` are regular expressions with one capturing group. They are searched in the
    path below the source. Patches whose path does not match `label` are excluded and counted; every
    path must match `group`. After that, `classes`, such as `MUS+STR=muscle`, merges or renames
    classes, and patches of the classes in `drop` are excluded. Raises `ConfigError` for an invalid
    expression, and `DataError` for an unknown class or a path that does not match `group`.
    """

    def __init__(
        self,
        inside: Source,
        label: str | None = None,
        group: str | None = None,
        classes: Sequence[str] = (),
        drop: Sequence[str] = (),
    ) -> None:
        super().__init__(inside)
        self.label = None if label is None else _pattern("--label", label)
        self.group = None if group is None else _pattern("--group", group)
        self.renamed = parse_classes(classes)
        self.drop = [normal_name(name) for name in drop]

    def datasheet(self) -> Datasheet:
        sheet = self.inside.datasheet()
        renamed: dict[str, str] = {}
        for name, words in sheet.classes.items():
            renamed.setdefault(self.renamed.get(name, name), "" if name in self.renamed else words)
        return replace(sheet, classes=renamed)

    def skipped_files(self) -> Mapping[str, int]:
        return {**self.inside.skipped_files(), **self._listing[1]}

    def items(self) -> Sequence[Item]:
        return self._listing[0]

    @cached_property
    def _listing(self) -> tuple[list[Item], dict[str, int]]:
        """The accepted patches, and the excluded ones as kind -> count."""
        items = list(self.inside.items())
        if self.group is not None:
            items = [replace(item, group=self._group(item)) for item in items]
        unmatched = 0
        if self.label is not None:
            matches = [(item, self.label.search(item.origin)) for item in items]
            items = [replace(item, label=match[1]) for item, match in matches if match and match[1]]
            unmatched = len(matches) - len(items)
            if not items:
                raise DataError(
                    f"--label {self.label.pattern} does not match any of {len(matches)} paths, "
                    f"such as '{matches[0][0].origin}'; correct the expression."
                )
        check_class_names({item.label for item in items}, [*self.renamed, *self.drop])
        dropped = {name: sum(item.label == name for item in items) for name in self.drop}
        taken = [
            replace(item, label=self.renamed.get(item.label, item.label))
            for item in items
            if item.label not in dropped
        ]
        kinds = {f"patch of the class {name}": count for name, count in dropped.items()}
        if unmatched:
            kinds["patch with a path that --label does not match"] = unmatched
        return taken, kinds

    def _group(self, item: Item) -> str:
        assert self.group is not None
        match = self.group.search(item.origin)
        if match is None or not match[1]:
            raise DataError(
                f"--group {self.group.pattern} does not match '{item.origin}'; correct the "
                "expression, or rename that file."
            )
        return match[1]


def _pattern(option: str, text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ConfigError(
            f"{option} {text} is not a valid regular expression ({error}); correct it."
        ) from error
    if pattern.groups != 1:
        raise ConfigError(
            f"{option} {text} has {pattern.groups} capturing groups; it needs one: put ( ) around "
            r"the part of the path to use, as in (P\d+)."
        )
    return pattern
