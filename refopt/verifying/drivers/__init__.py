"""How the optimizers of frameworks are driven: one file a framework.

Nothing here imports refopt. These files need the standard library, NumPy and the framework that they drive, so that
they also run in another interpreter, where no refopt is installed (`serve.py`). Their imports are relative: there, the
package has another name.
"""
