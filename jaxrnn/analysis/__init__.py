"""What a model's answers say: NumPy in and out, but for the gradients of attributions. No config, no files."""

from jaxrnn.analysis.accuracy import AccuracyBin as AccuracyBin
from jaxrnn.analysis.accuracy import accuracy_by_length as accuracy_by_length
from jaxrnn.analysis.accuracy import most_confident_mistakes as most_confident_mistakes
from jaxrnn.analysis.accuracy import wilson_interval as wilson_interval
from jaxrnn.analysis.attribution import Explanation as Explanation
from jaxrnn.analysis.attribution import Word as Word
from jaxrnn.analysis.attribution import integrated_gradients as integrated_gradients
from jaxrnn.analysis.calibration import Reliability as Reliability
from jaxrnn.analysis.calibration import brier_score as brier_score
from jaxrnn.analysis.calibration import reliability as reliability
from jaxrnn.analysis.confusion import ClassScores as ClassScores
from jaxrnn.analysis.confusion import class_scores as class_scores
from jaxrnn.analysis.confusion import confusion_matrix as confusion_matrix
