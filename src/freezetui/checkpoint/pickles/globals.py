"""The globals that a pickle names: which are of no consequence, and which are known from attacks."""

from __future__ import annotations

_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg", "commands": "subprocess"}

#: What plain data is made of.
_CONTAINERS = frozenset(
    f"{module}.{name}"
    for module, names in {
        "builtins": "set frozenset dict list tuple int float complex str bytes bytearray bool slice range",
        "collections": "OrderedDict defaultdict Counter deque",
        "_codecs": "encode",
        "copyreg": "_reconstructor",
        "numpy": "dtype ndarray",
        "numpy.core.multiarray": "_reconstruct scalar",
        "numpy._core.multiarray": "_reconstruct scalar",
        "numpy.core.numeric": "_frombuffer",
        "numpy._core.numeric": "_frombuffer",
    }.items()
    for name in names.split()
)

#: Modules of which whatever a pickle calls runs code, reaches files or the network, or leads to what does.
_BAD_MODULES = frozenset(
    name
    for line in (
        "os posix nt ntpath posixpath subprocess _posixsubprocess pty popen2 platform shutil",
        "tempfile glob sys importlib imp runpy pkgutil zipimport code codeop types inspect marshal",
        "pickle _pickle cloudpickle dill joblib shelve ctypes _ctypes cffi mmap socket _socket",
        "socketserver ssl http urllib urllib2 httplib ftplib telnetlib smtplib asyncio",
        "multiprocessing threading _thread signal webbrowser antigravity pip setuptools distutils",
        "ensurepip venv bdb pdb cProfile profile trace timeit doctest idlelib lib2to3 test operator",
        "_operator functools _functools uuid requests aiohttp paramiko fabric IPython",
    )
    for name in line.split()
)
#: Single names of modules that hold harmless ones too.
_BAD_NAMES = frozenset(
    f"{module}.{name}"
    for module, names in {
        "builtins": "eval exec execfile compile __import__ getattr setattr delattr open file input globals"
        " locals vars apply breakpoint memoryview map filter reduce",
        "io": "open FileIO open_code",
        "_io": "open FileIO open_code",
        "copyreg": "add_extension",
        "logging.config": "listen fileConfig dictConfig",
        "numpy": "load save fromfile memmap genfromtxt loadtxt",
        "numpy.core.memmap": "memmap",
        "numpy.f2py.crackfortran": "getlincoef _eval_length",
        "numpy.testing._private.utils": "runstring",
        "numpy.testing": "runstring",
        "pandas": "eval read_pickle",
        "pandas.io.pickle": "read_pickle",
        "torch": "load save compile",
        "torch.serialization": "load save",
        "torch.hub": "load load_state_dict_from_url download_url_to_file",
        "torch.jit": "load",
        "torch._dynamo.guards": "GuardBuilder.get",
        "torch._inductor.codecache": "compile_file",
        "torch.fx.experimental.symbolic_shapes": "ShapeEnv.evaluate_guards_expression",
        "torch.jit.unsupported_tensor_ops": "execWithPrefix",
        "torch.utils._config_module": "ConfigModule.load_config",
        "torch.utils.bottleneck.__main__": "run_cprofile run_autograd_prof",
        "torch.utils.collect_env": "run run_and_read_all run_and_parse_first_match",
        "torch.utils.cpp_extension": "load load_inline",
        "torch.utils.data.datapipes.utils.decoder": "basichandlers",
        "transformers": "pipeline AutoModel.from_pretrained",
    }.items()
    for name in names.split()
)


def is_foreign(module: str, name: str) -> bool:
    """Whether torch.load would import code for it that neither torch itself nor plain data needs."""
    if module.partition(".")[0] in ("torch", "__torch__"):
        return is_dangerous(f"{module}.{name}")
    return f"{_modern(module)}.{name}" not in _CONTAINERS


def is_dangerous(qualified: str) -> bool:
    """Whether a global, "module.name", is known to run code or to reach files and the network."""
    module, _, rest = qualified.partition(".")
    qualified = f"{_modern(module)}.{rest}"
    return qualified.partition(".")[0] in _BAD_MODULES or any(
        qualified == bad or qualified.startswith(f"{bad}.") for bad in _BAD_NAMES
    )


def marked(foreign: tuple[str, ...]) -> list[str]:
    """The globals for people, the known-bad ones first and marked."""
    bad = [f"{name} (DANGEROUS)" for name in foreign if is_dangerous(name)]
    return bad + [name for name in foreign if not is_dangerous(name)]


def danger(foreign: tuple[str, ...]) -> str:
    """The warning about known-bad globals; "" where there are none."""
    bad = [name for name in foreign if is_dangerous(name)]
    if not bad:
        return ""
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    return (
        f"this file would import {', '.join(bad[:5])}{more} when loaded with torch.load: "
        "do not load it unless you know why; freezetui runs nothing of it"
    )


def _modern(module: str) -> str:
    first, dot, rest = module.partition(".")
    return _PYTHON_2.get(first, first) + dot + rest
