import numpy as np
import pytest

from numpyvision.boxes import levels


def square(side):
    return np.array([[3, 5, 3 + side, 5 + side]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("side, level", [(224, 4), (223, 3), (112, 3), (111, 2), (447, 4), (448, 5), (10000, 5), (1, 2), (0, 2), (-7, 2)])
def test_fpn_equation_1(dtype, side, level):
    out = levels.assign_levels(square(side).astype(dtype), 2, 5)
    assert out.tolist() == [level] and out.dtype == np.int64


def test_only_the_area_counts_and_constants_are_arguments():
    assert levels.assign_levels(np.array([[0, 0, 448, 112.0]]), 2, 5).tolist() == [4]
    assert levels.assign_levels(square(56.0), 2, 5, canonical_size=56, canonical_level=3).tolist() == [3]
    assert levels.assign_levels(np.zeros((0, 4)), 2, 5).tolist() == []


def test_complains():
    with pytest.raises(ValueError, match="NaN"):
        levels.assign_levels(square(np.nan), 2, 5)
    with pytest.raises(ValueError, match="min_level"):
        levels.assign_levels(square(9.0), 5, 2)
