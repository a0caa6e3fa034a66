"""What all tests share: one thread, GPU tests skipped where there is no GPU, tiny pipelines."""

import pytest
import torch

from tests.pipelines import FAMILIES, FIRST, RandomPipeline, random_pipeline_of

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu skip where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def random_flux() -> RandomPipeline:
    return random_pipeline_of("flux")


@pytest.fixture(scope="session")
def random_qwen() -> RandomPipeline:
    return random_pipeline_of("qwen_image")


@pytest.fixture(scope="session", params=FIRST)
def random_pipeline(request: pytest.FixtureRequest) -> RandomPipeline:
    """Each of the model families on which every method is tried, in turn."""
    return random_pipeline_of(request.param)


@pytest.fixture(scope="session", params=FAMILIES)
def any_pipeline(request: pytest.FixtureRequest) -> RandomPipeline:
    """Each model family in turn."""
    return random_pipeline_of(request.param)
