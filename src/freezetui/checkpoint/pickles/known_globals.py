"""Hand-written lists of globals: what trainers write beside the weights, and what attacks use.

Format: a module, a colon and names in it; a line that starts with spaces continues the names.
"""

from __future__ import annotations

from collections.abc import Iterator

#: Globals of plain data, and of what trainers write beside the weights.
DATA = """\
builtins: set frozenset dict list tuple int float complex str bytes bytearray bool slice range object
    NoneType
collections: OrderedDict defaultdict Counter deque
_codecs: encode
copyreg: _reconstructor __newobj__ __newobj_ex__
argparse: Namespace
array: array _array_reconstructor
datetime: date datetime time timedelta timezone
decimal: Decimal
fractions: Fraction
pathlib: Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath
pathlib._local: Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath
types: SimpleNamespace
typing: Any
uuid: UUID SafeUUID
numpy: dtype ndarray bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64
    complex64 complex128 str_ bytes_ intc longlong
numpy.core.multiarray: _reconstruct scalar
numpy._core.multiarray: _reconstruct scalar
numpy.core.numeric: _frombuffer
numpy._core.numeric: _frombuffer
numpy.dtypes: BoolDType Int8DType Int16DType Int32DType Int64DType UInt8DType UInt16DType UInt32DType
    UInt64DType Float16DType Float32DType Float64DType Complex64DType Complex128DType StrDType BytesDType
numpy.random._pickle: __randomstate_ctor __generator_ctor __bit_generator_ctor
numpy.random._mt19937: MT19937
numpy.random._pcg64: PCG64
omegaconf.base: ContainerMetadata Metadata
omegaconf.dictconfig: DictConfig
omegaconf.listconfig: ListConfig
omegaconf.nodes: AnyNode BooleanNode BytesNode FloatNode IntegerNode StringNode
easydict: EasyDict
yacs.config: CfgNode
pytorch_lightning.utilities.parsing: AttributeDict
lightning.pytorch.utilities.parsing: AttributeDict
lightning.fabric.utilities.data: AttributeDict
lightning_fabric.utilities.data: AttributeDict
"""

#: Modules in which anything a pickle calls runs code, accesses files or the network, or leads to what does.
BAD_MODULES = """\
IPython _aix_support _ctypes _frozen_importlib _frozen_importlib_external _functools _imp _operator
_osx_support _pickle _posixsubprocess _pyrepl _signal _socket _sqlite3 _thread aiohttp antigravity asyncio
atexit bdb cProfile cffi cloudpickle code codeop compileall concurrent ctypes cython dill distutils
doctest ensurepip fabric filecmp fileinput ftplib functools gc glob http httplib idlelib imaplib imp
importlib inspect joblib lib2to3 linecache marshal mmap multiprocessing nntplib nt ntpath operator os
paramiko pathlib pdb pexpect pickle pip pkgutil platform popen2 poplib posix posixpath profile pty
py_compile pydoc requests runpy select selectors setuptools shelve shutil signal site smtplib socket
socketserver sqlite3 ssl subprocess sys syslog tarfile telnetlib tempfile test threading timeit trace
types unittest urllib urllib2 uuid venv webbrowser xmlrpc zipfile zipimport
"""
#: Those of them whose name no project uses for a module of its own: they are bad after other dots too.
BAD_ANYWHERE = """\
os posix nt subprocess _posixsubprocess sys importlib runpy shutil pickle _pickle marshal ctypes _ctypes
pty socket _socket builtins __builtin__ pkgutil webbrowser pydoc cloudpickle
"""
#: Attributes of every module, class and function, which lead to everything else.
LEADING = """\
__builtins__ __globals__ __subclasses__ __dict__ __class__ __bases__ __base__ __mro__ __loader__ __spec__
__code__ __import__ __getattribute__ __getattr__ __self__ __func__ __closure__ __reduce__ __reduce_ex__
__init_subclass__ __call__
"""
#: Names, and everything below them, in modules that have harmless ones too; "*" is the whole module.
BAD_NAMES = """\
builtins: eval exec execfile compile __import__ getattr setattr delattr open file input globals locals
    vars apply breakpoint memoryview map filter reduce
io: open FileIO open_code
_io: open FileIO open_code
copyreg: add_extension pickle constructor
logging: FileHandler
logging.config: listen fileConfig dictConfig
logging.handlers: SocketHandler HTTPHandler RotatingFileHandler
numpy: load save fromfile memmap genfromtxt loadtxt f2py ctypeslib distutils
numpy.core.memmap: memmap
numpy.testing._private.utils: *
numpy.testing: runstring
pandas: eval read_pickle
pandas.io.pickle: read_pickle
torch: load save compile hub ops classes _ops package _inductor _export export
torch._dynamo: guards config
torch._utils_internal: *
torch.distributed: rpc run elastic launch launcher
torch.fx: graph_module experimental _lazy_graph_module graph interpreter
torch.jit: load save script trace unsupported_tensor_ops _script _recursive
torch.multiprocessing: *
torch.onnx: *
torch.serialization: load save _load _legacy_load
torch.storage: _load_from_bytes
torch.testing: _internal
torch.utils: _pytree _config_module bottleneck collect_env cpp_extension hipify model_zoo show_pickle
    _cpp_embed_headers _cxx_pytree file_baton benchmark
torch.utils.data.datapipes: utils
torch_utils.persistence: _reconstruct_persistent_obj
transformers: pipeline AutoModel.from_pretrained
"""


def parsed(text: str) -> Iterator[str]:
    """Yield the qualified names in such a list."""
    module = ""
    for line in text.splitlines():
        if not line.startswith(" "):
            module, _, line = line.partition(": ")
        for name in line.split():
            yield module if name == "*" else f"{module}.{name}"
