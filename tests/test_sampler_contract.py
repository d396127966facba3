"""Optuna's own contract for samplers of third parties: its suites, run on ours."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

from autost_optuna.search.sampler import DeclaredNSGAIISampler

OTHERS = {"a": IntDistribution(0, 9), "b": CategoricalDistribution(("u", "v")), "c": FloatDistribution(0, 1, step=0.1)}


class TestParametersThatWereNotDeclared(BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase):
    @pytest.fixture
    def sampler(self):
        return lambda: DeclaredNSGAIISampler(OTHERS, seed=0)
