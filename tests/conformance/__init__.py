"""Results of the reference implementations: one JSON file of cases and one NPZ file per group.

They hold only inputs and outputs. `cases("vicreg")` returns the cases of a group;
`Case.close(value, output)` compares a value with a stored output, with the stored tolerance.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent


@cache
def _arrays(group: str) -> Any:
    return np.load(HERE / f"{group}.npz", allow_pickle=False)


@dataclass(frozen=True)
class Case:
    """One case: parameters, inputs by name and outputs by name."""

    group: str
    entry: dict[str, Any]

    def __str__(self) -> str:
        return str(self.entry["id"])

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.entry["params"])

    @property
    def inputs(self) -> dict[str, npt.NDArray[Any]]:
        return {k: _arrays(self.group)[v["key"]] for k, v in self.entry["inputs"].items()}

    def names(self, *roles: str) -> list[str]:
        """Outputs whose role is one of `roles`; by default, all but `info`."""
        selected = roles or ("primary", "alternative", "crosscheck")
        return [k for k, v in self.entry["outputs"].items() if v["role"] in selected]

    def output(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(_arrays(self.group)[self.entry["outputs"][name]["key"]])

    def close(self, value: Any, name: str, precision: str = "f64") -> None:
        """Assert that `value` agrees with the stored output to its stated tolerance."""
        entry = self.entry["outputs"][name]
        value = np.asarray(value, dtype=np.float64)
        if "tol" in entry:
            rtol, atol = entry["tol"][precision]
            np.testing.assert_allclose(
                value, self.output(name), rtol=rtol, atol=atol, err_msg=f"{self} {name}"
            )
        else:  # uint8 images: a maximum difference that a share of values may exceed
            exceeds = np.abs(value - self.output(name).astype(np.float64)) > entry["max_abs"]
            assert exceeds.mean() <= entry.get("fraction_allowed_above", 0.0), f"{self} {name}"


def cases(group: str) -> list[Case]:
    entries = json.loads((HERE / f"{group}.json").read_text())["cases"]
    return [Case(group, entry) for entry in entries]
