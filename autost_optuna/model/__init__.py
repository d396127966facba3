"""The spiking transformer that AutoST searches: neuron, blocks, transformer. The one door to SpikingJelly."""
