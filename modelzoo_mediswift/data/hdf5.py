"""The HDF5 contract: Model Zoo's two layouts of token sequences, read at random.

*sample*: dataset ``data`` of shape [N, 3, MSL]; rows 0 input ids, 1 loss mask (on disk called
``attention_mask``), 2 labels, already shifted. *corpus*: dataset ``data`` of rank 1, every file's
tokens in one stream. Both come out as int32 [3, MSL] per sequence.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from modelzoo_mediswift.data.params_file import PARAMS_FILE, read_params
from modelzoo_mediswift.errors import UserError, missing_package

Layout = Literal["sample", "corpus"]

INPUT_IDS, LOSS_MASK, LABELS = 0, 1, 2
NUM_ROWS = 3
DATASET = "data"


@dataclass(frozen=True)
class SequenceFile:
    """One ``*.h5`` file: what is needed to read it without looking at its header again."""

    path: Path
    shape: tuple[int, ...]
    """Of the dataset: (N, 3, MSL) or (number of tokens,)."""
    dtype: str
    """NumPy's code with byte order, such as "<i4"."""
    offset: int | None
    """Where the numbers start, in bytes, if they lie uncompressed in one piece; else None."""

    @property
    def length(self) -> int:
        """Sequences (sample layout) or tokens (corpus layout)."""
        return self.shape[0]


class LengthNeeded(UserError):
    """A corpus does not say how long its sequences are to be; who opens it must."""


