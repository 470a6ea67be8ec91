"""Base classes of tasks whose examples are vectors of features, with feed-forward models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_engine.lab.networks import MLPNetwork, Network, RBMNetwork
from sparse_engine.lab.tasks.supervised import Classification, Examples, Regression, Supervised
from sparse_engine.lab.tasks.task import Step, seeded
from sparse_engine.models import SparseMLP, SparseRBM

#: Settings that all published runs of SET on features have.
SET_RECIPE: Mapping[str, Any] = {
    "optimizer": "SGD",
    "scheduler": "constant",
    "clip_value": None,
    "fraction": 0.3,
    "learning_rate": 0.01,
}


@dataclass(frozen=True)
class Features(Supervised):
    """Supervised task whose examples are vectors of features."""

    sequences = False

    def count_features(self) -> int:
        """Read the data, and return the number of features of an example."""
        return self.examples["train"].inputs.shape[1]


@dataclass(frozen=True)
class FeatureClassification(Features, Classification):
    """Task of naming the class of a vector of features, by a multilayer perceptron."""

    network: ClassVar[type[Network]] = MLPNetwork

    @property
    @abstractmethod
    def answers(self) -> int:
        """The number of classes."""

    def build(self, network: MLPNetwork, *, generator: torch.Generator) -> SparseMLP:
        """Read the data, and make a multilayer perceptron with an output for each class."""
        return network.mlp(self.count_features(), self.answers, generator=generator)


@dataclass(frozen=True)
class Reconstruction(Features, Regression):
    """Task of reconstructing vectors of features in [0, 1] by a restricted Boltzmann machine.

    Training descends contrastive divergence. The metric is the mean squared error between features
    and their reconstruction, :meth:`sparse_engine.models.SparseRBM.reconstruct`. Evaluations also
    give ``sampled_mse``, that of a reconstruction from hidden states that are drawn.
    """

    chain: int = 1
    """Steps of the Markov chain in contrastive divergence."""

    network: ClassVar[type[Network]] = RBMNetwork

    def build(self, network: RBMNetwork, *, generator: torch.Generator) -> SparseRBM:
        """Read the data, and make a machine with a visible unit for each feature."""
        return network.rbm(self.count_features(), generator=generator)

    def loss(self, model: nn.Module, step: Step) -> Tensor:
        """Return the loss of contrastive divergence on the step's batch."""
        assert isinstance(model, SparseRBM)
        v = self.batch(step).inputs
        return model.contrastive_divergence(v, self.chain, generator=step.generator())

    @torch.no_grad()
    def evaluate(self, model: nn.Module, split: str = "validation") -> dict[str, float]:
        """Return the mean squared errors over the examples of a split."""
        assert isinstance(model, SparseRBM)
        v = self.examples[split].inputs
        sampled = nn.functional.mse_loss(model.gibbs(v, generator=seeded(0)), v).item()
        return super().evaluate(model, split) | {"sampled_mse": sampled}


def standardized(splits: Mapping[str, Examples]) -> dict[str, Examples]:
    """Return splits whose features have mean 0 and deviation 1 in the training examples.

    Of each feature the training mean is subtracted, then it is divided by the training deviation
    plus 1e-4, as in the code of SET; so a constant feature becomes 0.
    """
    train = splits["train"].inputs
    mean, std = train.mean(0), train.std(0, correction=0) + 1e-4
    return {name: replace(part, inputs=(part.inputs - mean) / std) for name, part in splits.items()}
