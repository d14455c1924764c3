from refopt.spec.backend import Array, Backend, Slots

__all__ = ["Array", "Backend", "Slots"]
