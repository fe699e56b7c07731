"""Batches that pass the branches in parts, and batches with missing views, which are trained on
every two views that a patch has."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from morefromless.branches import Branches
from morefromless.objectives import Loss, Objective

BatchAvailability = Mapping[str, Tensor]
"""Map of branch to (B,) bool: which patches have its view. Other branches have all views."""


def embed(
    branches: Branches, images: Mapping[str, Tensor], available: BatchAvailability
) -> dict[str, Tensor]:
    """Embeddings (B, width) by branch; rows without the view are zero and skip the network.

    Thus only existing views contribute to BatchNorm's statistics. If only one patch has the view,
    there is no variance, so its embedding is zero too.
    """
    embeddings = {}
    for name in branches.names:
        if name not in available:
            embeddings[name] = branches[name](images[name])[1]
            continue
        count, device = len(images[name]), images[name].device
        rows = available[name].nonzero()[:, 0].to(device)
        if len(rows) > 1:
            _, z = branches[name](images[name][rows])
            embeddings[name] = z.new_zeros(count, branches.width).index_copy(0, rows, z)
        else:
            embeddings[name] = torch.zeros(count, branches.width, device=device)
    return embeddings


def embed_in_parts(
    branches: Branches, images: Mapping[str, Tensor], parts: int, available: BatchAvailability
) -> dict[str, Tensor]:
    """Embeddings (B, width) by branch of a batch that passes the branches in `parts` parts.

    Holds the activations of one part at a time; the backward pass recomputes them. The objective
    gets all rows, so loss and gradients are those of the whole batch (exactly, without BatchNorm).
    """
    if parts == 1:
        return embed(branches, images, available)
    outputs = []
    for number in range(parts):
        part, has = (
            {name: rows.chunk(parts)[number] for name, rows in tensors.items()}
            for tensors in (images, available)
        )
        outputs.append(checkpoint(embed, branches, part, has, use_reentrant=False))
    return {
        name: torch.cat([embeddings[name] for embeddings in outputs]) for name in branches.names
    }


def pairwise_loss(
    objective: Objective, embeddings: Mapping[str, Tensor], available: BatchAvailability
) -> Loss:
    """Mean of the objective over pairs of branches, each on the patches that have both views.

    If no view is missing, this equals the objective of all branches, for objectives that average
    over pairs (the `authors` conventions sum). A pair of branches is skipped if fewer than two
    patches of the batch have both views.
    """
    all_patches = torch.ones(len(next(iter(embeddings.values()))), dtype=torch.bool)
    losses = []
    for a, b in combinations(embeddings, 2):
        both = (available.get(a, all_patches) & available.get(b, all_patches)).to(
            embeddings[a].device
        )
        if int(both.sum()) > 1:
            losses.append(objective([embeddings[a][both], embeddings[b][both]]))
    if not losses:
        return Loss(torch.stack([z.sum() for z in embeddings.values()]).sum() * 0, {})
    names = losses[0].terms
    return Loss(
        torch.stack([loss.total for loss in losses]).mean(),
        {name: torch.stack([loss.terms[name] for loss in losses]).mean() for name in names},
    )
