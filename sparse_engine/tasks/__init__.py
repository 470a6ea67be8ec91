"""Training tasks: data set, model, loss and metric, each task in its own file."""

from sparse_engine.tasks.files import DataFile as DataFile
from sparse_engine.tasks.mackey_glass import MackeyGlass as MackeyGlass
from sparse_engine.tasks.penn_treebank import PennTreebank as PennTreebank
from sparse_engine.tasks.supervised import Classification as Classification
from sparse_engine.tasks.supervised import Examples as Examples
from sparse_engine.tasks.supervised import Regression as Regression
from sparse_engine.tasks.supervised import Supervised as Supervised
from sparse_engine.tasks.supervised import split as split
from sparse_engine.tasks.task import Step as Step
from sparse_engine.tasks.task import Task as Task
from sparse_engine.tasks.task import seeded as seeded
from sparse_engine.tasks.wikitext_2 import WikiText2 as WikiText2
from sparse_engine.tasks.word_language import WordLanguage as WordLanguage

#: The tasks that the command line knows, by name.
TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        MackeyGlass,
        PennTreebank,
        WikiText2,
    )
}
