"""How many ULPs the frameworks' optimizers are off after 1, 10, 100 and 1000 steps, and refopt's ports beside them.

All start from the same parameters, take the same gradients (`courses`), and are measured against the float64 reference
under the conventions that they follow (`peers`). `python -m refopt_conformance.accuracy` runs them all (`measure`) and
writes the table (`page`).
"""
