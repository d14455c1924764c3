"""Anybody's optimizer, adapted so that it can be driven. One kind of subject a file; `resolve` finds which."""
