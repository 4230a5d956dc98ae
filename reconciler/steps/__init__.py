"""The steps of the loop, one module each. `look` and `controller.py` string them together."""
