"""A run of one seed, for tests that look at one."""

from tcmax.training.loop import Runs


class Run(Runs):
    """One seed by itself."""

    def __init__(self, spec, seed, dataset, device, held=None):
        super().__init__(spec, [seed], dataset, device, held)

    @property
    def state(self):
        return self.states[0]

    def train(self, after_epoch=None):
        return super().train(after_epoch)[0]