class SequenceSource:
    """Sequences of one or more folders, by index; opened on first read, safe to fork and pickle."""

    def __init__(
        self, files: Sequence[SequenceFile], max_sequence_length: int, params: dict[str, Any] | None
    ) -> None:
        self.files = tuple(files)
        self.max_sequence_length = max_sequence_length
        self.params = params
        self.layout: Layout = "corpus" if len(self.files[0].shape) == 1 else "sample"
        self._starts = np.cumsum([0] + [file.length for file in self.files])
        total = int(self._starts[-1])
        # The last window of a corpus needs one token more, for its last label.
        self._length = total if self.layout == "sample" else (total - 1) // max_sequence_length
        self._open: dict[int, Any] = {}
        self._owner = os.getpid()

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    @property
    def fingerprint(self) -> str:
        """A hash of what data_params.json or, without it, the headers say about the files."""
        listed = [] if self.params is None else self.params.get("files", [])
        facts = [
            [[file.path.name, file.shape, file.dtype] for file in self.files],
            [entry["sha256"] for entry in listed],
            self.max_sequence_length,
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def locate(self, index: int) -> str:
        """Where sequence `index` lies, for error messages: "FILE, sequence 3"."""
        step = 1 if self.layout == "sample" else self.max_sequence_length
        number = int(np.searchsorted(self._starts, index * step, side="right")) - 1
        unit = "sequence" if self.layout == "sample" else "token"
        local = index * step - int(self._starts[number])
        return f"{self.files[number].path}, {unit} {local}"

    def read(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int32]:
        """Read the sequences `indices`, in that order, as int32 [n, 3, MSL].

        Raises UserError if a file turns out to be damaged, IndexError if an index is out of range.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"sequence index outside [0, {len(self)})")
        out = np.empty((len(wanted), NUM_ROWS, self.max_sequence_length), np.int32)
        if self.layout == "sample":
            self._read_samples(wanted, out)
        else:
            self._read_windows(wanted, out)
        return out

    def _read_samples(self, wanted: NDArray[np.int64], out: NDArray[np.int32]) -> None:
        numbers = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(numbers):
            at = np.flatnonzero(numbers == number)
            out[at] = self._take(int(number), wanted[at] - self._starts[number], width=None)

    def _read_windows(self, wanted: NDArray[np.int64], out: NDArray[np.int32]) -> None:
        width = self.max_sequence_length + 1
        first = wanted * self.max_sequence_length
        numbers = np.searchsorted(self._starts, first, side="right") - 1
        inside = first + width <= self._starts[numbers + 1]
        windows = np.empty((len(wanted), width), np.int32)
        for number in np.unique(numbers[inside]):
            at = np.flatnonzero(inside & (numbers == number))
            windows[at] = self._take(int(number), first[at] - self._starts[number], width=width)
        for i in np.flatnonzero(~inside):
            windows[i] = self._read_across(int(first[i]), int(first[i]) + width)
        out[:, INPUT_IDS] = windows[:, :-1]
        out[:, LOSS_MASK] = 1
        out[:, LABELS] = windows[:, 1:]

    def _read_across(self, start: int, stop: int) -> NDArray[np.int32]:
        """Tokens [start, stop) of the whole stream, which may lie in several files."""
        parts = []
        for number, (low, high) in enumerate(zip(self._starts[:-1], self._starts[1:], strict=True)):
            begin, end = max(start, int(low)), min(stop, int(high))
            if begin < end:
                local = np.array([begin - low])
                parts.append(self._take(number, local, width=end - begin)[0])
        return np.concatenate(parts)

    def _take(self, number: int, local: NDArray[np.int64], width: int | None) -> NDArray[np.int32]:
        """Rows `local` of one file (width None), or `width` tokens from each position `local`."""
        file, data = self.files[number], self._data(number)
        try:
            if isinstance(data, np.ndarray):
                rows = (data if width is None else sliding_window_view(data, width))[local]
            elif width is None:
                rows = np.stack([data[i] for i in local])
            else:
                rows = np.stack([data[i : i + width] for i in local])
        except OSError as error:
            raise UserError(f"{file.path}: cannot be read, the file is damaged ({error})") from None
        ids = rows.astype(np.int32, copy=False)
        if ids is not rows and not np.array_equal(ids, rows):
            raise UserError(f"{file.path}: holds numbers that are no token ids (above 2^31)")
        return ids

    def _data(self, number: int) -> Any:
        """A file's numbers: an array over the mapped file if possible, else an h5py dataset.

        Reading a mapped file is several times faster than h5py's indexing. An h5py handle does not
        survive a fork, so a child process opens its own.
        """
        if self._owner != os.getpid():
            self._open, self._owner = {}, os.getpid()
        if number not in self._open:
            file = self.files[number]
            try:
                if file.offset is None:
                    data = h5py.File(file.path, "r")[DATASET]
                    _load_filters(file.path, data)
                    self._open[number] = data
                else:
                    mapped = np.memmap(file.path, file.dtype, "r", file.offset, file.shape)
                    self._open[number] = mapped.view(np.ndarray)
            except (OSError, ValueError) as error:
                raise UserError(f"{file.path}: cannot be opened any more ({error})") from None
        return self._open[number]


def open_sequences(
    data_dir: str | Path | Sequence[str | Path], max_sequence_length: int | None = None
) -> SequenceSource:
    """Open all ``*.h5`` files of one or several folders, sorted by path, as one source.

    `max_sequence_length` is required by the corpus layout; for the sample layout it must be None or
    what the files hold. Corpus sequences are windows of MSL + 1 tokens that start every MSL tokens
    of the joined stream, so a window may begin in one file and end in the next.

    Raises UserError for anything that is not such data.
    """
    folders = [Path(d) for d in ([data_dir] if isinstance(data_dir, str | Path) else data_dir)]
    if not folders:
        raise UserError("data_dir: an empty list of folders")
    paths = sorted(path for folder in folders for path in _h5_files(folder))
    files = [_inspect(path) for path in paths]
    return _source(files, max_sequence_length, _folder_params(folders, files))


def open_file(path: Path, max_sequence_length: int | None = None) -> SequenceSource:
    """Open one ``*.h5`` file alone, as `open_sequences` does with all of a folder."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    described = (path.parent / PARAMS_FILE).is_file()
    params = (read_params(path.parent) | {"files": []}) if described else None
    return _source([_inspect(path)], max_sequence_length, params)


def _source(
    files: Sequence[SequenceFile], max_sequence_length: int | None, params: dict[str, Any] | None
) -> SequenceSource:
    first = files[0]
    for file in files[1:]:
        if file.shape[1:] != first.shape[1:] or file.dtype != first.dtype:
            raise UserError(
                f"{file.path}: data has {_describe(file)}, but {first.path.name} has "
                f"{_describe(first)}; all files must agree beyond the first axis"
            )
    source = SequenceSource(files, _sequence_length(first, max_sequence_length), params)
    if len(source) == 0:
        tokens = sum(file.length for file in files)
        if source.layout == "corpus" and tokens:
            raise UserError(
                f"{first.path.parent}: {tokens} tokens are too few for one sequence of "
                f"max_sequence_length {max_sequence_length} (it takes one token more)"
            )
        raise UserError(f"{first.path.parent}: no sequences in it (n_examples is 0)")
    return source


def _h5_files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder, expected one that holds *.h5 files, "
            "as `python -m data_preprocessing` pack and finetune write them"
        )
    paths = list(folder.glob("*.h5"))
    if not paths:
        inside = sorted({path.parent.name for path in folder.glob("*/*.h5")})
        hint = f"; there are some in its folders {', '.join(inside)}" if inside else ""
        raise UserError(f"{folder}: no *.h5 files in it{hint}")
    yield from paths


def _describe(file: SequenceFile) -> str:
    return f"shape {list(file.shape)} and type {np.dtype(file.dtype).name}"


