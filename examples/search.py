"""Search settings with Optuna: start it in as many terminals as you like, and end any at any time.

All processes share a file of trials, from which the same command goes on. Trials that are worse
than the median at an evaluation end early. A process that is killed loses its own trial alone.
"""

from __future__ import annotations

import json as json_format
from pathlib import Path

import optuna
import tyro
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState

from sparse_engine.files import write_atomically
from sparse_engine.lab.train import Config, Run

DONE = (TrialState.COMPLETE, TrialState.PRUNED)


def main(
    *,
    trials: int = 30,
    steps: int = 400,
    out: Path = Path("runs/search"),
    json: Path | None = None,
) -> None:
    """Look for the settings of SET with the best accuracy on small images.

    Args:
        trials: trials that end, of all processes together.
        steps: training steps of a trial.
        out: folder of the trials, and of the file that the processes share.
        json: write the best trial to this file.
    """

    def objective(trial: optuna.Trial) -> float:
        config = Config.published(
            "digits",
            method="set",
            steps=steps,
            evaluate_every=steps // 8,
            every=trial.suggest_categorical("every", [25, 50, 100]),
            fraction=trial.suggest_float("fraction", 0.05, 0.5),
            density=trial.suggest_float("density", 0.02, 0.3, log=True),
            learning_rate=trial.suggest_float("learning_rate", 1e-3, 3e-2, log=True),
        )

        def report(entry: dict) -> None:
            trial.report(entry["metric"], entry["step"])
            if trial.should_prune():
                raise optuna.TrialPruned

        run = Run(out / f"trial={trial.number}", config, observers=[report])
        return run.train(progress=False, pictures=False).best["metric"]

    out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="search",
        storage=JournalStorage(JournalFileBackend(str(out / "trials.log"))),
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=steps // 4),
        load_if_exists=True,
    )
    enough = MaxTrialsCallback(trials, states=DONE)
    if len(study.get_trials(states=DONE)) < trials:
        study.optimize(objective, callbacks=[enough])
    best = study.best_trial
    print(f"accuracy {best.value:.4f} with {best.params}")
    if json is not None:
        ended = [each.state.name for each in study.get_trials(states=DONE)]
        record = {"best": best.value, "settings": best.params, "states": ended}
        json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json, json_format.dumps(record).encode())


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
