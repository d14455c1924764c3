"""What may import what, read from every import in the source; the length of files; no path of anybody's machine."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRAMEWORKS = {
    "torch",
    "jax",
    "jaxlib",
    "numba",
    "keras",
    "optax",
    "flax",
    "objax",
    "tensorflow",
    "safetensors",
    "pytest",
}
OURS = {"refopt", "refopt_jax", "refopt_torch", "refopt_conformance"}

# spec <- rules <- clocks <- engines <- selection <- {running, verifying, explaining} <- {translating, atlas} <- cli.
# A layer imports itself and those of lower numbers; layers of one number do not know each other.
LAYERS = {"spec": 0, "rules": 1, "clocks": 2, "engines": 3, "selection": 4, "files": 4}
LAYERS |= {
    "schedules": 5,
    "running": 5,
    "verifying": 5,
    "explaining": 5,
    "translating": 6,
    "atlas": 6,
    "cli": 7,
    "__main__": 8,
}
FACADE = "refopt/__init__.py"  # names everything, and imports a thing when it is first asked for

# (file, imported): why it may.
FRAMEWORKS_WHERE = {
    ("refopt/engines/numba_engine.py", "numba"): "the engine that numba is",
    ("refopt/engines/numba_runtime.py", "numba"): "what its kernels call",
    ("refopt/engines/numba_matrices.py", "numba"): "a kernel of its own",
    ("refopt/engines/numba_threads.py", "numba"): "whose setting says how many threads",
    ("refopt/running/saving.py", "safetensors"): "inside the function that reads and writes .safetensors",
    ("conformance/refopt_conformance/sharded/torch_worker.py", "torch"): "a program of its own, started for torch",
    ("conformance/refopt_conformance/sharded/jax_worker.py", "jax"): "a program of its own, started for jax",
}
# Frameworks that are imported by name, when a stranger's optimizer is driven: the folder, and which.
BY_NAME = {
    "refopt/verifying/drivers": {"torch", "jax", "optax", "keras", "tensorflow", "flax", "objax"},
    "refopt/translating": {"jax"},  # whose arrays a state is made of
    "conformance/refopt_conformance/accuracy": {"torch", "jax", "optax", "keras"},
}
# It also runs under another name, in interpreters without refopt: its imports are relative, and stay within it.
APART = "refopt/verifying/drivers"
# The command line starts the suite, which is a program of its own, and asks whether pytest is there.
CONFORM = {("refopt/cli/conforming.py", "refopt_conformance"), ("refopt/cli/conforming.py", "pytest")}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """("static" or "by name", module) of every import in a file: at its top, in functions, and for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (("static", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and name_of(path).startswith(APART) and node.level == 1:
            yield "static", f"{APART.replace('/', '.')}.{node.module}"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: imports name the package, so that they can be searched"
            assert node.module is not None
            yield "static", node.module
            # `from refopt import engines` imports a layer, not a name
            yield from (("static", f"{node.module}.{alias.name}") for alias in node.names if node.module in OURS)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "import_module":
            yield from (("by name", str(name.value)) for name in node.args[:1] if isinstance(name, ast.Constant))


def layer(module: str) -> str | None:
    """The layer of a module such as refopt.spec.errors."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "refopt" else None


@pytest.mark.parametrize("path", sources("refopt"), ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    if name_of(path) == FACADE:
        return
    own = path.relative_to(ROOT / "refopt").parts[0].removesuffix(".py").replace("__main__", "cli")
    for _, module in imports(path):
        other = layer(module)
        if other in LAYERS:
            assert other == own or LAYERS[other] < LAYERS[own], (
                f"{name_of(path)} imports {module}, which stands above it"
            )
        else:
            assert other is None or other == "", f"{name_of(path)} imports {module}, which is of no known layer"


def test_every_layer_is_known() -> None:
    found = {
        path.name.removesuffix(".py") for path in (ROOT / "refopt").iterdir() if path.suffix == ".py" or path.is_dir()
    }
    assert found - {"__init__", "__pycache__"} == set(LAYERS)


@pytest.mark.parametrize("path", sources("refopt", "conformance"), ids=name_of)
def test_frameworks_are_imported_only_where_it_is_allowed(path: Path) -> None:
    for how, module in imports(path):
        top, name = module.partition(".")[0], name_of(path)
        if top not in FRAMEWORKS or (name, top) in {*FRAMEWORKS_WHERE, *CONFORM}:
            continue
        if top == "pytest" and name.startswith("conformance/"):
            continue  # the suite is made of pytest's tests
        allowed = next((tops for folder, tops in BY_NAME.items() if name.startswith(folder)), set())
        assert how == "by name", f"{name} imports {module} statically"
        assert top in allowed, f"{name} imports {module}"


@pytest.mark.parametrize("package", ["refopt_jax", "refopt_torch"])
def test_ports_are_independent_of_the_reference(package: str) -> None:
    """A port sees what a backend is and how a rule is declared; never the rules' source, nor what runs it."""
    for path in sources(f"backends/{package}"):
        for _, module in imports(path):
            if module.partition(".")[0] in OURS:
                assert module.startswith((f"{package}.", "refopt.spec.")) or module == package, (
                    f"{name_of(path)}: {module}"
                )
                assert not module.startswith(("refopt.spec.program", "refopt.spec.functions", "refopt.spec.lines")), (
                    f"{name_of(path)} imports {module}, which is the reference's own arithmetic"
                )


@pytest.mark.parametrize("path", sources("refopt", "backends"), ids=name_of)
def test_nothing_imports_the_ports_or_the_suite(path: Path) -> None:
    for how, module in imports(path):
        top = module.partition(".")[0]
        if top in OURS - {"refopt"} and not name_of(path).startswith(f"backends/{top}/"):
            assert how == "by name", f"{name_of(path)} imports {module} statically"
            assert (name_of(path), top) in CONFORM, f"{name_of(path)} imports {module}"


def tracked() -> list[Path]:
    """The files that git knows, or would if they were added."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this is no git checkout, so there is no list of its files: {error}")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in tracked() if p.suffix == ".py"}
    assert not {name: length for name, length in lengths.items() if length > 300}


def test_no_file_names_a_place_on_a_machine() -> None:
    local = re.compile(r"(?<![\w./$}~-])/(?:home|root|Users|work|tmp|mnt|opt)/|\b[A-Z]:\\\\?Users")
    found = {}
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # an image, an archive
        if hits := [f"line {i}: {line[:80]}" for i, line in enumerate(lines, 1) if local.search(line)]:
            found[name_of(path)] = hits
    assert not found
