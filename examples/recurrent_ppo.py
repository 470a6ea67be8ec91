"""RecurrentPPO of sb3-contrib with sparse LSTMs, on a task that takes memory.

A policy that remembers gets many short episodes in each sequence. sb3-contrib runs such a sequence
step by step, to set the state back between episodes; with ``resets`` it is one operation.
"""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from torch import Tensor

from sparse_engine.files import write_atomically
from sparse_engine.nn import SparseLSTM


class SparseLstmPolicy(RecurrentActorCriticPolicy):
    """The policy of RecurrentPPO with a :class:`SparseLSTM` for each ``torch.nn.LSTM``.

    Args:
        *arguments: those of :class:`RecurrentActorCriticPolicy`.
        density: fraction of the recurrent weights that exist.
        **options: those of :class:`RecurrentActorCriticPolicy`.
    """

    def __init__(self, *arguments: Any, density: float = 0.1, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name in ("lstm_actor", "lstm_critic"):
            dense = getattr(self, name)
            if dense is not None:
                sizes = dense.input_size, dense.hidden_size, dense.num_layers
                setattr(self, name, SparseLSTM(*sizes, density=density))
        rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer = self.optimizer_class(self.parameters(), lr=rate, **self.optimizer_kwargs)

    @staticmethod
    def _process_sequence(
        features: Tensor,
        lstm_states: tuple[Tensor, Tensor],
        episode_starts: Tensor,
        lstm: SparseLSTM,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run whole sequences, set back where episodes start."""
        sequences = lstm_states[0].shape[1]
        x = features.reshape(sequences, -1, lstm.input_size).transpose(0, 1)
        starts = episode_starts.reshape(sequences, -1).T
        y, lstm_states = lstm(x, lstm_states, resets=starts)
        return y.transpose(0, 1).flatten(0, 1), lstm_states


class Recall(gymnasium.Env):
    """Task of four steps: one of three cues is shown, and after a delay the action must name it."""

    cues, delay = 3, 3

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-3, 3, (self.cues + 1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(self.cues)

    def _observe(self) -> np.ndarray:
        seen = np.zeros(self.cues + 1, np.float32)
        seen[self.cue] = self.steps == 0
        seen[-1] = self.steps == self.delay
        return seen

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        """Begin an episode: show a cue."""
        super().reset(seed=seed)
        self.steps, self.cue = 0, int(self.np_random.integers(self.cues))
        return self._observe(), {}

    def step(self, action: int) -> tuple:
        """Take an action; the last one earns 1 if it names the cue."""
        ends = self.steps == self.delay
        reward = float(ends and action == self.cue)
        self.steps += 1
        return self._observe(), reward, ends, False, {}


def main(*, steps: int = 20_000, units: int = 64, json: Path | None = None) -> None:
    """Trains a policy with sparse LSTMs to recall a cue; without memory it earns 0.33.

    Args:
        steps: steps of training in all environments.
        units: number of units of each LSTM.
        json: write rewards to this file.
    """
    envs = make_vec_env(Recall, n_envs=8, seed=0)
    model = RecurrentPPO(
        SparseLstmPolicy,
        envs,
        n_steps=64,
        batch_size=256,
        n_epochs=5,
        gamma=0.95,
        learning_rate=3e-3,
        ent_coef=0.01,
        seed=0,
        policy_kwargs={"lstm_hidden_size": units, "density": 0.2, "net_arch": []},
    )
    before, _ = evaluate_policy(model, envs, n_eval_episodes=200)
    model.learn(steps)
    after, _ = evaluate_policy(model, envs, n_eval_episodes=200)
    lstm = model.policy.lstm_actor
    print(f"reward {before:.2f} -> {after:.2f} with {lstm.weight_hh_l0}")
    if json is not None:
        record = {"steps": steps, "first": float(before), "last": float(after)}
        json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json, (json_format.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks are small, and environments run between their calls
    tyro.cli(main, description=__doc__)
