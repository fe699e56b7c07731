"""Errors that a user can fix. Each message says what is wrong, where, and what to do.

The command line prints a `MoreFromLessError` as one sentence and exits with code 2. All other
exceptions are bugs and keep their traceback.
"""

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class MoreFromLessError(Exception):
    """Base class of errors that a user can fix; the message is always a single line."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class ConfigError(MoreFromLessError):
    """An option, a name or a combination of options that is invalid."""


class DataError(MoreFromLessError):
    """A source or a store that cannot be used."""


class UnreadablePatch(DataError):
    """One patch that cannot be used; it is rejected with this reason and the run continues."""


class TrainingError(MoreFromLessError):
    """A run that had to stop, because of a loss that is not finite, a checkpoint that does not fit
    ..."""


class WorkerError(MoreFromLessError):
    """A worker process that was killed; finished work is kept."""


class RunBusy(TrainingError):
    """A run that another process is training."""


def none_usable(count: int, reason: str, number: int, unit: str = "patch") -> DataError:
    """Error for when none of `count` patches (or slides) can be used, `number` of them for the most
    frequent reason.

    >>> str(none_usable(1, "grey image: convert to RGB", 1))
    "No patch can be used; the reason is 'grey image: convert to RGB'."
    """
    if count == 1:
        return DataError(f"No {unit} can be used; the reason is '{reason}'.")
    units = "patches" if unit == "patch" else f"{unit}s"
    return DataError(
        f"None of the {count:,} {units} can be used; the most frequent reason, for {number:,}, is "
        f"'{reason}'."
    )


@contextmanager
def raising_data_errors(message: str) -> Iterator[None]:
    """Raise `DataError(message)` for any error of a reader, which may raise any type on a damaged
    file."""
    try:
        yield
    except (MoreFromLessError, MemoryError):
        raise
    except Exception as error:
        raise DataError(message) from error


def near_names(
    name: str, candidates: Iterable[str], count: int = 1, cutoff: float = 0.6
) -> list[str]:
    """Return at most `count` known names similar to a mistyped one, nearest first, ignoring case.

    >>> near_names("FUL", ["downsample", "full"])
    ['full']
    """
    lower = {other.lower(): other for other in candidates}
    near = difflib.get_close_matches(name.lower(), lower, n=count, cutoff=cutoff)
    return [lower[other] for other in near]


def quoted(names: Iterable[str], joint: str = ", ") -> str:
    """Quote names of a user in a sentence; they may be numbers, or contain spaces and commas.

    If there are more than 12, only the first 10 are listed.

    >>> quoted(["6", "a, b"], " or ")
    "'6' or 'a, b'"
    >>> quoted(map(str, range(165)))[-23:]
    "'8', '9' and 155 others"
    """
    words = [f"'{name}'" for name in names]
    if len(words) > 12:
        return f"{joint.join(words[:10])} and {len(words) - 10} others"
    return joint.join(words)


def first_few(words: Iterable[object], count: int = 3, joint: str = ", ") -> str:
    """Join the first `count` words, and count the others.

    >>> first_few(range(5)), first_few(["a", "b"])
    ('0, 1, 2 and 2 more', 'a, b')
    """
    texts = [str(word) for word in words]
    more = f" and {len(texts) - count} more" if len(texts) > count else ""
    return joint.join(texts[:count]) + more


def first_line(problem: object) -> str:
    """Return the first line of an exception's message, or its type if the message is empty.

    >>> first_line(OSError("no route\\nto host")), first_line(ValueError())
    ('no route', 'ValueError')
    """
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]


def one_line(text: str) -> str:
    """Convert text of a file to one printable line.

    >>> one_line("two\\nlines\\x07")
    'two lines?'
    """
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def explain_os_error(error: OSError) -> str:
    """Return one sentence: what the system refused, where, and what to do.

    >>> explain_os_error(PermissionError(13, "Permission denied", "runs/a"))
    'runs/a: permission denied; change its permissions, or choose another place.'
    """
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{reason}; {_ADVICE.get(error.errno or 0, 'check that path, and run again')}."


_ADVICE = {
    errno.ENOSPC: "free some space or choose another place, and run again to resume",
    errno.EDQUOT: "free some space or choose another place, and run again to resume",
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
    errno.EROFS: "choose another place",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a file exists where a folder is needed; choose another place",
    errno.EEXIST: "a file exists where a folder is needed; choose another place",
    errno.EISDIR: "a folder exists where a file is needed; choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or give fewer --jobs and --workers",
}
