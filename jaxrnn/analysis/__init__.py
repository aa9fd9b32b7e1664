"""Functions that measure a model's answers. They take and return NumPy arrays, and know no config and no files."""

from jaxrnn.analysis.accuracy import AccuracyBin as AccuracyBin
from jaxrnn.analysis.accuracy import accuracy_by_length as accuracy_by_length
from jaxrnn.analysis.accuracy import most_confident_mistakes as most_confident_mistakes
from jaxrnn.analysis.accuracy import wilson_interval as wilson_interval
from jaxrnn.analysis.attribution import Attribution as Attribution
from jaxrnn.analysis.attribution import integrated_gradients as integrated_gradients
from jaxrnn.analysis.calibration import Reliability as Reliability
from jaxrnn.analysis.calibration import brier_score as brier_score
from jaxrnn.analysis.calibration import reliability as reliability
from jaxrnn.analysis.confusion import ClassScores as ClassScores
from jaxrnn.analysis.confusion import class_scores as class_scores
from jaxrnn.analysis.confusion import confusion_matrix as confusion_matrix
