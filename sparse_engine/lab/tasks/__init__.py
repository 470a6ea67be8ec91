"""Training tasks: data set, model, loss and metric, each task in its own file."""

from sparse_engine.lab.tasks.cifar_10 import CIFAR10 as CIFAR10
from sparse_engine.lab.tasks.feature_selection import COIL20 as COIL20
from sparse_engine.lab.tasks.feature_selection import COIL20RBM as COIL20RBM
from sparse_engine.lab.tasks.feature_selection import Lung as Lung
from sparse_engine.lab.tasks.feature_selection import Madelon as Madelon
from sparse_engine.lab.tasks.features import FeatureClassification as FeatureClassification
from sparse_engine.lab.tasks.features import Reconstruction as Reconstruction
from sparse_engine.lab.tasks.files import DataFile as DataFile
from sparse_engine.lab.tasks.generated import Adding as Adding
from sparse_engine.lab.tasks.generated import CopyMemory as CopyMemory
from sparse_engine.lab.tasks.generated import DelayedMatch as DelayedMatch
from sparse_engine.lab.tasks.mackey_glass import MackeyGlass as MackeyGlass
from sparse_engine.lab.tasks.mackey_glass import MackeyGlassContinuation as MackeyGlassContinuation
from sparse_engine.lab.tasks.mnist import MNIST as MNIST
from sparse_engine.lab.tasks.mnist import MNISTMLP as MNISTMLP
from sparse_engine.lab.tasks.mnist import FashionMNIST as FashionMNIST
from sparse_engine.lab.tasks.next_value import NextValue as NextValue
from sparse_engine.lab.tasks.sequences import Generated as Generated
from sparse_engine.lab.tasks.sequences import Sequences as Sequences
from sparse_engine.lab.tasks.shipped import Digits as Digits
from sparse_engine.lab.tasks.shipped import JapaneseVowels as JapaneseVowels
from sparse_engine.lab.tasks.shipped import Laser as Laser
from sparse_engine.lab.tasks.sms import SMS as SMS
from sparse_engine.lab.tasks.supervised import Classification as Classification
from sparse_engine.lab.tasks.supervised import Examples as Examples
from sparse_engine.lab.tasks.supervised import Regression as Regression
from sparse_engine.lab.tasks.supervised import Supervised as Supervised
from sparse_engine.lab.tasks.supervised import split as split
from sparse_engine.lab.tasks.task import Step as Step
from sparse_engine.lab.tasks.task import Task as Task
from sparse_engine.lab.tasks.task import check_shares as check_shares
from sparse_engine.lab.tasks.task import seeded as seeded
from sparse_engine.lab.tasks.windows import Gesture as Gesture
from sparse_engine.lab.tasks.windows import Person as Person
from sparse_engine.lab.tasks.word_language import PennTreebank as PennTreebank
from sparse_engine.lab.tasks.word_language import WikiText2 as WikiText2
from sparse_engine.lab.tasks.word_language import WordLanguage as WordLanguage

_TYPES: list[type[Task]] = [each for each in [*globals().values()] if isinstance(each, type)]
_NAMED = [each for each in _TYPES if issubclass(each, Task) and "name" in vars(each)]
#: The tasks that the command line knows, by name: every task above that has one.
TASKS: dict[str, type[Task]] = {task.name: task for task in sorted(_NAMED, key=lambda t: t.name)}
