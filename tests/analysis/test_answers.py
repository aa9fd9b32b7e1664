"""Confusion, calibration, accuracy: against values worked out by hand."""

import numpy as np
import pytest

from jaxrnn.analysis import (
    accuracy_by_length,
    brier_score,
    class_scores,
    confusion_matrix,
    most_confident_mistakes,
    reliability,
    wilson_interval,
)

LABELS = np.array([0, 0, 1, 1, 1, 2])
PREDICTIONS = np.array([0, 1, 1, 1, 0, 1])


def test_confusion_has_a_row_for_each_true_class():
    confusion = confusion_matrix(LABELS, PREDICTIONS, num_classes=4)
    np.testing.assert_array_equal(confusion, [[1, 1, 0, 0], [1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    scores = class_scores(confusion)
    np.testing.assert_allclose(scores.precision, [1 / 2, 2 / 4, 0, 0])
    np.testing.assert_allclose(scores.recall, [1 / 2, 2 / 3, 0, 0])
    np.testing.assert_allclose(scores.f1, [1 / 2, 4 / 7, 0, 0])
    np.testing.assert_array_equal(scores.num_examples, [2, 3, 1, 0])


CONFIDENCE = np.array([0.55, 0.6, 0.62, 0.9, 0.95, 1.0])
PROBABILITIES = np.stack([1 - CONFIDENCE, CONFIDENCE], 1)  # every answer is class 1
TRUTH = np.array([1, 0, 1, 1, 0, 1])


def test_bins_of_equal_width_end_at_their_right_edge():
    found = reliability(PROBABILITIES, TRUTH, num_bins=5)  # 0.6 is in (0.4, 0.6], 0.62 in (0.6, 0.8]
    np.testing.assert_array_equal(found.num_examples, [2, 1, 3])
    np.testing.assert_allclose(found.confidence, [0.575, 0.62, 0.95])
    np.testing.assert_allclose(found.accuracy, [0.5, 1, 2 / 3])
    by_hand = (2 * 0.075 + 1 * 0.38 + 3 * (0.95 - 2 / 3)) / 6
    assert found.expected_calibration_error == pytest.approx(by_hand)


def test_bins_of_equal_mass_have_as_many_each():
    found = reliability(PROBABILITIES[::-1], TRUTH[::-1], num_bins=3, binning="equal mass")
    np.testing.assert_array_equal(found.num_examples, [2, 2, 2])
    np.testing.assert_allclose(found.confidence, [0.575, 0.76, 0.975])
    np.testing.assert_allclose(found.accuracy, [0.5, 1, 0.5])
    assert found.expected_calibration_error == pytest.approx((0.075 + 0.24 + 0.475) / 3)
    assert len(reliability(PROBABILITIES[:2], TRUTH[:2], binning="equal mass").num_examples) == 2


def test_brier_score():
    by_hand = np.mean([2 * 0.45**2, 2 * 0.6**2, 2 * 0.38**2, 2 * 0.1**2, 2 * 0.95**2, 0])
    assert brier_score(PROBABILITIES, TRUTH) == pytest.approx(by_hand)


def test_wilson_interval():
    low, high = wilson_interval(0, 10)
    assert (low, high) == (pytest.approx(0, abs=1e-12), pytest.approx(3.8415 / 13.8415, rel=1e-4))
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # Agresti & Coull's example


def test_accuracy_by_length_keeps_equal_lengths_together():
    lengths = np.array([9, 1, 5, 5, 5, 7, 2, 8])
    right = np.array([1, 1, 0, 1, 0, 1, 0, 1], bool)
    found = [tuple(each) for each in accuracy_by_length(lengths, right, num_bins=4)]
    assert found == [(1, 2, 1, 2), (5, 5, 1, 3), (7, 7, 1, 1), (8, 9, 2, 2)]


def test_the_most_confident_mistakes_come_first():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.01, 0.99]])
    labels = np.array([1, 0, 1, 1])
    assert most_confident_mistakes(probabilities, labels, count=2).tolist() == [0, 1]
    assert most_confident_mistakes(probabilities, labels, count=9).tolist() == [0, 1, 2]