def _inspect(path: Path) -> SequenceFile:
    """Read a file's header and check it alone."""
    try:
        with h5py.File(path, "r") as handle:
            data = handle.get(DATASET)
            if not isinstance(data, h5py.Dataset):
                raise UserError(f"{path}: no dataset named {DATASET!r} in it")
            _load_filters(path, data)
            file = _header(path, data)
            n_examples = handle.attrs.get("n_examples")
    except OSError as error:
        raise UserError(
            f"{path}: not a readable HDF5 file, truncated or damaged ({error})"
        ) from None
    if np.dtype(file.dtype).kind not in "iu":
        raise UserError(f"{path}: {DATASET} has {_describe(file)}, expected integers")
    if len(file.shape) not in (1, 3) or (len(file.shape) == 3 and file.shape[1] != NUM_ROWS):
        raise UserError(
            f"{path}: {DATASET} has {_describe(file)}, expected [N, 3, max_sequence_length] "
            f"(sample layout) or [number of tokens] (corpus layout)"
        )
    if len(file.shape) == 3 and n_examples is not None and int(n_examples) != file.length:
        raise UserError(
            f"{path}: attribute n_examples says {int(n_examples)}, but there are {file.length}"
        )
    return file


def _load_filters(path: Path, data: h5py.Dataset) -> None:
    """Register what the data was compressed with, if HDF5 itself cannot read it (LZ4)."""
    created = data.id.get_create_plist()
    for number in range(created.get_nfilters()):
        code = created.get_filter(number)[0]
        if not h5py.h5z.filter_avail(code):
            try:
                import hdf5plugin  # noqa: F401
            except ImportError:
                what = f"{path}: compressed with HDF5 filter {code}, which"
                raise missing_package(what, "hdf5plugin", "lz4") from None


def _header(path: Path, data: h5py.Dataset) -> SequenceFile:
    offset = data.id.get_offset()  # from the file's first byte, before any user block
    if offset is not None and offset + data.nbytes > path.stat().st_size:
        raise UserError(f"{path}: truncated, {data.nbytes} bytes of data were expected")
    return SequenceFile(path, tuple(int(n) for n in data.shape), data.dtype.str, offset)


def _sequence_length(first: SequenceFile, asked: int | None) -> int:
    if asked is not None and asked < 1:
        raise UserError(f"max_sequence_length: expected a positive number, got {asked}")
    if len(first.shape) == 1:
        if asked is None:
            raise LengthNeeded(
                f"{first.path}: corpus layout, which needs max_sequence_length to be set"
            )
        return asked
    if first.shape[2] < 1:
        raise UserError(f"{first.path}: sequences of length 0")
    if asked not in (None, first.shape[2]):
        raise UserError(
            f"{first.path}: sequences of length {first.shape[2]}, but max_sequence_length is "
            f"{asked}; leave it out for the sample layout"
        )
    return first.shape[2]


def _folder_params(folders: Sequence[Path], files: Sequence[SequenceFile]) -> dict[str, Any] | None:
    """The folders' data_params.json, merged; None if no folder has one."""
    found = {f: read_params(f) for f in folders if (f / PARAMS_FILE).is_file()}
    for folder, params in found.items():
        present = {file.path.name: file for file in files if file.path.parent == folder}
        _check_listing(folder, params, present)
    if not found:
        return None
    (first_folder, merged), *others = found.items()
    for folder, params in others:
        for key in ("vocab_size", "num_virtual_tokens", "tokenizer_sha256", "example_layout"):
            if params.get(key) != merged.get(key):
                raise UserError(
                    f"{folder / PARAMS_FILE}: {key} is {params.get(key)}, but "
                    f"{first_folder / PARAMS_FILE} says {merged.get(key)}"
                )
    if others:
        listed = [entry for params in found.values() for entry in params.get("files", [])]
        merged = {**merged, "files": listed}
    return merged


def _check_listing(folder: Path, params: dict[str, Any], present: dict[str, SequenceFile]) -> None:
    """Refuse a folder that lost a file, or got one that does not belong to it."""
    if "files" not in params:
        return
    listed = {entry["name"]: entry for entry in params["files"]}
    where = folder / PARAMS_FILE
    missing, extra = sorted(listed.keys() - present), sorted(present.keys() - listed)
    if missing:
        raise UserError(f"{where}: lists {missing[0]}, which is not there")
    if extra:
        raise UserError(f"{where}: does not list {extra[0]}, which lies beside it")
    for name, file in present.items():
        expected = listed[name].get("n_examples")
        if len(file.shape) == 3 and expected != file.length:
            raise UserError(f"{where}: {name} should hold {expected} sequences, has {file.length}")
