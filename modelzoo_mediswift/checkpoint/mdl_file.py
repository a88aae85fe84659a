"""The file under a `.mdl`: nested dictionaries and lists of tensors and scalars in HDF5.

Format 0.5 of `cerebras-pytorch` 2.x. The file's attribute `__spec__` holds the shape of the tree
as PyTorch's pytree writes it; each leaf has an attribute `<path>.__metadata__` that says what it
is, and a tensor a dataset `<path>`, its keys joined by dots. `__SUCCESS__` is written last.
Nothing in a file is executed: pickled leaves are refused when they are asked for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from modelzoo_mediswift.errors import UserError, missing_package
from modelzoo_mediswift.whole_files import flush

RELEASE = "2.10.0"  # of cerebras-pytorch, whose format this is
FORMAT = 0.5
SUFFIX = ".mdl"
METADATA = ".__metadata__"
TENSOR = "TorchTensorSerializer"
LINK = "LinkedObject"

# torch's name: (type in the file, the number that the appliance has for it).
TYPES = {
    "float32": ("float32", 11),
    "bool": ("bool", 1),
    "int64": ("int64", 5),
    "int32": ("int32", 4),
    "float64": ("float64", 12),
    "float16": ("float16", 10),
    "bfloat16": ("int16", 15),  # its bits: HDF5 has no bfloat16
}


@dataclass(frozen=True)
class TensorLeaf:
    """A tensor that stays in the file until it is read."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    fill: float | None = None  # the value of all elements, for a tensor without data


@dataclass(frozen=True)
class ForeignLeaf:
    """Something that cannot be read without running code, or that lies in another file."""

    path: str
    what: str


class MdlReader:
    """An open `.mdl`: `tree` has its leaves, `read` their data."""

    def __init__(self, path: Path) -> None:
        """Raises UserError for a file that is not a whole `.mdl` of a version we know."""
        _hdf5plugin()
        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such file") from error
        except OSError as error:
            raise UserError(f"{path}: not an HDF5 file, or a damaged one ({error})") from error
        try:
            self.tree: Any = self._read_tree()
        except BaseException:
            self._file.close()
            raise

    def _read_tree(self) -> Any:
        path, attributes = self.path, self._file.attrs
        version = attributes.get("__version__")
        if version is None or "__spec__" not in attributes:
            raise UserError(f"{path}: not a checkpoint of cerebras-pytorch (it has no __spec__)")
        if version != FORMAT:
            raise UserError(f"{path}: .mdl format {version}, this version reads {FORMAT}")
        if not attributes.get("__SUCCESS__", False):
            raise UserError(f"{path}: partially written (it has no __SUCCESS__)")
        try:
            spec = json.loads(json.loads(attributes["__spec__"])[1])
            return self._node(spec[1], "")
        except (
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            AttributeError,
            RecursionError,
        ) as error:
            raise UserError(f"{path}: damaged: its __spec__ cannot be read ({error})") from error

    def __enter__(self) -> MdlReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def _node(self, spec: Mapping[str, Any], path: str) -> Any:
        children = spec["children_spec"]
        context = json.loads(spec["context"]) if spec["context"] else None
        kind = spec["type"]
        if kind is None:
            return self._leaf(path)
        if kind in ("builtins.dict", "collections.OrderedDict"):
            pairs = zip(context or [], children, strict=True)
            return {key: self._node(child, _join(path, key)) for key, child in pairs}
        if kind in ("builtins.list", "builtins.tuple", "builtins.set"):
            return [self._node(child, _join(path, i)) for i, child in enumerate(children)]
        return ForeignLeaf(path, f"a {kind}")

    def _leaf(self, path: str) -> Any:
        """A scalar, a string, None, a TensorLeaf or a ForeignLeaf; links are followed."""
        meta: dict[str, Any] = {}
        seen: set[str] = set()
        while path not in seen:
            seen.add(path)
            about = json.loads(self._file.attrs[path + METADATA])
            if path + METADATA not in about:
                return ForeignLeaf(path, "nested in a way that is not known here")
            meta = about[path + METADATA]
            if not meta.get("__LINKED__"):
                break
            path = meta["key"]
        kind = meta.get("__TYPE__")
        if kind == "ScalarSerializer":
            return meta["scalar_value"]
        if kind == "StringSerializer":
            return meta["string_value"]
        if kind == "NoneSerializer":
            return None
        if kind == "DeferredFullTensor":
            fill = meta["fill_value"] or 0
            return TensorLeaf(path, tuple(meta["shape"]), _type_name(meta["dtype"]), float(fill))
        if kind == TENSOR and meta.get("__NUMPY__"):
            return TensorLeaf(path, tuple(meta["shapes"][0]), _type_name(meta["dtypes"][0]))
        if kind == "ObjectSerializer":
            return ForeignLeaf(path, "pickled, and nothing is unpickled here")
        return ForeignLeaf(path, f"stored as {kind}, which is not known here")

    def read(self, leaf: Any) -> Tensor:
        """A tensor in memory. Raises UserError for any other leaf and for damaged data."""
        if isinstance(leaf, ForeignLeaf):
            raise UserError(f"{self.path}: {leaf.path} is {leaf.what}")
        if not isinstance(leaf, TensorLeaf):
            raise UserError(f"{self.path}: expected a tensor, found {leaf!r}")
        if leaf.dtype not in TYPES:
            raise UserError(f"{self.path}: {leaf.path} has the type {leaf.dtype}")
        if leaf.fill is not None:
            return torch.full(leaf.shape, leaf.fill, dtype=getattr(torch, leaf.dtype))
        dataset = self._dataset(leaf)
        try:
            array = np.asarray(dataset[()])
        except (OSError, RuntimeError) as error:
            raise UserError(f"{self.path}: {leaf.path} cannot be read ({error})") from error
        tensor = torch.from_numpy(array.copy() if array.ndim == 0 else array)
        return tensor.view(torch.bfloat16) if leaf.dtype == "bfloat16" else tensor

    def _dataset(self, leaf: TensorLeaf) -> h5py.Dataset:
        link = self._file.get(leaf.path, getlink=True)
        dataset = self._file[leaf.path] if isinstance(link, h5py.HardLink) else None
        if not isinstance(dataset, h5py.Dataset):
            raise UserError(f"{self.path}: {leaf.path} has no data in this file")
        if dataset.is_virtual or dataset.external:
            raise UserError(f"{self.path}: {leaf.path} points to another file")
        if dataset.shape != leaf.shape or dataset.dtype != TYPES[leaf.dtype][0]:
            raise UserError(
                f"{self.path}: {leaf.path} is said to be {leaf.dtype} {leaf.shape} and is "
                f"{dataset.dtype} {dataset.shape}"
            )
        return dataset


