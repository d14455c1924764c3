"""Every refusal of refopt: one sentence that names the value, the allowed set and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr


class RefoptError(ValueError):
    """Something that was asked for cannot be done; the message says what to do instead."""


class Unsupported(RefoptError):
    """A backend, a subject or a file cannot do this here; the message gives the reason."""


class Broken(Unsupported):
    """A subject has crashed, hung or answered what is no answer: a defect of its own, where a refusal is not."""


def shown(value: object) -> str:
    """A value as it goes into a message: in one line, and short, even if it is a model's gradients."""
    brief = Repr()
    brief.maxstring = brief.maxother = 100
    return " ".join(brief.repr(value).split())


def given_twice(owner: str, name: str, alias: str) -> RefoptError:
    """`sgd: lr was given twice, once as 'learning_rate'; give it once`"""
    return RefoptError(f"{owner}: {name} was given twice, once as {alias!r}; give it once")


def unknown(owner: str, kind: str, value: object, allowed: Iterable[str], remedy: str = "") -> RefoptError:
    """`adam: unknown axis 'epsat'; choose from eps_at, bias. Did you mean 'eps_at'?`"""
    names = list(allowed)
    said = shown(value)
    near = get_close_matches(str(value), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    more = f" {remedy}" if remedy else ""
    return RefoptError(f"{owner}: unknown {kind} {said}; choose from {', '.join(names) or 'nothing'}.{hint}{more}")
