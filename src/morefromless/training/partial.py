"""Batches that go through the branches in parts, or in which some patches lack a view: every two
views that a patch has are trained."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from morefromless.branches import Branches
from morefromless.objectives import Loss, Objective

Mask = Mapping[str, Tensor]
"""Branch to (B,) bool: which patches have its view. Branches that are not in it have all."""


def embedded(branches: Branches, images: Mapping[str, Tensor], present: Mask) -> dict[str, Tensor]:
    """Embeddings (B, width) by branch; rows that lack the view are zero, and are run by nobody.

    So BatchNorm's statistics are of views that exist. One row alone has none, and is left out.
    """
    embeddings = {}
    for name in branches.names:
        if name not in present:
            embeddings[name] = branches[name](images[name])[1]
            continue
        count, device = len(images[name]), images[name].device
        rows = present[name].nonzero()[:, 0].to(device)
        if len(rows) > 1:
            _, z = branches[name](images[name][rows])
            embeddings[name] = z.new_zeros(count, branches.width).index_copy(0, rows, z)
        else:
            embeddings[name] = torch.zeros(count, branches.width, device=device)
    return embeddings


def in_parts(
    branches: Branches, images: Mapping[str, Tensor], parts: int, present: Mask
) -> dict[str, Tensor]:
    """Embeddings of a batch that goes through the branches in equal parts, by branch.

    Activations of one part at a time are held: the backward pass computes each anew. The objective
    sees all rows, so its loss and gradients are the whole batch's (where there is no BatchNorm,
    exactly so).
    """
    if parts == 1:
        return embedded(branches, images, present)
    outputs = []
    for number in range(parts):
        part, has = (
            {name: rows.chunk(parts)[number] for name, rows in whole.items()}
            for whole in (images, present)
        )
        outputs.append(checkpoint(embedded, branches, part, has, use_reentrant=False))
    return {
        name: torch.cat([embeddings[name] for embeddings in outputs]) for name in branches.names
    }


def pairwise_loss(objective: Objective, embeddings: Mapping[str, Tensor], present: Mask) -> Loss:
    """The mean, over every two branches, of the objective of the patches that have both views.

    Where no view is missing this is what objectives that take the mean over pairs say themselves
    (all but the `authors` conventions, which sum). Two branches that fewer than two patches of the
    batch have in common are left out of the mean.
    """
    everything = torch.ones(len(next(iter(embeddings.values()))), dtype=torch.bool)
    losses = []
    for a, b in combinations(embeddings, 2):
        both = (present.get(a, everything) & present.get(b, everything)).to(embeddings[a].device)
        if int(both.sum()) > 1:
            losses.append(objective([embeddings[a][both], embeddings[b][both]]))
    if not losses:
        return Loss(torch.stack([z.sum() for z in embeddings.values()]).sum() * 0, {})
    names = losses[0].terms
    return Loss(
        torch.stack([loss.total for loss in losses]).mean(),
        {name: torch.stack([loss.terms[name] for loss in losses]).mean() for name in names},
    )
