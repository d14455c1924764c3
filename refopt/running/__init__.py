"""Running rules: the pure layer (`pure`), the optimizers after objax (`optimizers`, `average`), and saving."""
