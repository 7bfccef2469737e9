"""How fast it is, measured on this machine: `numpyvision bench`. Operations, whole training steps, growth, the first run."""
