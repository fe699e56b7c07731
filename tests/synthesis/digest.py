"""SHA-256 of a small set of drawn patches; prints it if run as a program."""

import hashlib

from morefromless.sources.synthetic import Synthetic
from morefromless.synthesis import DRAWINGS, Patient, Rng, draw


def digest() -> str:
    """Every class, three sizes, both controls: images, instances and types."""
    sha256 = hashlib.sha256()
    for number, name in enumerate(DRAWINGS):
        for size in (16, 64, 150):
            patient = Patient.sample(Rng(11, 0, number))
            tissue = draw(name, patient, Rng(11, 1, number), size)
            sha256.update(tissue.image.tobytes())
            sha256.update(tissue.instances.astype("<u2").tobytes() + tissue.types.tobytes())
    for control in ("positive", "negative"):
        source = Synthetic(patches=8, patients=4, size=32, seed=7, control=control)
        for item in source.items():
            for name, image in sorted(source.read(item).items()):
                sha256.update(f"{item.id} {item.label} {name}".encode() + image.tobytes())
    return sha256.hexdigest()


if __name__ == "__main__":
    print(digest())
