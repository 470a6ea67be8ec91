"""Training tasks: data set, model, loss and metric, each task in its own file."""

from sparse_engine.tasks.mackey_glass import MackeyGlass as MackeyGlass
from sparse_engine.tasks.task import RecurrentFactory as RecurrentFactory
from sparse_engine.tasks.task import Task as Task

#: The tasks that the command line knows, by name.
TASKS: dict[str, type[Task]] = {task.name: task for task in (MackeyGlass,)}
