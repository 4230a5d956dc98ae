"""The steps of the loop, one module each. `controller.py` strings them together."""
