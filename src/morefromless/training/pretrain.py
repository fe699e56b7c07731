"""Self-supervised training of paired branches."""

import torch
from torch import Tensor

from morefromless import objectives
from morefromless.branches import Branches, check_encoder
from morefromless.data.store import Store
from morefromless.labelling import labelled
from morefromless.objectives import Objective
from morefromless.options import INCIDENTAL, PretrainOptions, lent_by
from morefromless.pairs import Pair
from morefromless.runs import Run
from morefromless.specs import build
from morefromless.training.curve import Curve
from morefromless.training.diagnostics import check_finite, effective_rank, spread
from morefromless.training.feed import Feed, Steps
from morefromless.training.gather import gather
from morefromless.training.loop import Learner, device_of, fit

LOG_EVERY = 10


def pretrain(options: PretrainOptions) -> Run:
    """Train the branches that `options` describe, going on where an earlier call was stopped.

    Raises `ConfigError` before anything is trained where the options cannot work, and
    `TrainingError` where the loss stops being finite.
    """
    store = Store.open(options.store)
    device = device_of(options)
    pair = Pair(options.modalities, options.views, options.size)
    objective = build(options.objective, objectives, Objective)
    pair.check(store)
    if options.probe_every:
        store = labelled(store, options.task)
    for channels in set(pair.channels.values()):
        check_encoder(options.encoder, options.size, channels)
    train = store.indices("train")
    steps = Steps(len(train), batch=options.batch, epochs=options.epochs, seed=options.seed)
    run = Run.begin("pretrain", options, store.hash, INCIDENTAL | {"task"})
    if run.done:
        return run
    torch.manual_seed(options.seed)
    branches = Branches(pair.names, options.sharing, options.encoder, options.width,
                        pair.channels, lent_by(options.arm))  # fmt: skip
    network = torch.nn.ModuleDict({"branches": branches, "objective": objective})

    def loss(
        images: dict[str, Tensor], labels: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        del labels
        embeddings = {name: gather(z) for name, (_, z) in branches(images).items()}
        result = objective(list(embeddings.values()))
        check_finite(result, step)
        logged = {f"term/{name}": value.detach() for name, value in result.terms.items()}
        if step % LOG_EVERY == LOG_EVERY - 1:
            for name, embedding in embeddings.items():
                logged[f"spread/{name}"] = spread(embedding)
                logged[f"effective_rank/{name}"] = effective_rank(embedding)
        return result.total, logged

    learner = Learner(network, Feed(store, train, pair, device), options, steps, loss)
    curve = Curve.of(
        {name: branches[name].encoder for name in pair.names if name != "twin"}, store, pair,
        run.path / "curve.csv", options.probe_every, steps.total,
    )  # fmt: skip
    fit(learner, run, curve, f"{options.arm}/{options.sharing} {options.primary} s{options.seed}")
    return run
