"""Training: the step, the loop around it, devices, checkpoints, and the run's folder."""

from jaxrnn.training.adversarial import Perturbations as Perturbations
from jaxrnn.training.checkpoint import Checkpoints as Checkpoints
from jaxrnn.training.checkpoint import Position as Position
from jaxrnn.training.devices import Devices as Devices
from jaxrnn.training.ensemble import ensemble_of as ensemble_of
from jaxrnn.training.events import Events as Events
from jaxrnn.training.interrupt import Interrupted as Interrupted
from jaxrnn.training.loop import Trainer as Trainer
from jaxrnn.training.loop import fit as fit
from jaxrnn.training.loop import resume as resume
from jaxrnn.training.meter import Meter as Meter
from jaxrnn.training.meter import describe as describe
from jaxrnn.training.optimizer import Optimizer as Optimizer
from jaxrnn.training.optimizer import make_optimizer as make_optimizer
from jaxrnn.training.profile import Profile as Profile
from jaxrnn.training.progress import format_duration as format_duration
from jaxrnn.training.rehearsal import rehearse as rehearse
from jaxrnn.training.run_folder import RunFolder as RunFolder
from jaxrnn.training.step import Evaluation as Evaluation
from jaxrnn.training.step import Parameters as Parameters
from jaxrnn.training.step import TrainState as TrainState
from jaxrnn.training.step import make_evaluate as make_evaluate
from jaxrnn.training.step import make_train_step as make_train_step
from jaxrnn.training.step import split_model as split_model
