"""Models made of the layers."""

from jaxrnn.models.classifier import TextClassifier as TextClassifier
from jaxrnn.models.classifier import num_parameters as num_parameters
from jaxrnn.models.language_model import LanguageModel as LanguageModel
from jaxrnn.models.sampling import restrict as restrict
