import pytest

from pldebias.training.device import float32_products


@pytest.fixture(autouse=True)
def exact_products():
    """A GPU multiplies as a CPU does; a test that wants less says so."""
    with float32_products("ieee"):
        yield
