"""Labels and groups from paths; classes merged, renamed or left out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from morefromless.data.labels import check_names, normal_name, parse_classes
from morefromless.errors import ConfigError, DataError
from morefromless.ingest.wrapping import Wrapper
from morefromless.sources import Datasheet, Item, Source


class Relabelled(Wrapper):
    """A source whose labels and groups are found in the patches' paths, and its classes changed.

    `label` and `group` are regular expressions with one capturing group, searched for in the path
    below the source. Patches in whose path `label` finds nothing are left out and counted; `group`
    must find one in all. Then `classes`, such as `MUS+STR=muscle`, makes one class of several, or
    renames one, and patches of the classes in `drop` are left out. Raises `ConfigError` for an
    expression that cannot work, `DataError` for a class that is not there.
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

    def passed_over(self) -> Mapping[str, int]:
        return {**self.inside.passed_over(), **self._listing[1]}

    def items(self) -> Sequence[Item]:
        return self._listing[0]

    @cached_property
    def _listing(self) -> tuple[list[Item], dict[str, int]]:
        """The patches that are taken, and those that are not: kind to number."""
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
                    f"--label {self.label.pattern} finds nothing in any of {len(matches)} paths, "
                    f"such as '{matches[0][0].origin}'; mend the expression."
                )
        check_names({item.label for item in items}, [*self.renamed, *self.drop])
        dropped = {name: sum(item.label == name for item in items) for name in self.drop}
        taken = [
            replace(item, label=self.renamed.get(item.label, item.label))
            for item in items
            if item.label not in dropped
        ]
        kinds = {f"patch of the class {name}": count for name, count in dropped.items()}
        if unmatched:
            kinds["patch in whose path --label finds nothing"] = unmatched
        return taken, kinds

    def _group(self, item: Item) -> str:
        assert self.group is not None
        match = self.group.search(item.origin)
        if match is None or not match[1]:
            raise DataError(
                f"--group {self.group.pattern} finds nothing in '{item.origin}'; mend the "
                "expression, or rename that file."
            )
        return match[1]


def _pattern(option: str, text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ConfigError(f"{option} {text} is not a regular expression ({error}).") from error
    if pattern.groups != 1:
        raise ConfigError(
            f"{option} {text} has {pattern.groups} capturing groups; put ( ) around the one part "
            r"of the path that is meant, as in (P\d+)."
        )
    return pattern
