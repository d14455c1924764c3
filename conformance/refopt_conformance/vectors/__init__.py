"""Vectors: the rules' steps as JSON files that need no Python to read, and what each of them catches.

`python -m refopt_conformance.vectors --write conformance/vectors` makes the files anew (`document`), `--archive out`
packs them for a release (`archive`). conformance/vectors/README.md says what is in them.
"""