def write_mdl(tree: Mapping[str, Any], path: Path) -> None:
    """Write nested dictionaries and lists of tensors, numbers, strings and None.

    Tensors are compressed with LZ4, as the library does, and written one by one; the file has
    its name only when it is whole. Raises UserError where the disk has no room for the tensors
    uncompressed: on a full one HDF5 takes the whole process with it.
    """
    lz4 = _hdf5plugin().LZ4()
    tensors = {id(value): value for _, value in _leaves(tree, "") if isinstance(value, Tensor)}
    needed = sum(tensor.nbytes for tensor in tensors.values())
    free = shutil.disk_usage(path.absolute().parent).free
    if needed > free:
        raise UserError(f"{path}: may take {needed:,} bytes, the disk has {free:,} free")
    temporary = path.with_name(f".{path.name}.writing")
    temporary.unlink(missing_ok=True)
    try:
        with h5py.File(temporary, "w") as file:
            _fill(file, tree, lz4)
        flush(temporary)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _fill(file: h5py.File, tree: Mapping[str, Any], lz4: Any) -> None:
    file.attrs["__spec__"] = json.dumps([None, json.dumps([1, _spec(tree)])], indent=4)
    file.attrs["__version__"] = FORMAT
    file.attrs["__cstorch_version__"] = RELEASE
    written: dict[int, str] = {}
    for name, value in _leaves(tree, ""):
        if isinstance(value, Tensor) and id(value) in written:
            first = written[id(value)]
            meta = {"key": first, "__LINKED__": True, "__TYPE__": LINK, "__NONE__": True}
        elif isinstance(value, Tensor):
            meta = _write_tensor(file, name, value, lz4)
            written[id(value)] = name
        else:
            meta = _scalar(value) | {"__NONE__": True}
        leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
        spec = {
            "type": "builtins.dict",
            "context": json.dumps([name]),
            "children_spec": [leaf],
        }
        about = {
            "__spec__": [{name: "*"}, json.dumps([1, spec])],
            "__objects__": [name],
            name + METADATA: meta,
        }
        file.attrs[name + METADATA] = json.dumps(about, indent=4)
    file.attrs["__SUCCESS__"] = True


def _write_tensor(file: h5py.File, name: str, tensor: Tensor, lz4: Any) -> dict[str, Any]:
    dtype = _type_name(str(tensor.dtype))
    if dtype not in TYPES:
        raise UserError(f"{name}: a tensor of type {dtype} has no place in a checkpoint")
    stored, number = TYPES[dtype]
    tensor = tensor.detach().cpu().contiguous()
    array = (tensor.view(torch.int16) if dtype == "bfloat16" else tensor).numpy()
    options = lz4 if array.ndim and array.size else {}
    dataset = file.create_dataset(name, data=array, dtype=stored, **options)
    meta = {
        "__TORCH__": True,
        "shapes": [list(tensor.shape)],
        "dtypes": [f"torch.{dtype}"],
        "rtfx_dtypes": [number],
        "__TYPE__": TENSOR,
        "__NUMPY__": True,
        "compressed": False,  # by the appliance's own method, not by HDF5's filter
    }
    dataset.attrs.update(meta)
    return meta


def _scalar(value: Any) -> dict[str, Any]:
    if value is None:
        return {"__TYPE__": "NoneSerializer"}
    if isinstance(value, str):
        return {"string_value": value, "__TYPE__": "StringSerializer"}
    return {"scalar_value": value, "__TYPE__": "ScalarSerializer"}


def _spec(node: Any) -> dict[str, Any]:
    if isinstance(node, Mapping):
        children = [_spec(child) for child in node.values()]
        return {
            "type": "builtins.dict",
            "context": json.dumps(list(node)),
            "children_spec": children,
        }
    if isinstance(node, list | tuple):
        kind = "builtins.list" if isinstance(node, list) else "builtins.tuple"
        return {"type": kind, "context": "null", "children_spec": [_spec(child) for child in node]}
    return {"type": None, "context": None, "children_spec": []}


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _leaves(child, _join(path, key))
    elif isinstance(node, list | tuple):
        for i, child in enumerate(node):
            yield from _leaves(child, _join(path, i))
    else:
        yield path, node


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _type_name(dtype: str) -> str:
    return dtype.removeprefix("torch.")


def _hdf5plugin() -> ModuleType:
    """Registers LZ4 with HDF5."""
    try:
        import hdf5plugin
    except ImportError as error:
        raise missing_package("a .mdl file", "hdf5plugin", "lz4") from error
    module: ModuleType = hdf5plugin
    return module
