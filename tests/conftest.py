"""What every test gets: the compiled mode restored afterwards, and data paths in one place."""
import os
import pathlib

import pytest

import numpyvision
from numpyvision import backend


@pytest.fixture(autouse=True)
def mode_restored():
    """`numpyvision.use(...)` in a test ends with the test."""
    before = backend.mode()
    yield
    numpyvision.use(before)


@pytest.fixture(params=["compiled", "numpy"])
def mode(request):
    """Run the test twice: with the compiled kernels, and with the readable bodies."""
    with numpyvision.use(request.param):
        yield request.param


@pytest.fixture(scope="session")
def data_folder():
    """Where the real data sets lie: NUMPYVISION_DATA, by default ../shared/data. A test that needs one is skipped where it is absent."""
    path = pathlib.Path(os.environ.get("NUMPYVISION_DATA", "../shared/data"))
    if not path.is_dir():
        pytest.skip(f"no data folder at {path}; set NUMPYVISION_DATA")
    return path
